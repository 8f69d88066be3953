"""Do attributions tell what hiding steps does, and do they hold still when the input hardly moves?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.attributed import said, series, subtitled
from msaviz.viz.grid import legend_below, panels, row_height
from msaviz.viz.view import View
from msaviz.viz.words import listed, number, sentence, unique

NEEDS = ("run", "split", "method", "baseline", "routing", "metric", "value", "low", "high", "chance", "utterances")
TITLES = {
    "infidelity": "infidelity (share of movement untold) ↓",
    "infidelity_scaled": "infidelity, best scale ↓",
    "sensitivity": "sensitivity (largest relative change) ↓",
}


def draw(frame: pd.DataFrame) -> go.Figure:
    """A panel a metric: a dot for each method with its 95 % interval, a grey tick for the same values in a random order."""
    rows, metrics = frame.assign(line=series(frame)), unique(frame["metric"])
    names = unique(rows["line"])
    figure, places = panels([TITLES.get(str(m), str(m)) for m in metrics], columns=2, labels=names, height=row_height(len(names), each=32))
    for metric, place in zip(metrics, places, strict=True):
        part, first = rows[rows["metric"] == metric], place == places[0]
        marks.ticks(figure, part["chance"], part["line"], names, "random order", place, first)
        marks.dots(figure, part, part["line"], names, "method (95 %)", 0, 1, place, first)
        figure.update_xaxes(rangemode="tozero", **place)
        marks.rows_axis(figure, names, place)
    return subtitled(legend_below(figure), said(frame))


@sentence
def read(frame: pd.DataFrame) -> str:
    rows, told = frame.assign(line=series(frame)), []
    for metric in unique(rows["metric"]):
        part = rows[rows["metric"] == metric]
        best, better = part.loc[part["value"].idxmin()], part[part["high"] < part["chance"]]
        told.append(
            f"{metric.replace('_', ' ')} is lowest for “{best['line']}” ({number(best['value'], 2)} [{number(best['low'], 2)}, "
            f"{number(best['high'], 2)}], a random order {number(best['chance'], 2)}) and beyond chance for {len(better)} of {len(part)}"
        )
    return f"Over the methods, {listed(told)}."


VIEW = View(
    "attribution_faithfulness",
    NEEDS,
    draw,
    read,
    "Are attributions faithful?",
    "Infidelity: random steps are hidden, and what was given to them is compared with what happens: 0 is all of it, 1 is as good as "
    "saying nothing. With the best scale, only the proportions count. Sensitivity: how far the attribution moves under small noise. The "
    "grey tick is the same values in a random order.",
    known=("value",),
)
