"""What can be read from each representation that should, or should not, be there?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.grid import fit_rows, legend_below, panels
from msaviz.viz.view import View
from msaviz.viz.words import label, listed, name, number, sentence, unique

NEEDS = ("run", "representation", "target", "metric", "value", "low", "high", "floor")


def draw(frame: pd.DataFrame) -> go.Figure:
    """A panel for each target and score: dots with their 95 % interval, a grey tick for chance."""
    titles = [f"{target}: {name(metric)}" for target, metric in zip(frame["target"], frame["metric"], strict=True)]
    frame = frame.assign(panel=titles, row=label(frame, "run", "representation"))
    figure, places = panels(unique(titles), columns=2)
    for title, place in zip(unique(titles), places, strict=True):
        part, first = frame[frame["panel"] == title], place == places[0]
        marks.ticks(figure, part["floor"], part["row"], "chance (95 %)", place, first)
        marks.dots(figure, part, part["row"], "probe, 95 % interval", 0, place, first)
        low = float(part[["low", "floor", "value"]].min().min())
        figure.update_xaxes(range=[min(0.0, low) - 0.04, 1.04], **place)
        figure.update_yaxes(type="category", autorange="reversed", **place)
    most = frame.groupby("panel").size().max()
    return legend_below(fit_rows(figure, most, panels=max(place["row"] for place in places)), room=-25)


@sentence
def read(frame: pd.DataFrame) -> str:
    said = []
    for target in unique(frame["target"]):
        part = frame[frame["target"] == target]
        part = part[part["metric"] == part["metric"].iloc[0]].dropna(subset=["value"])
        if part.empty:
            continue
        best, above = part.loc[part["value"].idxmax()], part[part["low"] > part["floor"]]
        said.append(
            f"the {target} from {len(above)} of {len(part)} representations beyond chance (best “{best['representation']}”, "
            f"{name(best['metric'])} {number(best['value'], 2)}, chance {number(best['floor'], 2)})"
        )
    return f"A linear probe reads {listed(said)}." if said else "No probe could be fitted."


VIEW = View(
    "leakage",
    NEEDS,
    draw,
    read,
    "What a linear probe reads from each representation",
    "A dot beyond the grey tick is information that a straight line can pick up. Shared spaces should not give away modality or domain; "
    "a private space that predicts the label is used for it.",
)
