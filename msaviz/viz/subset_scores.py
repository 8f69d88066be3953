"""What is each subset of modalities worth to each model?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.grid import legend_below, panels, row_height
from msaviz.viz.missing_curve import headline
from msaviz.viz.view import View
from msaviz.viz.words import axis, lower, name, number, sentence, unique

NEEDS = ("run", "model", "split", "selection", "subset", "metric", "value", "low", "high", "seeds", "floor")


def draw(frame: pd.DataFrame) -> go.Figure:
    """A panel for each headline metric: a dot a model and subset with its 95 % interval over seeds; grey is the constant."""
    frame = frame.assign(line=marks.series(frame))
    metrics, lines, subsets = headline(unique(frame["metric"])), unique(frame["line"]), unique(frame["subset"])
    figure, places = panels([""] * len(metrics), columns=2, shared_yaxes=True, height=row_height(len(subsets) * (1 + len(lines) / 4)))
    for metric, place in zip(metrics, places, strict=True):
        first = place == places[0]
        of_metric = frame[frame["metric"] == metric]
        floor = of_metric.groupby("subset", sort=False)["floor"].mean()
        marks.ticks(figure, floor, floor.index, subsets, "constant predictor", place, first)
        for i, line in enumerate(lines):
            rows = of_metric[of_metric["line"] == line]
            marks.dots(figure, rows, rows["subset"], subsets, line, i, len(lines), place, first)
        figure.update_xaxes(title_text=axis(metric, arrow=True), **place)
        marks.rows_axis(figure, subsets, place, title="modalities that are there" if first else None)
    return legend_below(figure)


@sentence
def read(frame: pd.DataFrame) -> str:
    metric = headline(unique(frame["metric"]))[0]
    part = frame.assign(line=marks.series(frame))
    part = part[(part["metric"] == metric) & (part["line"] == part["line"].iloc[0])].sort_values(
        "value", ascending=lower(metric), kind="stable"
    )
    best, worst = part.iloc[0], part.iloc[-1]
    return (
        f"For “{best['line']}” the subset “{best['subset']}” gives the best {name(metric)} ({number(best['value'])}) and "
        f"“{worst['subset']}” the worst ({number(worst['value'])}); a constant predictor has {number(part['floor'].mean())}."
    )


VIEW = View(
    "subset_scores",
    NEEDS,
    draw,
    read,
    "Scores with some modalities only",
    "Each row is a subset of modalities that the model is given; a subset at the grey tick is worth no more than a constant prediction.",
)
