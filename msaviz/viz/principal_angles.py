"""How close do the subspaces come, direction by direction?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.grid import legend_below, panels
from msaviz.viz.view import View
from msaviz.viz.words import label, number, sentence, unique

NEEDS = ("run", "representation", "other", "rank", "value", "floor")
KINDS = ("shared and shared", "shared and private", "private and private")


def draw(frame: pd.DataFrame) -> go.Figure:
    """A line a pair, a panel for each kind of pair; the grey line is the closest that random subspaces come."""
    frame = frame.assign(kind=_kind(frame), line=label(frame.assign(pair=_pair(frame)), "run", "pair"))
    kinds = [kind for kind in KINDS if kind in set(frame["kind"])] or unique(frame["kind"])
    numbers = {name: i for i, name in enumerate(unique(frame["line"]))}
    figure, places = panels(kinds, shared_yaxes=True)
    figure.update_layout(height=490)
    for kind, place in zip(kinds, places, strict=True):
        part = frame[frame["kind"] == kind]
        chance = part.groupby("rank")["floor"].min()
        marks.constant(figure, chance.index, chance, place, place == places[0], "chance (5 %)")
        for name in unique(part["line"]):
            line = part[part["line"] == name].sort_values("rank")
            marks.line(figure, line["rank"], line["value"], name, numbers[name], place, True, hovertemplate="direction %{x}: %{y:.0f}°")
        figure.update_xaxes(title_text="direction [rank]", dtick=1 if part["rank"].max() < 10 else None, **place)
        figure.update_yaxes(range=[0, 92], dtick=30, title_text="principal angle [degrees]" if place["col"] == 1 else None, **place)
    return legend_below(figure)


def _kind(frame: pd.DataFrame) -> pd.Series:
    first, second = (frame[column].str.split("/").str[0] for column in ("representation", "other"))
    mixed = (first != second).map({True: "shared and private", False: ""})
    return mixed.where(mixed != "", first + " and " + second)


def _pair(frame: pd.DataFrame) -> pd.Series:
    return frame["representation"] + " – " + frame["other"]


@sentence
def read(frame: pd.DataFrame) -> str:
    mean = frame.groupby(["run", "representation", "other"], sort=False)["value"].mean()
    (_, one, other), value = mean.idxmin(), mean.min()
    mixed = frame[_kind(frame) == "shared and private"]
    close = mixed["value"] < mixed["floor"]
    text = f"; between shared and private {int(close.sum())} of {len(mixed)} directions are closer than chance" if len(mixed) else ""
    return f"“{one}” and “{other}” lie closest, at {number(value, 0)}° on average{text}."


VIEW = View(
    "principal_angles",
    NEEDS,
    draw,
    read,
    "Principal angles between the subspaces",
    "0° = a direction in common, 90° = orthogonal. Only angles below the grey line are closer than random subspaces of the same sizes "
    "would be.",
    known=("value",),
)
