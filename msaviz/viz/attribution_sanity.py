"""Do attributions change when the model forgets?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.attributed import said, series, subtitled
from msaviz.viz.grid import legend_below, panels
from msaviz.viz.theme import safes
from msaviz.viz.view import View
from msaviz.viz.words import listed, number, sentence, unique

NEEDS = ("run", "split", "method", "baseline", "routing", "kind", "part", "parts", "similarity", "low", "high", "utterances")
TITLES = {"signed": "values", "absolute": "sizes (absolute values)"}
HALF = 0.5


def draw(frame: pd.DataFrame) -> go.Figure:
    """A panel a kind, a line a method: rank correlation with the attribution of the trained model, more parts shuffled to the right."""
    rows, kinds = frame.assign(line=series(frame)), unique(frame["kind"])
    lines, parts = unique(rows["line"]), rows.drop_duplicates("parts").sort_values("parts")
    figure, places = panels([TITLES.get(str(kind), str(kind)) for kind in kinds], columns=2)
    for kind, place in zip(kinds, places, strict=True):
        for i, line in enumerate(lines):
            one = rows[(rows["kind"] == kind) & (rows["line"] == line)].sort_values("parts")
            hover = {"text": safes(one["part"]), "hovertemplate": "%{x} parts (%{text}): %{y:.2f}"}
            marks.band(figure, one["parts"], one["low"], one["high"], line, i, place)
            marks.line(figure, one["parts"], one["similarity"], line, i, place, place == places[0], **hover)
        marks.constant(figure, [0, int(rows["parts"].max())], [0, 0], place, place == places[0], "unrelated")
        axis = {"tickmode": "array", "tickvals": parts["parts"].tolist(), "ticktext": safes(_ticks(parts)), "tickangle": -35}
        figure.update_xaxes(title_text="parts shuffled so far", **axis, **place)
        low = min(-0.1, float(rows["low"].min()) - 0.05)
        figure.update_yaxes(title_text="rank correlation with the original", range=[low, 1.05], **place)
    room = int(4 * max(len(text) for text in _ticks(parts)))
    return subtitled(legend_below(figure, room=room), said(frame))


def _ticks(parts: pd.DataFrame) -> list[str]:
    return [str(name) if i == 0 else f"+ {name}" for i, name in enumerate(parts["part"])]


@sentence
def read(frame: pd.DataFrame) -> str:
    kind = unique(frame["kind"])[-1]
    rows, told = frame.assign(line=series(frame))[lambda all_rows: all_rows["kind"] == kind], []
    for line in unique(rows["line"]):
        part = rows[rows["line"] == line].sort_values("parts")
        start, end = part.iloc[0], part.iloc[-1]
        fell = end["high"] < start["low"] and end["similarity"] < HALF
        interval = f"{number(end['similarity'], 2)} [{number(end['low'], 2)}, {number(end['high'], 2)}]"
        told.append(f"for “{line}” it {'falls' if fell else 'does not fall'} ({number(start['similarity'], 2)} to {interval})")
    what = "sizes" if kind == "absolute" else "values"
    return (
        f"As all {int(rows['parts'].max())} parts of the model are shuffled, this happens to the rank correlation with the attribution of "
        f"the trained model ({what}, {int(rows['utterances'].min())} utterances): {listed(told)}."
    )


VIEW = View(
    "attribution_sanity",
    NEEDS,
    draw,
    read,
    "Does the attribution depend on the model?",
    "From left to right one more part of the model has its weights shuffled, the head first. An attribution of the model falls towards "
    "0; one that stays high would look the same for a model that has learnt nothing: it shows the input. The point at the left is the "
    "same method run twice.",
)
