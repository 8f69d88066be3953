"""Does the search find something better than chance does with the same number of trained trials?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.grid import legend_below, panels
from msaviz.viz.view import View
from msaviz.viz.words import label, listed, number, sentence, unique

NEEDS = ("run", "arm", "evaluations", "best", "hypervolume", "front")
PANELS = {"best": "lowest validation error so far ↓", "hypervolume": "hypervolume of error and size [share] ↑"}


def draw(frame: pd.DataFrame) -> go.Figure:
    """Two panels over the trained trials: the lowest error so far, and the hypervolume; a step line an arm."""
    frame = frame.assign(series=label(frame, "run", "arm"))
    figure, places = panels(["", ""], columns=2, height=400)
    for (column, title), place in zip(PANELS.items(), places, strict=True):
        for i, name in enumerate(unique(frame["series"])):
            part = frame[frame["series"] == name].sort_values("evaluations")
            hover = "after %{x:.0f} trials: %{y:.4f}"
            marks.line(figure, part["evaluations"], part[column], name, i, place, place == places[0], mode="lines", hovertemplate=hover)
        figure.update_xaxes(title_text="trained trials (pruned ones count)", rangemode="tozero", zeroline=False, **place)
        figure.update_yaxes(title_text=title, zeroline=False, **place)
    figure.update_traces(line_shape="hv", line_width=2.5)
    return legend_below(figure)


@sentence
def read(frame: pd.DataFrame) -> str:
    frame = frame.assign(series=label(frame, "run", "arm"))
    known = frame.dropna(subset="best")
    if known.empty:
        return f"After {int(frame['evaluations'].max())} trained trials none was trained to the end."
    budget = int(frame.groupby("series")["evaluations"].max().min())
    same = known[known["evaluations"] <= budget].sort_values("evaluations").groupby("series", sort=False).last()
    if same.empty:
        return f"After {budget} trained trials, the budget that all arms have in common, none was trained to the end."
    same = same.sort_values("best", kind="stable")
    first = same.iloc[0]
    reached = known[(known["series"] == same.index[0]) & (known["best"] == first["best"])]["evaluations"].min()
    lead = f"After {budget} trained trials each, “{same.index[0]}” has the lowest error"
    rest = [f"“{name}” {number(row['best'])}" for name, row in same.iloc[1:].iterrows()]
    volume = same["hypervolume"]
    more = f"; {listed(rest)}" if rest else ""
    text = f"{lead}, {number(first['best'])} (first reached after {int(reached)}){more}"
    if volume.isna().all():
        return f"{text}."
    return f"{text}; the largest hypervolume is that of “{volume.idxmax()}”, {number(volume.max())} of the largest possible."


VIEW = View(
    "search_progress",
    NEEDS,
    draw,
    read,
    "Progress of the search",
    "Compare the arms at the same number of trained trials. “random” draws genes blindly; “default” trains the untouched options again "
    "and again, so that its fall is what picking the luckiest of many seeds brings. Errors are those of the validation split, which was "
    "looked at once a trial: the lowest of many is too good, and only the retrained winners tell by how much.",
)
