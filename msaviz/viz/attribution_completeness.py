"""Do attributions add up to what they explain?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.attributed import said, series, subtitled
from msaviz.viz.grid import legend_below, panels, row_height
from msaviz.viz.view import View
from msaviz.viz.words import percent, sentence, unique

NEEDS = ("run", "split", "method", "baseline", "routing", "metric", "value", "low", "high", "p90", "utterances")
TITLES = {"gap": "gap [units of the explained number]", "relative_gap": "gap as a share of the difference to the baseline"}
LEAST = 1e-8
"""What is smaller than this is drawn here: a logarithm has no place for 0."""


def draw(frame: pd.DataFrame) -> go.Figure:
    """A panel a metric: a dot for the median gap of each method with its 95 % interval, a square for the 90th percentile; log axis."""
    rows, metrics = frame.assign(line=series(frame)), unique(frame["metric"])
    names = unique(rows["line"])
    numbers = ["value", "low", "high", "p90"]
    rows = rows.assign(**{column: rows[column].clip(lower=LEAST) for column in numbers})
    titles = [TITLES.get(str(metric), str(metric)) for metric in metrics]
    figure, places = panels(titles, columns=2, labels=names, height=row_height(len(names), each=36))
    for metric, place in zip(metrics, places, strict=True):
        part, first = rows[rows["metric"] == metric], place == places[0]
        marks.dots(figure, part, part["line"], names, "median (95 %)", 0, 2, place, first)
        last = part[["run"]].assign(value=part["p90"], low=part["p90"], high=part["p90"])
        marks.dots(figure, last, part["line"], names, "90th percentile", 1, 2, place, first)
        figure.update_xaxes(type="log", dtick=2, exponentformat="power", **place)
        marks.rows_axis(figure, names, place)
    figure.update_traces(hovertemplate="%{text}: %{x:.2g}")
    return subtitled(legend_below(figure), said(frame))


@sentence
def read(frame: pd.DataFrame) -> str:
    rows = frame.assign(line=series(frame))
    rows = rows[rows["metric"] == ("relative_gap" if (rows["metric"] == "relative_gap").any() else "gap")]
    best, worst = rows.loc[rows["value"].idxmin()], rows.loc[rows["value"].idxmax()]
    unit = "the difference to the baseline" if best["metric"] == "relative_gap" else "one unit of the explained number"

    def missed(row: pd.Series) -> str:
        median, last = ("less than 1 %" if row[column] < 0.01 else percent(row[column]) for column in ("value", "p90"))
        return f"“{row['line']}” misses {median} of {unit} in the median utterance (90th percentile: {last})"

    text = f"Over {int(best['utterances'])} utterances {missed(best)}"
    return f"{text}{'' if len(rows) == 1 else f', {missed(worst)}'}."


VIEW = View(
    "attribution_completeness",
    NEEDS,
    draw,
    read,
    "Do attributions add up?",
    "What was given to all steps should be the difference between the explained number and that of the baseline. Gradient SHAP promises "
    "it on average over draws only, feature ablation and occlusion not at all: there the gap says how much the steps share or replace "
    "each other. Values below 1e-8 stand at the left edge.",
    known=("value",),
)
