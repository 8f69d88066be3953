"""Which model holds out longest as parts of the input go missing?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.grid import legend_below, panels
from msaviz.viz.view import View
from msaviz.viz.words import axis, chosen, first_of, lower, name, number, sentence, unique

NEEDS = ("run", "model", "split", "selection", "rate", "metric", "value", "low", "high", "seeds", "floor")
HEADLINE = ("mae", "acc2_negpos", "acc2", "weighted_f1", "accuracy", "corr")


def draw(frame: pd.DataFrame, *, metrics: Sequence[str] | None = None) -> go.Figure:
    """A panel a metric (the two headline ones without a wish), a line a model with its 95 % band over seeds, and the constant's floor."""
    known = unique(frame["metric"])
    wanted = [str(chosen(metric, known, "metric")) for metric in metrics] if metrics else headline(known)
    frame = frame.assign(line=marks.series(frame))
    figure, places = panels([""] * len(wanted), columns=2)
    for metric, place in zip(wanted, places, strict=True):
        part, first = frame[frame["metric"] == metric], place == places[0]
        floor = part.groupby("rate")["floor"].mean().dropna()
        if len(floor):
            marks.constant(figure, floor.index, floor, place, first)
        for i, line in enumerate(unique(frame["line"])):
            rows = part[part["line"] == line].sort_values("rate")
            marks.band(figure, rows["rate"], rows["low"], rows["high"], line, i, place)
            marks.line(figure, rows["rate"], rows["value"], line, i, place, first, hovertemplate="rate %{x:.1f}: %{y:.3f}")
        figure.update_xaxes(title_text="missing rate [share of steps]", tickformat=".1f", **place)
        figure.update_yaxes(title_text=axis(metric, arrow=True), **place)
    return legend_below(figure)


def headline(known: list[str]) -> list[str]:
    """The error, and the first of the usual scores."""
    return [metric for metric in HEADLINE if metric in known][:2] or [str(first_of(known, HEADLINE))]


@sentence
def read(frame: pd.DataFrame) -> str:
    metric = headline(unique(frame["metric"]))[0]
    part = frame.assign(line=marks.series(frame))
    part = part[part["metric"] == metric]
    mean = part.groupby("line", sort=False)[["value", "floor"]].mean()
    best = mean["value"].idxmin() if lower(metric) else mean["value"].idxmax()
    rows = part[part["line"] == best].sort_values("rate")
    start, end, seeds = rows.iloc[0], rows.iloc[-1], int(rows["seeds"].min())
    others = [f"{line} {number(value)}" for line, value in mean["value"].items() if line != best]
    span = f"{number(start['value'])} at rate {number(start['rate'], 1)}, {number(end['value'])} at {number(end['rate'], 1)}"
    return (
        f"Over the missing rates “{best}” has {'the best' if others else 'a'} mean {name(metric)} of {number(mean.loc[best, 'value'])} "
        f"({seeds} seed{'s' * (seeds != 1)}; {span})"
        f"{', against ' + ', '.join(others) if others else ''}; a constant predictor has {number(mean.loc[best, 'floor'])}."
    )


VIEW = View(
    "missing_curve",
    NEEDS,
    draw,
    read,
    "Scores under missing input",
    "Each line is a mean over seeds, the band its 95 % interval. The dotted grey line is the best constant prediction: a model that meets "
    "it uses nothing of its input any more.",
    known=("value",),
)
