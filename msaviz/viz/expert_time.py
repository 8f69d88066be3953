"""Does the work move from one expert to another while an utterance goes on?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.grid import legend_below, panels
from msaviz.viz.theme import note
from msaviz.viz.view import View
from msaviz.viz.words import label, percent, sentence, unique

NEEDS = ("run", "router", "modality", "expert", "by", "group", "metric", "value")
TITLE = "Expert usage over time"


def draw(frame: pd.DataFrame, *, metric: str = "gate") -> go.Figure:
    """A line an expert over the tenths of an utterance, a panel for each router and modality."""
    frame = _part(frame, metric)
    if frame.empty:
        return note("No router of this model works step by step.")
    names = label(frame, "run", "router", "modality")
    frame = frame.assign(panel=names, place=_place(frame["group"]))
    figure, places = panels(unique(names), shared_yaxes=True)
    for panel, place in zip(unique(names), places, strict=True):
        part = frame[frame["panel"] == panel]
        for expert in unique(part["expert"]):
            line = part[part["expert"] == expert].sort_values("place")
            first, hover = panel == names.iloc[0], "%{x} %<br>share %{y:.3f}"
            marks.line(figure, line["place"], line["value"], f"expert {expert}", int(expert), place, first, hovertemplate=hover)
        figure.update_xaxes(title_text="time in the utterance [%]", range=[0, 100], dtick=25, **place)
        figure.update_yaxes(rangemode="tozero", title_text="mean gate" if place["col"] == 1 and metric == "gate" else None, **place)
    return legend_below(figure)


def _place(groups: pd.Series) -> pd.Series:
    """ "20–30 %" -> 25, the middle."""
    return groups.str.extract(r"^(\d+)–(\d+)").astype(float).mean(axis=1)


def _part(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    return frame[(frame["by"] == "time") & (frame["metric"] == metric) & (frame["group"] != "summary")]


@sentence
def read(frame: pd.DataFrame) -> str:
    part = _part(frame, "gate")
    if part.empty:
        return "No router of this model works step by step, so there is no usage over time."
    keys = ["run", "router", "modality", "expert"]
    spread = part.groupby(keys, sort=False)["value"].agg(["min", "max"])
    run, router, modality, expert = (spread["max"] - spread["min"]).idxmax()
    low, high = spread.loc[(run, router, modality, expert)]
    span = f"between {percent(low)} and {percent(high)}"
    return f"Expert {expert} of router “{router}” moves most over the utterance: for {modality} its weight lies {span}."


VIEW = View(
    "expert_usage",
    NEEDS,
    draw,
    read,
    TITLE,
    "Flat lines mean that the choice of expert does not depend on the time in the utterance; summary tokens are left out.",
    known=("value",),
)
