"""For which domains and labels is the model wrong?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.grid import legend_below, panels, row_height
from msaviz.viz.view import View
from msaviz.viz.words import axis, chosen, name, number, sentence, unique

NEEDS = ("run", "by", "group", "metric", "value", "low", "high", "examples", "floor")


def draw(frame: pd.DataFrame, *, metrics: Sequence[str] | None = None) -> go.Figure:
    """A panel a metric: a dot a group with its 95 % interval, a symbol a run, the constant's score as a grey tick."""
    known = unique(frame["metric"])
    wanted = [str(chosen(metric, known, "metric")) for metric in metrics] if metrics else known[:3]
    frame = frame.assign(row=_rows(frame))
    names, runs = unique(frame["row"]), unique(frame["run"])
    figure, places = panels([""] * len(wanted), shared_yaxes=True, height=row_height(len(names) * (1 + len(runs) / 4)))
    for metric, place in zip(wanted, places, strict=True):
        part, first = frame[frame["metric"] == metric], place == places[0]
        floor = part.groupby("row", sort=False)["floor"].mean()
        marks.ticks(figure, floor, floor.index, names, "one constant", place, first)
        for i, run in enumerate(runs):
            rows = part[part["run"] == run]
            marks.dots(figure, rows, rows["row"], names, run, i, len(runs), place, first)
        figure.update_xaxes(title_text=axis(metric), **place)
        marks.rows_axis(figure, names, place)
    return legend_below(figure)


def _rows(frame: pd.DataFrame) -> list[str]:
    """The group's name and size; sizes of several runs may differ, then the name alone must do."""
    sizes = frame.groupby(["by", "group"])["examples"].transform("nunique")
    names = [str(group) if by == "all" else f"{by} {group}" for by, group in zip(frame["by"], frame["group"], strict=True)]
    return [f"{group} ({n})" if same == 1 else group for group, n, same in zip(names, frame["examples"], sizes, strict=True)]


@sentence
def read(frame: pd.DataFrame) -> str:
    metric = str(frame["metric"].iloc[0])
    part = frame[(frame["metric"] == metric) & (frame["run"] == frame["run"].iloc[0])]
    whole, groups = part[part["by"] == "all"], part[part["by"] != "all"].dropna(subset=["value"])
    text = name(metric)
    if len(whole):
        text += f" is {number(whole['value'].iloc[0])} over all {int(whole['examples'].iloc[0])} utterances"
    if len(groups):
        high, low = groups.loc[groups["value"].idxmax()], groups.loc[groups["value"].idxmin()]
        least = f"{number(low['value'])} for {low['by']} “{low['group']}” ({int(low['examples'])} utterances)"
        most = f"{number(high['value'])} for {high['by']} “{high['group']}” ({int(high['examples'])})"
        text += f", from {least} to {most}, where one constant reaches {number(high['floor'])}"
    return f"{text[:1].upper()}{text[1:]}."


VIEW = View(
    "error_by_group",
    NEEDS,
    draw,
    read,
    "Errors by domain and label",
    "Numbers in brackets count utterances; intervals are 95 % bootstrap. The grey tick is what the split's median label (or commonest "
    "class) would reach in that group.",
)
