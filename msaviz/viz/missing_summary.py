"""Which model is best over all missing rates together?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import curves
from msaviz.viz.grid import legend_below, panels
from msaviz.viz.missing_curve import headline
from msaviz.viz.theme import GREY, colour, safes, short, symbol
from msaviz.viz.view import View
from msaviz.viz.words import axis, lower, name, number, sentence, unique

NEEDS = ("run", "model", "split", "selection", "summary", "metric", "value", "low", "high", "seeds", "floor")
SUMMARIES = {"mean": "mean over rates", "area": "normalised area"}


def draw(frame: pd.DataFrame) -> go.Figure:
    """A panel for each headline metric: mean and area as dots with their 95 % interval over seeds, the constant as a grey tick."""
    frame = frame.assign(line=curves.series(frame))
    metrics = headline(unique(frame["metric"]))
    figure, places = panels([""] * len(metrics), columns=2)
    for metric, place in zip(metrics, places, strict=True):
        first = place == places[0]
        for i, summary in enumerate(unique(frame["summary"])):
            part = frame[(frame["metric"] == metric) & (frame["summary"] == summary)]
            gap = [short((part[a] - part[b]).clip(lower=0).fillna(0)) for a, b in (("high", "value"), ("value", "low"))]
            figure.add_trace(
                go.Scatter(
                    x=short(part["value"]),
                    y=safes(part["line"]),
                    mode="markers",
                    name=SUMMARIES.get(summary, summary),
                    legendgroup=summary,
                    showlegend=first,
                    error_x={"type": "data", "symmetric": False, "array": gap[0], "arrayminus": gap[1]},
                    marker={"color": colour(i), "symbol": symbol(i), "size": 10},
                    hovertemplate="%{y}: %{x:.3f}",
                ),
                **place,
            )
        part = frame[(frame["metric"] == metric) & (frame["summary"] == frame["summary"].iloc[0])]
        ticks = {"symbol": "line-ns", "size": 18, "line": {"color": GREY, "width": 3}}
        figure.add_trace(
            go.Scatter(x=short(part["floor"]), y=safes(part["line"]), mode="markers", name="constant predictor", legendgroup="floor", showlegend=first, marker=ticks), **place
        )
        figure.update_xaxes(title_text=f"{axis(metric)} {'↓' if lower(metric) else '↑'}", **place)
        figure.update_yaxes(type="category", autorange="reversed", **place)
    figure.update_layout(margin_t=60, scattermode="group", height=max(450, 160 + 34 * frame["line"].nunique()))
    return legend_below(figure)


@sentence
def read(frame: pd.DataFrame) -> str:
    metric = headline(unique(frame["metric"]))[0]
    part = frame.assign(line=curves.series(frame))
    part = part[(part["metric"] == metric) & (part["summary"] == ("mean" if "mean" in set(part["summary"]) else part["summary"].iloc[0]))]
    part = part.sort_values("value", ascending=lower(metric), kind="stable")
    said = [f"{row.line} {number(row.value)}" + (f" [{number(row.low)}, {number(row.high)}]" if pd.notna(row.low) else "") for row in part.itertuples()]
    return f"Mean {name(metric)} over the missing rates, best first: {'; '.join(said)}; constant predictor {number(part['floor'].mean())}."


VIEW = View(
    "missing_summary",
    NEEDS,
    draw,
    read,
    "Scores over all missing rates",
    "Mean over the rates, and the area under the curve divided by its length (the two differ where the curve bends at its ends); intervals are over seeds.",
)
