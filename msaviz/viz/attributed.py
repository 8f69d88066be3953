"""What does every picture of an attribution say: its method, its baseline and its routing, and which colour means up and which down?"""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz.theme import colour, hatch, safe
from msaviz.viz.words import chosen, name, unique

UP, DOWN = 0, 1
"""Colour, symbol and hatch of what raises the prediction, and of what lowers it."""
NAMES = {UP: "pushes up", DOWN: "pushes down"}
BASELINES = {"zero": "zeros", "mean": "the train mean", "train": "train steps", "missing": "missing"}


def bar(i: int) -> dict[str, Any]:
    """Colour and hatch of the bars UP or DOWN."""
    return {"color": colour(i), "pattern": hatch(i), "line_width": 0}


def settings(frame: pd.DataFrame) -> pd.Series:
    """ "baseline: zeros · routing frozen", a row each."""
    return "baseline: " + frame["baseline"].map(BASELINES).fillna(frame["baseline"]) + " · routing " + frame["routing"].astype(str)


def series(frame: pd.DataFrame) -> pd.Series:
    """The method of each row, with the run, baseline and routing where these differ between the rows."""
    names = frame["method"].astype(str).map(name)
    if settings(frame).nunique() > 1:
        names = names + " · " + settings(frame)
    return frame["run"].astype(str) + " · " + names if frame["run"].nunique() > 1 else names


def said(frame: pd.DataFrame) -> str:
    """What the figure must say of all its rows: the methods, and what they share."""
    methods = ", ".join(unique(frame["method"].astype(str).map(name))) if "method" in frame else ""
    told = unique(settings(frame))
    return " · ".join(part for part in (methods, told[0] if len(told) == 1 else "") if part)


def subtitled(figure: go.Figure, *lines: str) -> go.Figure:
    """The figure with these lines under its title, and room for them."""
    text = "<br>".join(safe(line) for line in lines if line)
    room = 20 * len([line for line in lines if line]) + 8
    height, top = (figure.layout.height or 450) + room, (figure.layout.margin.t or 60) + room
    subtitle = {"text": text, "font": {"size": 13}}
    place = {"yref": "container", "y": 1 - 12 / height, "yanchor": "top"}
    return figure.update_layout(title={"subtitle": subtitle, **place}, height=height, margin_t=top)


def one_method(frame: pd.DataFrame, method: str | None, run: str | None = None) -> pd.DataFrame:
    """The rows of one method of one run; without a wish the first ones."""
    run = str(frame["run"].iloc[0]) if run is None else str(chosen(run, unique(frame["run"]), "run"))
    frame = frame[frame["run"] == run]
    method = str(frame["method"].iloc[0]) if method is None else str(chosen(method, unique(frame["method"]), "method"))
    return frame[frame["method"] == method].reset_index(drop=True)
