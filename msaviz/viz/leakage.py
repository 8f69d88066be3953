"""What can be read from each representation that should, or should not, be there?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz.grid import legend_below, panels
from msaviz.viz.theme import GREY, colour, safes, short, symbol
from msaviz.viz.view import View
from msaviz.viz.words import label, listed, name, number, sentence, unique

NEEDS = ("run", "representation", "target", "metric", "value", "low", "high", "floor")


def draw(frame: pd.DataFrame) -> go.Figure:
    """A panel for each target and score: dots with their 95 % interval, a grey tick for chance."""
    frame = frame.assign(panel=[f"{target}: {name(metric)}" for target, metric in zip(frame["target"], frame["metric"], strict=True)])
    frame = frame.assign(row=label(frame, "run", "representation"))
    titles = unique(frame["panel"])
    figure, places = panels(titles, columns=2)
    most = 1
    for i, (title, place) in enumerate(zip(titles, places, strict=True)):
        part = frame[frame["panel"] == title]
        most = max(most, len(part))
        first = i == 0
        ticks = {"symbol": "line-ns", "size": 16, "line": {"color": GREY, "width": 3}}
        figure.add_trace(
            go.Scatter(
                x=short(part["floor"]),
                y=safes(part["row"]),
                mode="markers",
                name="chance (95 %)",
                legendgroup="chance",
                showlegend=first,
                marker=ticks,
                hovertemplate="%{y}: chance %{x:.3f}<extra></extra>",
            ),
            **place,
        )
        figure.add_trace(
            go.Scatter(
                x=short(part["value"]),
                y=safes(part["row"]),
                mode="markers",
                name="probe, 95 % interval",
                legendgroup="probe",
                showlegend=first,
                error_x={"type": "data", "symmetric": False, "array": _gap(part["high"] - part["value"]), "arrayminus": _gap(part["value"] - part["low"])},
                marker={"color": colour(0), "symbol": symbol(0), "size": 10},
                hovertemplate="%{y}: %{x:.3f}<extra></extra>",
            ),
            **place,
        )
        low = float(part[["low", "floor", "value"]].min().min())
        figure.update_xaxes(range=[min(0.0, low) - 0.03, 1.03], **place)
        figure.update_yaxes(type="category", autorange="reversed", **place)
    rows = max(place["row"] for place in places)
    figure.update_layout(height=max(450, 150 + rows * (85 + 24 * most)))
    return legend_below(figure, room=-20)


def _gap(values: pd.Series) -> object:
    return short(values.clip(lower=0).fillna(0))


@sentence
def read(frame: pd.DataFrame) -> str:
    said = []
    for target in unique(frame["target"]):
        part = frame[frame["target"] == target]
        part = part[part["metric"] == part["metric"].iloc[0]].dropna(subset=["value"])
        if part.empty:
            continue
        best, above = part.loc[part["value"].idxmax()], part[part["value"] > part["floor"]]
        said.append(
            f"the {target} from {len(above)} of {len(part)} representations beyond chance (best “{best['representation']}”, {name(best['metric'])} "
            f"{number(best['value'], 2)}, chance {number(best['floor'], 2)})"
        )
    return f"A linear probe reads {listed(said)}." if said else "No probe could be fitted."


VIEW = View(
    "leakage",
    NEEDS,
    draw,
    read,
    "What a linear probe reads from each representation",
    "A dot beyond the grey tick is information that a straight line can pick up. Shared spaces should not give away modality or domain; a private space that predicts the label is used for it.",
)
