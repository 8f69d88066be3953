"""Which modality does each single prediction rest on?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz.theme import COLOURS, GREY, SYMBOLS, note, safe, safes, short
from msaviz.viz.view import View
from msaviz.viz.words import label, listed, number, percent, sentence, unique

NEEDS = ("run", "example", "domain", "prediction", "error", "modality", "value")
LIMIT = 5000
"""Utterances that are drawn at most, evenly spread over the table."""
NAME = "group"
SAME = 0.02
"""Importance that nobody could see on the map."""


def draw(frame: pd.DataFrame) -> go.Figure:
    """Three modalities: a triangle with one at each corner; two: a strip between them. A dot an utterance, a symbol a domain."""
    modalities = unique(frame["modality"])
    if not 2 <= len(modalities) <= 3:
        return note(f"A map needs the importance of two or three modalities; here there are {len(modalities)}: {listed(modalities)}.")
    wide = _wide(frame, modalities)
    figure = _triangle(wide, modalities) if len(modalities) == 3 else _strip(wide, modalities)
    figure.update_traces(marker={"size": 7, "opacity": 0.65, "line": {"width": 0.5, "color": "#FFFFFF"}})
    return figure.update_layout(legend={"title": {"text": ""}}, margin={"t": 90, "b": 60})


def _wide(frame: pd.DataFrame, modalities: list[str]) -> pd.DataFrame:
    """One row an utterance with a column for each modality ("0", "1", "2"), escaped texts and short numbers."""
    keys = ["run", "example"]
    about = frame.drop_duplicates(keys).set_index(keys)[["domain", "prediction", "error"]]
    values = frame.pivot_table(index=keys, columns="modality", values="value", sort=False)[modalities].set_axis(
        list("012")[: len(modalities)], axis=1
    )
    wide = about.join(values).reset_index()
    wide = wide.iloc[:: -(-len(wide) // LIMIT)]
    numbers = {column: short(wide[column]) for column in (*values.columns, "prediction", "error")}
    return wide.assign(**{NAME: safes(label(wide, "run", "domain"))}, **numbers)


def _triangle(wide: pd.DataFrame, modalities: list[str]) -> go.Figure:
    import plotly.express as px

    figure = px.scatter_ternary(wide, a="0", b="1", c="2", **_looks(wide, modalities))
    names = zip("abc", modalities, strict=True)
    axes = {f"{axis}axis": {"title": {"text": safe(modality)}, "tickformat": ".1f", "ticks": "outside"} for axis, modality in names}
    words = {"x": 0, "y": 1, "xref": "paper", "yref": "paper", "xanchor": "left", "showarrow": False, "font_color": GREY, "align": "left"}
    figure.add_annotation(text="share of the importance<br>(in the middle: an even split)", **words)
    return figure.update_layout(ternary={**axes, "sum": 1, "bgcolor": "rgba(0,0,0,0)"}, height=620)


def _strip(wide: pd.DataFrame, modalities: list[str]) -> go.Figure:
    import plotly.express as px

    groups = unique(wide[NAME])
    # a fixed jitter, so that the same table gives the same picture
    spread = (wide.groupby(NAME).cumcount() * 0.618034 % 1 - 0.5) * 0.7
    wide = wide.assign(place=short(wide[NAME].map(groups.index) + spread))
    figure = px.scatter(wide, x="0", y="place", **_looks(wide, modalities))
    ticks = {"tickmode": "array", "tickvals": list(range(len(groups))), "ticktext": groups, "range": [len(groups) - 0.4, -0.6]}
    figure.update_yaxes(**ticks, title_text=None)
    title = f"importance of {safe(modalities[0])} (the rest is {safe(modalities[1])})"
    words = {"annotation_text": "even split", "annotation_position": "top", "annotation_font_color": GREY}
    figure.add_vline(x=0.5, line_dash="dash", line_color=GREY, line_width=1.5, **words)
    return figure.update_xaxes(range=[-0.02, 1.02], title_text=title)


def _looks(wide: pd.DataFrame, modalities: list[str]) -> dict:
    """Colour and symbol by group, and what stands beside the pointer."""
    order = {NAME: unique(wide[NAME])}
    hidden = {"place": False} if "place" in wide else {}
    hover = {"hover_data": {"example": True, "prediction": ":.2f", "error": ":.2f", NAME: True, **hidden}}
    labels = {"labels": {str(i): safe(modality) for i, modality in enumerate(modalities)}}
    second = {"color": NAME, "symbol": NAME, "color_discrete_sequence": list(COLOURS), "symbol_sequence": list(SYMBOLS)}
    return {**second, **hover, **labels, "category_orders": order}


@sentence
def read(frame: pd.DataFrame) -> str:
    keys, frame = ["run", "example"], frame.reset_index(drop=True)
    best = frame.loc[frame.groupby(keys, sort=False)["value"].idxmax()]
    shares = best["modality"].value_counts(normalize=True)
    means = frame.groupby("modality", sort=False)["value"].agg(["mean", "std"])
    said = listed(f"{m} {number(row['mean'], 2)} ± {number(row['std'], 2)}" for m, row in means.iterrows())
    even = 1 / len(means)
    if (means["mean"] - even).abs().max() < SAME and means["std"].max() < SAME:
        return f"Every one of {len(best)} utterances weighs the modalities alike: the mean importance (± standard deviation) is {said}."
    by_domain = frame.groupby(["domain", "modality"])["value"].mean().unstack()
    spread = (by_domain.max() - by_domain.min()).fillna(0)
    moved = spread.idxmax()
    domains = f"; between domains that of {moved} moves most, by {number(spread[moved], 2)}" if len(by_domain) > 1 else ""
    return (
        f"In {percent(shares.iloc[0])} of {len(best)} utterances {shares.index[0]} counts most; the mean importance (± standard deviation) "
        f"is {said}{domains}."
    )


VIEW = View(
    "importance_map",
    NEEDS,
    draw,
    read,
    "What each prediction rests on",
    "A dot in a corner rests on that modality alone, one in the middle on all alike. One cloud says that the fusion weighs every utterance "
    "the same; separate clouds by domain say that it looks at where the utterance comes from.",
    known=("value",),
)
