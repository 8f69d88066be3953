"""When in a training do the routers settle?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.grid import legend_below, panels
from msaviz.viz.view import View
from msaviz.viz.words import label, number, percent, sentence, unique

NEEDS = ("run", "epoch", "router", "modality", "expert", "load", "low", "high", "switched")
KEYS = ["run", "router", "modality"]


def draw(frame: pd.DataFrame) -> go.Figure:
    """A panel for each router and modality, a line an expert with its 95 % band: its load at each kept epoch.

    Under each panel stands the share of tokens that changed their expert at the last step; the grey dotted line is an even split.
    """
    frame = frame.assign(panel=label(frame, *KEYS))
    titles = unique(frame["panel"])
    figure, places = panels(titles, columns=2 if len(titles) < 5 else 3)
    for title, place in zip(titles, places, strict=True):
        part, first = frame[frame["panel"] == title], place == places[0]
        experts = unique(part["expert"])
        for expert in experts:
            line = part[part["expert"] == expert].sort_values("epoch")
            name, hover = f"expert {expert}", "epoch %{x}<br>load %{y:.3f}"
            marks.band(figure, line["epoch"], line["low"], line["high"], name, int(expert), place)
            marks.line(figure, line["epoch"], line["load"], name, int(expert), place, first, hovertemplate=hover)
        epochs = [int(epoch) for epoch in sorted(unique(part["epoch"]))]
        marks.constant(figure, [epochs[0], epochs[-1]], [1 / len(experts)] * 2, place, first, "even split")
        ticks = {"tickmode": "array", "tickvals": epochs, "ticktext": [str(epoch) for epoch in epochs]} if len(epochs) <= 8 else {}
        figure.update_xaxes(title_text=f"epoch (last step: {_last(part)})", **ticks, **place)
        figure.update_yaxes(title_text="load" if place["col"] == 1 else None, rangemode="tozero", **place)
    return legend_below(figure)


def _last(part: pd.DataFrame) -> str:
    """ "12 % of tokens moved"."""
    switched = part.sort_values("epoch")["switched"].dropna()
    return "nothing to compare" if switched.empty else f"{percent(switched.iloc[-1])} of tokens moved"


@sentence
def read(frame: pd.DataFrame) -> str:
    moves = frame.groupby([*KEYS, "epoch"], sort=False)["switched"].first().dropna().reset_index()
    if moves.empty:
        return f"Only epoch {unique(frame['epoch'])[0]} was kept: there is nothing to compare."
    last = moves.loc[moves.groupby(KEYS, sort=False)["epoch"].idxmax()]
    top, low = last.loc[last["switched"].idxmax()], last.loc[last["switched"].idxmin()]
    ends = frame[frame["epoch"] == frame["epoch"].max()].reset_index(drop=True)
    load = ends.loc[ends["load"].idxmax()]
    busiest = f"{number(load['load'], 2)} [{number(load['low'], 2)}, {number(load['high'], 2)}]"
    return (
        f"Between the last two kept epochs {percent(top['switched'])} of the tokens of router “{top['router']}” ({top['modality']}) changed"
        f" their expert, of “{low['router']}” ({low['modality']}) {percent(low['switched'])}; in the end expert {load['expert']} of "
        f"“{load['router']}” ({load['modality']}) carries most, {busiest} of the work."
    )


VIEW = View(
    "routing_epochs",
    NEEDS,
    draw,
    read,
    "How the routers settle",
    "Each line is an expert's share of the work at the epochs whose weights were kept, with its 95 % interval over utterances. Loads that "
    "stand still may hide tokens that still move: the share under a panel counts them.",
    known=("load",),
)
