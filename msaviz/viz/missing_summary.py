"""Which model is best over all missing rates together?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.grid import legend_below, panels, row_height
from msaviz.viz.missing_curve import headline
from msaviz.viz.view import View
from msaviz.viz.words import axis, lower, name, number, sentence, unique

NEEDS = ("run", "model", "split", "selection", "summary", "metric", "value", "low", "high", "seeds", "floor")
SUMMARIES = {"mean": "mean over rates", "area": "normalised area"}


def draw(frame: pd.DataFrame) -> go.Figure:
    """A panel for each headline metric: mean and area as dots with their 95 % interval over seeds, the constant as a grey tick."""
    frame = frame.assign(line=marks.series(frame))
    metrics, lines, summaries = headline(unique(frame["metric"])), unique(frame["line"]), unique(frame["summary"])
    figure, places = panels([""] * len(metrics), columns=2, shared_yaxes=True, height=row_height(1.5 * len(lines)))
    for metric, place in zip(metrics, places, strict=True):
        first = place == places[0]
        of_metric = frame[frame["metric"] == metric]
        floor = of_metric.groupby("line", sort=False)["floor"].mean()
        marks.ticks(figure, floor, floor.index, lines, "constant predictor", place, first)
        for i, summary in enumerate(summaries):
            rows = of_metric[of_metric["summary"] == summary]
            marks.dots(figure, rows, rows["line"], lines, SUMMARIES.get(summary, str(summary)), i, len(summaries), place, first)
        figure.update_xaxes(title_text=axis(metric, arrow=True), **place)
        marks.rows_axis(figure, lines, place)
    return legend_below(figure)


@sentence
def read(frame: pd.DataFrame) -> str:
    metric = headline(unique(frame["metric"]))[0]
    part = frame.assign(line=marks.series(frame))
    part = part[(part["metric"] == metric) & (part["summary"] == ("mean" if "mean" in set(part["summary"]) else part["summary"].iloc[0]))]
    part = part.sort_values("value", ascending=lower(metric), kind="stable")
    spans = [f" [{number(low)}, {number(high)}]" if pd.notna(low) else "" for low, high in zip(part["low"], part["high"], strict=True)]
    said = [f"{line} {number(value)}{span}" for line, value, span in zip(part["line"], part["value"], spans, strict=True)]
    return f"Mean {name(metric)} over the missing rates, best first: {'; '.join(said)}; constant predictor {number(part['floor'].mean())}."


VIEW = View(
    "missing_summary",
    NEEDS,
    draw,
    read,
    "Scores over all missing rates",
    "Mean over the rates, and the area under the curve divided by its length (the two differ where the curve bends at its ends). "
    "Intervals are over seeds.",
)
