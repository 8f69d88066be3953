"""Which experts does the model call when only some modalities are there?"""

from __future__ import annotations

from itertools import product

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz.grid import WIDTH, panels, row_height
from msaviz.viz.theme import safes, short
from msaviz.viz.view import UNKNOWN, View
from msaviz.viz.words import number, percent, sentence, unique

NEEDS = ("run", "split", "subset", "router", "expert", "gate", "low", "high", "utterances")
WIDEST = 24
"""Columns that fit beside each other; with more, each router gets a row of panels of its own."""


def draw(frame: pd.DataFrame) -> go.Figure:
    """A row of heat maps a run: rows are the sets of modalities, columns the experts of each router; the mean gate stands in the cell."""
    frame = frame.assign(label=frame["run"].astype(str) + " · " + frame["split"].astype(str))
    owners, routers, subsets = unique(frame["label"]), _routers(frame), unique(frame["subset"])
    widths = [frame.loc[frame["router"] == router, "expert"].nunique() for router in routers]
    beside = sum(widths) <= WIDEST
    both = list(product(owners, routers))
    titles = [f"{owner} · {router}" if len(owners) > 1 else router for owner, router in both]
    room = 40 / (WIDTH - 120) if beside else 0.0
    wide = {"column_widths": widths, "horizontal_spacing": room, "shared_yaxes": True} if beside else {}
    figure, places = panels(titles, columns=len(routers) if beside else 1, height=row_height(len(subsets), each=34), **wide)
    for (owner, router), place in zip(both, places, strict=True):
        part = frame[(frame["label"] == owner) & (frame["router"] == router)]
        if len(part):
            _heat(figure, part, subsets, place)
        named = any(not str(expert).isdigit() for expert in part["expert"])
        figure.update_xaxes(type="category", showgrid=False, title_text="contributor" if named else "expert", **place)
        figure.update_yaxes(type="category", showgrid=False, autorange="reversed", categoryorder="array", **place)
        figure.update_yaxes(categoryarray=safes(subsets), title_text="given" if place["col"] == 1 else None, **place)
    figure.update_coloraxes(cmin=0, cmax=max(0.5, float(frame["gate"].max())), colorbar={"title": "mean gate", "tickformat": ".1f"})
    return figure


def _routers(frame: pd.DataFrame) -> list:
    """In the order of the full set, which is last: there each of them has work."""
    return unique(pd.concat([frame.loc[frame["subset"] == frame["subset"].iloc[-1], "router"], frame["router"]]))


def _heat(figure: go.Figure, part: pd.DataFrame, subsets: list, place: dict[str, int]) -> None:
    """All subsets are rows, those in which the router saw nothing stay empty."""
    experts = unique(part["expert"])

    def table(column: str) -> pd.DataFrame:
        return part.pivot(index="subset", columns="expert", values=column).reindex(index=subsets, columns=experts)

    gate, low, high = (table(column) for column in ("gate", "low", "high"))
    words = [[_cell(value) for value in row] for row in gate.to_numpy(float)]
    bounds = [
        [f"[{number(a)}, {number(b)}]" for a, b in zip(*pair, strict=True)] for pair in zip(low.to_numpy(), high.to_numpy(), strict=True)
    ]
    heat = go.Heatmap(
        z=short(gate.to_numpy(float)),
        x=safes(experts),
        y=safes(subsets),
        text=words,
        customdata=bounds,
        texttemplate="%{text}",
        coloraxis="coloraxis",
        hoverongaps=False,
        xgap=2,
        ygap=2,
        hovertemplate="given %{y}<br>%{x}: %{z:.3f} %{customdata}<extra></extra>",
    )
    figure.add_trace(heat, **place)


def _cell(value: float) -> str:
    """ ".25"; "0" only where it is exactly 0; nothing where nothing was routed."""
    if pd.isna(value):
        return ""
    return "0" if value == 0 else "1" if value == 1 else f"{value:.2f}".removeprefix("0")


def _who(expert: object) -> str:
    return f"expert {expert}" if str(expert).isdigit() else f"“{expert}”"


@sentence
def read(frame: pd.DataFrame) -> str:
    frame = frame[frame["run"] == frame["run"].iloc[0]]
    full = unique(frame["subset"])[-1]
    keys = ["router", "expert"]
    base = frame[frame["subset"] == full].set_index(keys)
    if base.empty:
        return UNKNOWN
    last = base.loc[[unique(base.reset_index()["router"])[-1]]].reset_index()
    top = last.loc[last["gate"].idxmax()]
    text = (
        f"Given {full}, router “{top['router']}” sends most to {_who(top['expert'])}: {percent(top['gate'])} "
        f"[{percent(top['low'])}, {percent(top['high'])}] over {int(top['utterances'])} utterances"
    )
    rest = frame[frame["subset"] != full].set_index([*keys, "subset"])["gate"]
    if rest.empty:
        return f"{text}."
    moved = (rest - base["gate"].reindex(rest.index.droplevel("subset")).to_numpy()).dropna()
    router, expert, subset = moved.abs().idxmax()
    before, after = base.loc[(router, expert), "gate"], rest.loc[(router, expert, subset)]
    change = f"that of {_who(expert)} of “{router}”, from {percent(before)} to {percent(after)} given {subset} alone"
    return f"{text}; the largest change is {change}."


VIEW = View(
    "gate_by_subset",
    NEEDS,
    draw,
    read,
    "Gates by the modalities that are there",
    "Each row of a router adds up to 1; an empty row means that its modality was absent, so that it routed nothing. A plain 0 is exact: "
    "what needs an absent modality gets no weight at all. A local router that sees only its own modality has the same row everywhere.",
    known=("gate",),
)
