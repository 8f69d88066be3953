"""Does it matter what each router decides?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.expert_knockout import UNITS
from msaviz.viz.grid import legend_below, panels, row_height
from msaviz.viz.marks import upright
from msaviz.viz.view import View
from msaviz.viz.words import label, name, number, sentence, unique

NEEDS = ("run", "router", "modality", "swap", "metric", "value", "low", "high")
NAMES = {"error": "share of wrong answers"}
WORDS = {"uniform": "the same gates for all experts", "mean": "its mean gates", "shuffled": "another utterance's gates"}
"""What a swap is called in a sentence and in the legend."""


def draw(frame: pd.DataFrame) -> go.Figure:
    """A panel a run, a row a router and modality, a symbol a swap: by how much the error grows, with its 95 % interval; the dashed
    line is no change."""
    frame = frame.assign(row=label(frame, "router", "modality") if frame["router"].nunique() == 1 else _rows(frame))
    runs, swaps = unique(frame["run"]), unique(frame["swap"])
    most = frame.groupby("run")["row"].nunique().max()
    several = len(swaps) > 3
    figure, places = panels(runs, columns=2, labels=frame["row"], height=row_height(most, each=60 if several else 42))
    for run, place in zip(runs, places, strict=True):
        part, first = frame[frame["run"] == run], place == places[0]
        names = unique(part["row"])
        upright(figure, 0.0, len(names), "no change", place, first)
        for i, swap in enumerate(swaps):
            rows = part[part["swap"] == swap]
            marks.dots(figure, rows, rows["row"], names, _called(swap), i, len(swaps), place, first)
        figure.update_xaxes(title_text=_axis(frame), **place)
        marks.rows_axis(figure, names, place)
    return legend_below(figure)


def _rows(frame: pd.DataFrame) -> pd.Series:
    return frame["router"] + " · " + frame["modality"]


def _called(swap: str) -> str:
    """ "mean" -> "its mean gates", "other modality: audio" -> "its mean gates for audio"."""
    kind, _, modality = swap.partition(": ")
    return f"its mean gates for {modality}" if modality else WORDS.get(kind, kind)


def _axis(frame: pd.DataFrame) -> str:
    metric = str(frame["metric"].iloc[0])
    unit = f" [{UNITS[metric]}]" if metric in UNITS else ""
    return f"{NAMES.get(metric, name(metric))} with other gates minus with its own{unit}"


@sentence
def read(frame: pd.DataFrame) -> str:
    part = frame.reset_index(drop=True).dropna(subset=["value"])
    if part.empty:
        return "No router's gates could be replaced."
    worse, better = part[part["low"] > 0], part[part["high"] < 0]
    top = (worse if len(worse) else part).pipe(lambda rows: rows.loc[rows["value"].idxmax()])
    span = f"{number(top['value'])} [{number(top['low'])}, {number(top['high'])}]"
    which = f"{_called(top['swap'])} in place of those of router “{top['router']}” ({top['modality']})"
    counted = f"{len(worse) + len(better)} of {len(part)} intervals exclude zero (chance alone gives about {0.05 * len(part):.0f})"
    gain = f"; in {len(better)} of them the model is better with the other gates" if len(better) else ""
    if worse.empty:
        return f"No router's decision is missed beyond chance; the largest change is that with {which}, {span}; {counted}{gain}."
    metric = NAMES.get(top["metric"], name(top["metric"]))
    return f"The decision that matters most: with {which} the {metric} grows by {span}; {counted}{gain}."


VIEW = View(
    "router_swap",
    NEEDS,
    draw,
    read,
    "Does it matter what the routers decide?",
    "Each dot is the error with other gates in place of the router's own, minus the error with its own. Right of the line its decision "
    "helps; where even another utterance's gates change nothing, the router need not have looked at the input.",
)
