"""How fast does the prediction move when steps are hidden, or shown, in the order of an attribution?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.attributed import BASELINES, said, series, subtitled
from msaviz.viz.grid import legend_below, panels
from msaviz.viz.theme import GREY, faint, short
from msaviz.viz.view import View
from msaviz.viz.words import listed, number, percent, sentence, unique

NEEDS = (
    *("run", "split", "method", "baseline", "routing", "hidden", "kind", "fraction"),
    *("value", "low", "high", "random", "random_low", "random_high", "utterances"),
)
TITLES = {"deletion": "deletion: the largest are hidden", "insertion": "insertion: only the largest are shown"}
AXES = {"deletion": "share of steps hidden", "insertion": "share of steps shown"}


def draw(frame: pd.DataFrame) -> go.Figure:
    """A panel a kind: a line a method with its 95 % band, and the random order dashed in grey with its own."""
    rows, kinds = frame.assign(line=series(frame)), unique(frame["kind"])
    lines = unique(rows["line"])
    figure, places = panels([TITLES.get(str(kind), str(kind)) for kind in kinds], columns=2)
    for kind, place in zip(kinds, places, strict=True):
        part, first = rows[rows["kind"] == kind], place == places[0]
        _random(figure, part.groupby("fraction", as_index=False)[["random", "random_low", "random_high"]].mean(), place, first)
        for i, line in enumerate(lines):
            one = part[part["line"] == line].sort_values("fraction")
            marks.band(figure, one["fraction"], one["low"], one["high"], line, i, place)
            marks.line(figure, one["fraction"], one["value"], line, i, place, first, hovertemplate="%{x:.0%}: %{y:.3f}")
        figure.update_xaxes(title_text=AXES.get(kind, "share of steps"), tickformat=".0%", **place)
        figure.update_yaxes(title_text="distance from the whole prediction", rangemode="tozero", **place)
    return subtitled(legend_below(figure), said(frame), hidden(frame))


def hidden(frame: pd.DataFrame) -> str:
    """ "hidden steps: missing"."""
    return f"hidden steps: {listed(BASELINES.get(str(kind), str(kind)) for kind in unique(frame['hidden']))}"


def _random(figure: go.Figure, rows: pd.DataFrame, place: marks.Place, first: bool) -> None:
    """The grey dashed line of the random orders, the mean over methods, with its band."""
    x, shape = rows["fraction"], marks.named("random order", False)
    around = {"x": short([*x, *x[::-1]]), "y": short([*rows["random_high"], *rows["random_low"][::-1]])}
    figure.add_trace(
        go.Scatter(**around, fill="toself", fillcolor=faint(GREY), line_width=0, mode="lines", hoverinfo="skip", **shape), **place
    )
    style = {"line": {"color": GREY, "dash": "dash", "width": 3}, "mode": "lines", **marks.named("random order", first)}
    figure.add_trace(
        go.Scatter(x=short(x), y=short(rows["random"]), hovertemplate="random, %{x:.0%}: %{y:.3f}<extra></extra>", **style), **place
    )


@sentence
def read(frame: pd.DataFrame) -> str:
    rows, told = frame.assign(line=series(frame)), []
    for kind in unique(rows["kind"]):
        part = rows[rows["kind"] == kind]
        inner = [one for one in unique(part["fraction"]) if 0 < one < 1] or unique(part["fraction"])
        at = min(inner, key=lambda one: abs(one - 0.2))
        here = part[part["fraction"] == at]
        deleted = kind == "deletion"
        best = here.loc[here["value"].idxmax() if deleted else here["value"].idxmin()]
        apart = best["low"] > best["random_high"] if deleted else best["high"] < best["random_low"]
        told.append(
            f"with {percent(at)} of the steps {'hidden the prediction moves' if deleted else 'shown the prediction is still off'} by "
            f"{number(best['value'], 2)} [{number(best['low'], 2)}, {number(best['high'], 2)}] in the order of “{best['line']}”, by "
            f"{number(best['random'], 2)} in a random order{'' if apart else ' (no more than chance)'}"
        )
    return f"Over {int(rows['utterances'].min())} utterances, {listed(told)}."


VIEW = View(
    "deletion_curve",
    NEEDS,
    draw,
    read,
    "Hiding and showing the steps that count",
    "Left, the steps with the largest attributions are hidden first: a good order moves the prediction at once. Right, only they are "
    "shown: a good order comes close to the whole prediction at once. The grey dashed line is a random order; bands are 95 % intervals "
    "over utterances.",
    known=("fraction", "value"),
)
