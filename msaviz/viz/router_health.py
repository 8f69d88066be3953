"""Are the routers healthy: decided, balanced, without dead experts, and what do they know?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz.grid import panels
from msaviz.viz.theme import GREY, colour, pattern, safes, short
from msaviz.viz.view import View
from msaviz.viz.words import listed, number, sentence

NEEDS = ("run", "router", "modality", "experts", "metric", "value", "floor")
TITLES = {
    "token_effective": "experts a token uses [share of all]",
    "load_effective": "experts that share the load [share of all]",
    "load_ratio": "busiest / ideal load",
    "dead_experts": "dead experts",
    "mutual_information_modality": "knows the modality [nats]",
    "mutual_information_domain": "knows the domain [nats]",
    "mutual_information_label": "knows the label [nats]",
}


def draw(frame: pd.DataFrame) -> go.Figure:
    """A panel a measure, a bar a router and modality; a grey tick marks the floor of permuted groups."""
    frame = frame.dropna(subset=["value"])
    metrics = [metric for metric in TITLES if metric in set(frame["metric"])]
    # every panel has its own routers: the knowledge of the modality belongs to a router, not to a modality
    names = frame["router"] + " · " + frame["modality"]
    if frame["run"].nunique() > 1:
        names = frame["run"] + " · " + names
    frame = frame.assign(bar=names)
    figure, places = panels([TITLES[metric] for metric in metrics], columns=2)
    most = 1
    for i, (metric, place) in enumerate(zip(metrics, places, strict=True)):
        part = frame[frame["metric"] == metric]
        most = max(most, len(part))
        figure.add_trace(
            go.Bar(
                x=short(part["value"]),
                y=safes(part["bar"]),
                orientation="h",
                showlegend=False,
                marker={"color": colour(i // 3), "pattern": {"shape": pattern(i // 3), "fgcolor": "#FFFFFF", "size": 6}},
                text=[number(value, 0 if metric == "dead_experts" else 2) for value in part["value"]],
                textposition="outside",
                cliponaxis=False,
                hovertemplate="%{y}: %{x:.3f}<extra></extra>",
            ),
            **place,
        )
        floor = part.dropna(subset=["floor"])
        if len(floor):
            marks = {"symbol": "line-ns", "size": 16, "line": {"color": GREY, "width": 3}}
            hover = "%{y}: chance %{x:.3f}<extra></extra>"
            named = "chance (95 %)"
            first = not any(trace.name == named for trace in figure.data)
            figure.add_trace(
                go.Scatter(
                    x=short(floor["floor"]), y=safes(floor["bar"]), mode="markers", name=named, legendgroup=named, showlegend=first, marker=marks, hovertemplate=hover
                ),
                **place,
            )
        top = max(float(part["value"].max()), float(part["floor"].max()) if len(floor) else 0.0, 1.0 if metric.endswith("effective") else 0.05)
        figure.update_xaxes(range=[0, 1.2 * top], **place)
        figure.update_yaxes(type="category", autorange="reversed", **place)
    rows = max(place["row"] for place in places)
    figure.update_layout(height=max(450, 120 + rows * (85 + 24 * most)), legend={"x": 1, "xanchor": "right", "y": 1.0, "yanchor": "bottom", "yref": "container"})
    return figure


@sentence
def read(frame: pd.DataFrame) -> str:
    def of(metric: str) -> pd.DataFrame:
        return frame[(frame["metric"] == metric) & frame["value"].notna()]

    dead, ratio = of("dead_experts"), of("load_ratio")
    said = []
    if len(dead):
        said.append(f"{int(dead['value'].sum())} of {int(dead['experts'].sum())} experts are dead")
    if len(ratio):
        worst = ratio.loc[ratio["value"].idxmax()]
        said.append(f"the busiest expert (router “{worst['router']}”, {worst['modality']}) carries {number(worst['value'], 2)} times its ideal load")
    known = []
    for metric in ("modality", "domain", "label"):
        part = of(f"mutual_information_{metric}")
        above = part[part["value"] > part["floor"]]
        if len(part):
            known.append(f"the {metric} in {len(above)} of {len(part)} routers (at most {number(part['value'].max())} nats)")
    text = "; ".join([*said, *([f"beyond chance, the experts tell {listed(known)}"] if known else [])])
    return f"{text[:1].upper()}{text[1:]}."


VIEW = View(
    "router_health",
    NEEDS,
    draw,
    read,
    "Router health",
    "Effective shares near 1: undecided tokens, or an even load; near 1/experts: one expert does it all. Knowledge is to be read only beyond the grey tick, the 95 % quantile of permuted groups.",
)
