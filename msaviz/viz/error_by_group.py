"""For which domains and labels is the model wrong?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz.grid import legend_below, panels
from msaviz.viz.theme import GREY, colour, safe, safes, short, symbol
from msaviz.viz.view import View
from msaviz.viz.words import axis, chosen, name, number, sentence, unique

NEEDS = ("run", "by", "group", "metric", "value", "low", "high", "examples", "floor")


def draw(frame: pd.DataFrame, *, metrics: Sequence[str] | None = None) -> go.Figure:
    """A panel a metric: a dot a group with its 95 % interval, a symbol a run, the constant's score as a grey tick."""
    known = unique(frame["metric"])
    wanted = [str(chosen(metric, known, "metric")) for metric in metrics] if metrics else known[:3]
    frame = frame.assign(row=_rows(frame))
    figure, places = panels([""] * len(wanted), shared_yaxes=True)
    runs = unique(frame["run"])
    for metric, place in zip(wanted, places, strict=True):
        part, first = frame[frame["metric"] == metric], place == places[0]
        floor = part.groupby("row", sort=False)["floor"].mean().dropna()
        ticks = {"symbol": "line-ns", "size": 18, "line": {"color": GREY, "width": 3}}
        figure.add_trace(
            go.Scatter(
                x=short(floor),
                y=safes(floor.index),
                mode="markers",
                name="one constant",
                legendgroup="floor",
                showlegend=first,
                marker=ticks,
                hovertemplate="%{y}: constant %{x:.3f}<extra></extra>",
            ),
            **place,
        )
        for i, run in enumerate(runs):
            rows = part[part["run"] == run]
            gap = [short((rows[a] - rows[b]).clip(lower=0).fillna(0)) for a, b in (("high", "value"), ("value", "low"))]
            figure.add_trace(
                go.Scatter(
                    x=short(rows["value"]),
                    y=safes(rows["row"]),
                    mode="markers",
                    name=safe(run),
                    legendgroup=safe(run),
                    showlegend=first,
                    error_x={"type": "data", "symmetric": False, "array": gap[0], "arrayminus": gap[1]},
                    marker={"color": colour(i), "symbol": symbol(i), "size": 9},
                    hovertemplate="%{y}: %{x:.3f}",
                ),
                **place,
            )
        figure.update_xaxes(title_text=axis(metric), **place)
        figure.update_yaxes(type="category", autorange="reversed", **place)
    figure.update_layout(margin_t=60, scattermode="group", height=max(450, 160 + 30 * frame["row"].nunique()))
    return legend_below(figure)


def _rows(frame: pd.DataFrame) -> list[str]:
    """The group's name and size; sizes of several runs may differ, then the name alone must do."""
    size = frame.groupby(["by", "group"])["examples"].transform("nunique")
    names = [group if by in ("all", "domain") else f"{by} {group}" for by, group in zip(frame["by"], frame["group"], strict=True)]
    return [f"{name} ({n})" if same == 1 else name for name, n, same in zip(names, frame["examples"], size, strict=True)]


@sentence
def read(frame: pd.DataFrame) -> str:
    metric = str(frame["metric"].iloc[0])
    part = frame[(frame["metric"] == metric) & (frame["run"] == frame["run"].iloc[0])]
    whole = part[part["by"] == "all"]
    groups = part[part["by"] != "all"].dropna(subset=["value"])
    text = f"{name(metric)} is {number(whole['value'].iloc[0])} over all {int(whole['examples'].iloc[0])} utterances" if len(whole) else name(metric)
    if len(groups):
        high, low = groups.loc[groups["value"].idxmax()], groups.loc[groups["value"].idxmin()]
        text += (
            f", from {number(low['value'])} for {low['by']} “{low['group']}” ({int(low['examples'])}) to {number(high['value'])} for "
            f"{high['by']} “{high['group']}” ({int(high['examples'])}, where one constant reaches {number(high['floor'])})"
        )
    return f"{text[:1].upper()}{text[1:]}."


VIEW = View(
    "error_by_group",
    NEEDS,
    draw,
    read,
    "Errors by domain and label",
    "Numbers in brackets count utterances; intervals are 95 % bootstrap; the grey tick is what the split's median label (or commonest class) would reach in that group.",
)
