"""How much of the predictions goes through each expert?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz.attributed import BASELINES, subtitled
from msaviz.viz.grid import panels, row_height
from msaviz.viz.theme import safes, short
from msaviz.viz.view import View
from msaviz.viz.words import chosen, first_of, label, number, percent, sentence, unique

NEEDS = (
    *("run", "kind", "baseline", "routing", "router", "modality", "expert", "domain", "value", "size", "share", "low", "high"),
    "utterances",
)
TITLES = {"gates": "Integrated Gradients of the gates", "conductance": "conductance"}
WIDE = 12
"""Experts beside each other whose intervals can still be written into their cells."""


def draw(frame: pd.DataFrame, *, domain: str | None = None, kind: str | None = None) -> go.Figure:
    """A heat map a kind: a row for each router and modality, a column an expert; in the cell the mean size, with the sign of the mean
    value, above its 95 % interval."""
    domains = unique(frame["domain"])
    domain = str(first_of(domains, ["all"]) if domain is None else chosen(domain, domains, "domain"))
    frame = frame[frame["domain"] == domain]
    if kind is not None:
        frame = frame[frame["kind"] == chosen(kind, unique(frame["kind"]), "kind")]
    frame = frame.assign(row=label(frame, "run", "router", "modality"), panel=_titles(frame))
    titles = unique(frame["panel"])
    rows = frame.groupby("panel")["row"].nunique().max()
    figure, places = panels(titles, columns=1, height=row_height(rows, each=40))
    for title, place in zip(titles, places, strict=True):
        _heat(figure, frame[frame["panel"] == title], place)
        figure.update_xaxes(type="category", showgrid=False, title_text="expert" if place == places[-1] else None, **place)
        figure.update_yaxes(autorange="reversed", type="category", showgrid=False, **place)
    figure.update_coloraxes(cmin=0, cmax=float(frame["size"].max()) or 1.0, colorbar={"title": "mean |value|"})
    count = int(frame["utterances"].max())
    where = f"{'all domains' if domain == 'all' else domain}, {count} utterances"
    return subtitled(figure, where, *(titles if len(titles) == 1 else ()))


def _titles(frame: pd.DataFrame) -> pd.Series:
    """What each row's kind is called, from which baseline, and whether the routers were frozen."""
    start = frame["baseline"].map(BASELINES).fillna(frame["baseline"])
    return frame["kind"].map(TITLES).fillna(frame["kind"]) + " · baseline: " + start + " · routing " + frame["routing"].astype(str)


def _heat(figure: go.Figure, part: pd.DataFrame, place: dict[str, int]) -> None:
    experts, rows = sorted(unique(part["expert"])), unique(part["row"])
    cells = part.set_index(["row", "expert"])

    def table(column: str | pd.Series) -> pd.DataFrame:
        values = cells[column] if isinstance(column, str) else column
        return values.unstack("expert").reindex(index=rows, columns=experts)

    written = pd.Series([_cell(row, len(experts)) for row in part.itertuples()], index=cells.index)
    heat = go.Heatmap(
        z=short(table("size")),
        x=safes(experts),
        y=safes(rows),
        text=table(written).fillna("").to_numpy().tolist(),
        customdata=short(table("share")),
        coloraxis="coloraxis",
        texttemplate="%{text}",
        hoverongaps=False,
        xgap=2,
        ygap=2,
        hovertemplate="%{y} · expert %{x}<br>size %{z:.3f}, %{customdata:.0%} of its router<extra></extra>",
    )
    figure.add_trace(heat, **place)


def _cell(row: tuple, experts: int) -> str:
    """ "+ 0.31" over "[0.27, 0.36]"; the interval only where there is room."""
    value, size, low, high = (float(getattr(row, name)) for name in ("value", "size", "low", "high"))
    sign = "+" if value > 0 else "−" if value < 0 else ""
    text = f"{sign} {number(size, 2)}".strip()
    return f"{text}<br>[{number(low, 2)}, {number(high, 2)}]" if experts <= WIDE and pd.notna(low) else text


@sentence
def read(frame: pd.DataFrame) -> str:
    frame = frame[(frame["run"] == frame["run"].iloc[0]) & (frame["domain"] == frame["domain"].iloc[0])].reset_index(drop=True)
    said = []
    for title, part in frame.assign(panel=_titles(frame)).groupby("panel", sort=False):
        top = part.loc[part["size"].idxmax()]
        rest = part.drop(index=top.name)
        ties = int((rest["high"] >= top["low"]).sum())
        size = f"{number(top['size'])} [{number(top['low'])}, {number(top['high'])}], {percent(top['share'])} of its router"
        rivals = f"; {ties} other interval{'s' * (ties > 1)} reach{'es' * (ties == 1)} it" if ties else ""
        said.append(f"by {title} most goes through expert {top['expert']} of “{top['router']}” ({top['modality']}): {size}{rivals}")
    text = ". ".join(f"{one[:1].upper()}{one[1:]}" for one in said)
    return f"{text}."


VIEW = View(
    "expert_attribution",
    NEEDS,
    draw,
    read,
    "What goes through each expert",
    "Mean absolute flow with its 95 % interval over utterances; + and − say which way it pushes on average. Gates: what an expert's weight "
    "brings, from silence. Conductance: what of the input's effect passes through it. Only experts of one router are shares of one whole.",
    known=("size",),
)
