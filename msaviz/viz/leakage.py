"""What can be read from each representation that should, or should not, be there?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.grid import legend_below, panels, row_height
from msaviz.viz.view import View
from msaviz.viz.words import listed, name, number, sentence, unique

NEEDS = ("run", "representation", "target", "metric", "value", "low", "high", "floor")


def draw(frame: pd.DataFrame) -> go.Figure:
    """A panel for each target and score: a dot a run with its 95 % interval, a grey tick for chance (its mean over runs)."""
    titles = [f"{target}: {name(metric)}" for target, metric in zip(frame["target"], frame["metric"], strict=True)]
    frame, runs = frame.assign(panel=titles), unique(frame["run"])
    most = frame.groupby("panel")["representation"].nunique().max() * (1 + len(runs) / 4)
    figure, places = panels(unique(titles), columns=2, labels=frame["representation"], height=row_height(most, each=18))
    for title, place in zip(unique(titles), places, strict=True):
        part, first = frame[frame["panel"] == title], place == places[0]
        names = unique(part["representation"])
        floor = part.groupby("representation", sort=False)["floor"].mean()
        marks.ticks(figure, floor, floor.index, names, "chance (95 %)", place, first)
        for i, run in enumerate(runs):
            rows = part[part["run"] == run]
            marks.dots(figure, rows, rows["representation"], names, run, i, len(runs), place, first)
        low = float(part[["low", "floor", "value"]].min().min())
        figure.update_xaxes(range=[min(0.0, low) - 0.04, 1.04], **place)
        marks.rows_axis(figure, names, place)
    return legend_below(figure, room=-20)


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
