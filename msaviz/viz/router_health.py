"""Are the routers healthy: decided, balanced, and without dead experts?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.grid import panels, row_height
from msaviz.viz.theme import colour, hatch, safes, short
from msaviz.viz.view import View
from msaviz.viz.words import number, sentence, unique

NEEDS = ("run", "router", "modality", "experts", "metric", "value")
TITLES = {
    "token_effective": "experts that one token uses [share of all]",
    "load_effective": "experts that share the load [share of all]",
    "load_ratio": "busiest load / ideal load",
    "dead_experts": "dead experts",
}

DIGITS = {"token_effective": 2, "load_effective": 2, "load_ratio": 2, "dead_experts": 0}


def draw(frame: pd.DataFrame) -> go.Figure:
    """A panel a measure, a bar a router and modality."""
    frame = frame.dropna(subset=["value"])
    metrics = [metric for metric in TITLES if metric in set(frame["metric"])]
    # the run is part of the name only where it tells something; the modality always is
    names = frame["router"] + " · " + frame["modality"]
    frame = frame.assign(bar=frame["run"] + " · " + names if frame["run"].nunique() > 1 else names)
    most = frame.groupby("metric").size().max()
    figure, places = panels([TITLES[metric] for metric in metrics], columns=2, labels=frame["bar"], height=row_height(most, each=20))
    for metric, place in zip(metrics, places, strict=True):
        part = frame[frame["metric"] == metric]
        _bars(figure, part, 0, place, digits=DIGITS.get(metric, 3))
        least = 1.0 if metric.endswith("effective") or metric == "dead_experts" else 0.02
        figure.update_xaxes(range=[0, 1.2 * max(float(part["value"].max()), least)], **place)
        marks.rows_axis(figure, unique(part["bar"]), place)
    return figure


def _bars(figure: go.Figure, part: pd.DataFrame, i: int, place: dict[str, int], *, digits: int) -> None:
    """Bars with their numbers written at their ends."""
    figure.add_trace(
        go.Bar(
            x=short(part["value"]),
            y=short(range(len(part))),
            hovertext=safes(part["bar"]),
            orientation="h",
            showlegend=False,
            marker={"color": colour(i), "pattern": hatch(i)},
            text=[number(value, digits) for value in part["value"]],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{hovertext}: %{x:.3f}<extra></extra>",
        ),
        **place,
    )


@sentence
def read(frame: pd.DataFrame) -> str:
    def of(metric: str) -> pd.DataFrame:
        return frame[(frame["metric"] == metric) & frame["value"].notna()]

    dead, ratio, said = of("dead_experts"), of("load_ratio"), []
    if len(dead):
        said.append(f"{int(dead['value'].sum())} of {int(dead['experts'].sum())} experts are dead")
    if len(ratio):
        worst = ratio.loc[ratio["value"].idxmax()]
        said.append(
            f"the busiest expert (router “{worst['router']}”, {worst['modality']}) carries {number(worst['value'], 2)} times its ideal load"
        )
    text = "; ".join(said)
    return f"{text[:1].upper()}{text[1:]}."


VIEW = View(
    "router_health",
    NEEDS,
    draw,
    read,
    "Router health",
    "Effective shares near 1 mean undecided tokens, or an even load; near 1/experts, one expert does it all. What a router's choice tells "
    "of modality, domain, label and time stands beside chance in a table of its own.",
    known=("value",),
)
