"""Do attributions find the steps that were planted to tell the label?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.attributed import said, series, subtitled
from msaviz.viz.grid import legend_below, panels, row_height
from msaviz.viz.view import View
from msaviz.viz.words import listed, number, sentence, unique

NEEDS = ("run", "split", "method", "baseline", "routing", "modality", "metric", "value", "low", "high", "chance", "utterances")
TITLES = {
    "pointing": "the largest step is evidence",
    "mass": "share of |value| on evidence",
    "top_k": "evidence among the k largest",
}


def draw(frame: pd.DataFrame) -> go.Figure:
    """A panel a metric, a row a modality, a dot a method with its 95 % interval, a grey tick for a random order."""
    rows, metrics = frame.assign(line=series(frame)), unique(frame["metric"])
    lines, names = unique(rows["line"]), unique(frame["modality"])
    figure, places = panels(
        [TITLES.get(str(m), str(m)) for m in metrics], columns=3, labels=names, height=row_height(len(names), each=24 + 12 * len(lines))
    )
    for metric, place in zip(metrics, places, strict=True):
        part, first = rows[rows["metric"] == metric], place == places[0]
        chance = part.groupby("modality", sort=False)["chance"].mean()
        marks.ticks(figure, chance, chance.index, names, "random order", place, first)
        for i, line in enumerate(lines):
            one = part[part["line"] == line]
            marks.dots(figure, one, one["modality"], names, line, i, len(lines), place, first)
        figure.update_xaxes(range=[-0.03, 1.03], tickformat=".1f", **place)
        marks.rows_axis(figure, names, place)
    return subtitled(legend_below(figure), said(frame))


@sentence
def read(frame: pd.DataFrame) -> str:
    rows, told = frame.assign(line=series(frame)), []
    for metric in unique(rows["metric"]):
        part = rows[rows["metric"] == metric]
        part = part[part["modality"] == part["modality"].iloc[0]]
        best, above = part.loc[part["value"].idxmax()], part[part["low"] > part["chance"]]
        told.append(
            f"{TITLES.get(str(metric), str(metric))}: {number(best['value'], 2)} [{number(best['low'], 2)}, {number(best['high'], 2)}] for "
            f"“{best['line']}” (a random order {number(best['chance'], 2)}; {len(above)} of {len(part)} beyond chance)"
        )
    part = "all modalities" if rows["modality"].iloc[0] == "all" else rows["modality"].iloc[0]
    return f"Over the steps of {part} of {int(rows['utterances'].min())} utterances or more, {listed(told)}."


VIEW = View(
    "planted_evidence",
    NEEDS,
    draw,
    read,
    "Do attributions find the planted evidence?",
    "Only synthetic data know which steps tell the label. Pointing: is the step with the largest attribution one of them; mass: how much "
    "of all attribution lies on them; k: how many of the k largest are, where k is their number. The grey tick is a random order.",
    known=("value",),
)
