"""Are the routers healthy: decided, balanced, without dead experts, and what do they know?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.grid import legend_below, panels, row_height
from msaviz.viz.theme import colour, hatch, safes, short
from msaviz.viz.view import View
from msaviz.viz.words import listed, number, sentence, unique

NEEDS = ("run", "router", "modality", "experts", "metric", "value", "floor")
TITLES = {
    "token_effective": "experts that one token uses [share of all]",
    "load_effective": "experts that share the load [share of all]",
    "load_ratio": "busiest load / ideal load",
    "dead_experts": "dead experts",
    "mutual_information_modality": "knows the modality [nats]",
    "mutual_information_domain": "knows the domain [nats]",
    "mutual_information_label": "knows the label [nats]",
}

DIGITS = {"token_effective": 2, "load_effective": 2, "load_ratio": 2, "dead_experts": 0}


def draw(frame: pd.DataFrame) -> go.Figure:
    """A panel a measure, a bar a router and modality; a grey tick marks the floor of permuted groups."""
    frame = frame.dropna(subset=["value"])
    metrics = [metric for metric in TITLES if metric in set(frame["metric"])]
    # the run is part of the name only where it tells something; the modality always is
    names = frame["router"] + " · " + frame["modality"]
    frame = frame.assign(bar=frame["run"] + " · " + names if frame["run"].nunique() > 1 else names)
    most = frame.groupby("metric").size().max()
    figure, places = panels([TITLES[metric] for metric in metrics], columns=2, labels=frame["bar"], height=row_height(most, each=20))
    ticked = False
    for i, (metric, place) in enumerate(zip(metrics, places, strict=True)):
        part = frame[frame["metric"] == metric]
        floor = part.dropna(subset=["floor"])
        _bars(figure, part, i // 4, place, digits=DIGITS.get(metric, 3))
        if len(floor):
            marks.ticks(figure, floor["floor"], floor["bar"], unique(part["bar"]), "chance (95 %)", place, not ticked)
            ticked = True
        least = 1.0 if metric.endswith("effective") or metric == "dead_experts" else 0.02
        top = max(float(part[["value", "floor"]].max().max()), least)
        figure.update_xaxes(range=[0, 1.2 * top], **place)
        marks.rows_axis(figure, unique(part["bar"]), place)
    return legend_below(figure, room=-20) if ticked else figure


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

    dead, ratio, said, known = of("dead_experts"), of("load_ratio"), [], []
    if len(dead):
        said.append(f"{int(dead['value'].sum())} of {int(dead['experts'].sum())} experts are dead")
    if len(ratio):
        worst = ratio.loc[ratio["value"].idxmax()]
        said.append(
            f"the busiest expert (router “{worst['router']}”, {worst['modality']}) carries {number(worst['value'], 2)} times its ideal load"
        )
    for what in ("modality", "domain", "label"):
        part = of(f"mutual_information_{what}")
        if len(part):
            above = int((part["value"] > part["floor"]).sum())
            known.append(f"the {what} in {above} of {len(part)} routers (at most {number(part['value'].max())} nats)")
    if known:
        said.append(f"beyond chance, the choice of expert tells {listed(known)}")
    text = "; ".join(said)
    return f"{text[:1].upper()}{text[1:]}."


VIEW = View(
    "router_health",
    NEEDS,
    draw,
    read,
    "Router health",
    "Effective shares near 1 mean undecided tokens, or an even load; near 1/experts, one expert does it all. Knowledge counts only beyond "
    "the grey tick, the 95 % quantile of permuted groups.",
)
