"""What is each subset of modalities worth to each model?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import curves
from msaviz.viz.grid import legend_below, panels
from msaviz.viz.missing_curve import headline
from msaviz.viz.theme import GREY, colour, safe, safes, short, symbol
from msaviz.viz.view import View
from msaviz.viz.words import axis, lower, name, number, sentence, unique

NEEDS = ("run", "model", "split", "selection", "subset", "metric", "value", "low", "high", "seeds", "floor")


def draw(frame: pd.DataFrame) -> go.Figure:
    """A panel for each headline metric: a dot a model and subset with its 95 % interval over seeds; grey is the constant."""
    frame = frame.assign(line=curves.series(frame))
    metrics = headline(unique(frame["metric"]))
    figure, places = panels([""] * len(metrics), columns=2, shared_yaxes=True)
    for metric, place in zip(metrics, places, strict=True):
        first = place == places[0]
        of_metric = frame[frame["metric"] == metric]
        floor = of_metric.groupby("subset", sort=False)["floor"].mean().dropna()
        ticks = {"symbol": "line-ns", "size": 18, "line": {"color": GREY, "width": 3}}
        figure.add_trace(
            go.Scatter(
                x=short(floor), y=safes(floor.index), mode="markers", name="constant predictor", legendgroup="floor", showlegend=first and len(floor) > 0, marker=ticks
            ),
            **place,
        )
        for i, line in enumerate(unique(frame["line"])):
            part = of_metric[of_metric["line"] == line]
            gap = [short((part[a] - part[b]).clip(lower=0).fillna(0)) for a, b in (("high", "value"), ("value", "low"))]
            figure.add_trace(
                go.Scatter(
                    x=short(part["value"]),
                    y=safes(part["subset"]),
                    mode="markers",
                    name=safe(line),
                    legendgroup=safe(line),
                    showlegend=first,
                    error_x={"type": "data", "symmetric": False, "array": gap[0], "arrayminus": gap[1]},
                    marker={"color": colour(i), "symbol": symbol(i), "size": 10},
                    hovertemplate="%{y}: %{x:.3f}",
                ),
                **place,
            )
        figure.update_xaxes(title_text=f"{axis(metric)} {'↓' if lower(metric) else '↑'}", **place)
        figure.update_yaxes(type="category", autorange="reversed", title_text="modalities that are there" if first else None, **place)
    figure.update_layout(margin_t=60, scattermode="group")
    return legend_below(figure)


@sentence
def read(frame: pd.DataFrame) -> str:
    metric = headline(unique(frame["metric"]))[0]
    part = frame.assign(line=curves.series(frame))
    part = part[(part["metric"] == metric) & (part["line"] == part["line"].iloc[0])].sort_values("value", ascending=lower(metric), kind="stable")
    best, worst = part.iloc[0], part.iloc[-1]
    return (
        f"For “{best['line']}” the subset “{best['subset']}” gives the best {name(metric)} ({number(best['value'])}) and “{worst['subset']}” the worst "
        f"({number(worst['value'])}); a constant predictor has {number(part['floor'].mean())}."
    )


VIEW = View(
    "subset_scores",
    NEEDS,
    draw,
    read,
    "Scores with some modalities only",
    "Each row is a subset of modalities that the model is given; a subset at the grey tick is worth no more than a constant prediction.",
)
