"""How do the modalities reach the prediction?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz.theme import COLOURS, GREY, faint, safe, safes, short
from msaviz.viz.view import View
from msaviz.viz.words import listed, number, percent, sentence, unique

NEEDS = ("run", "stage", "source", "target", "value", "kind")
LEVELS = {"expert": 1, "contributor": 2, "prediction": 3}
HEADS = ("modality", "expert", "contributor", "prediction")
LEAST = 0.004
"""Share of all flow under which a band is thinner than a hair."""


def draw(frame: pd.DataFrame) -> go.Figure:
    """A flow diagram a run, from left to right; the width of a band is the model's own weight, its node says the share in numbers."""
    runs = unique(frame["run"])
    figure = go.Figure()
    most = 1
    for i, run in enumerate(runs):
        links = _links(frame[frame["run"] == run])
        most = max(most, links.groupby("level")["to"].nunique().max(), links["from"].nunique() // 3)
        low, high = 1 - (i + 1) / len(runs), 1 - i / len(runs)
        room = 0.1 if len(runs) > 1 else 0.0
        figure.add_trace(_flow(links, [low, high - room]))
        if len(runs) > 1:
            words = {"x": 0, "y": high - room / 3, "xref": "paper", "yref": "paper", "showarrow": False, "xanchor": "left", "font_size": 13}
            figure.add_annotation(text=safe(run), **words)
    for level in sorted({0, 3, *frame["kind"].map(LEVELS)}):
        words = {"xref": "paper", "yref": "paper", "yshift": 22, "showarrow": False, "font_size": 13, "font_color": GREY}
        figure.add_annotation(text=HEADS[level], x=level / 3, y=1, xanchor=("left", "center", "center", "right")[level], **words)
    return figure.update_layout(height=int(max(450, len(runs) * (120 + 30 * most))), margin={"t": 90, "b": 30, "l": 20, "r": 20})


def _links(frame: pd.DataFrame) -> pd.DataFrame:
    """The bands as numbers of nodes; a node is a level and a name, since a set of one modality is called like it."""
    level = frame["kind"].map(LEVELS)
    source = frame["stage"].astype(str) + " " + frame["source"].astype(str)
    target = level.astype(str) + " " + frame["target"].astype(str)
    nodes = unique(pd.concat([source, target]))
    place = pd.Index(nodes)
    return frame.assign(**{"from": place.get_indexer(source), "to": place.get_indexer(target)}, level=level)


def _flow(links: pd.DataFrame, height: list[float]) -> go.Sankey:
    """The diagram of one run: colour by modality of origin at the first level, grey beyond it."""
    names = {**dict(zip(links["from"], links["source"], strict=True)), **dict(zip(links["to"], links["target"], strict=True))}
    level = {**dict(zip(links["from"], links["stage"], strict=True)), **dict(zip(links["to"], links["level"], strict=True))}
    size = links.groupby("to")["value"].sum().combine_first(links.groupby("from")["value"].sum())
    whole = links.loc[links["stage"] == 0, "value"].sum() or 1.0
    nodes = sorted(names)
    origin = {node: COLOURS[i % len(COLOURS)] for i, node in enumerate(n for n in nodes if level[n] == 0)}
    shown = [node for node in nodes if size[node] >= LEAST * whole]
    labels = [f"{safe(names[node])} ({percent(size[node] / whole)})" if node in shown else "" for node in nodes]
    return go.Sankey(
        arrangement="snap",
        domain={"x": [0, 1], "y": height},
        valueformat=".3f",
        textfont={"size": 12},
        node={
            "label": labels,
            "x": short([min(max(level[node] / 3, 0.001), 0.999) for node in nodes]),
            "y": short(_heights(nodes, level, size)),
            "pad": 14,
            "thickness": 14,
            "line": {"color": GREY, "width": 1},
            "color": [origin.get(node, GREY) for node in nodes],
            "customdata": safes(names[node] for node in nodes),
            "hovertemplate": "%{customdata}: %{value:.3f}<extra></extra>",
        },
        link={
            "source": links["from"].tolist(),
            "target": links["to"].tolist(),
            "value": short(links["value"]),
            "color": [faint(origin.get(node, GREY), 0.35) for node in links["from"]],
            "hovertemplate": "%{source.customdata} → %{target.customdata}: %{value:.3f}<extra></extra>",
        },
    )


def _heights(nodes: list[int], level: dict[int, int], size: pd.Series) -> list[float]:
    """The middle of each node in its column, in the order of the table, each with the room that its flow and its name need."""
    found = {}
    for column in set(level.values()):
        members = [node for node in nodes if level[node] == column]
        whole = sum(size[node] for node in members) or 1.0
        room = [0.6 * size[node] / whole + 0.4 / len(members) for node in members]
        ends = pd.Series(room).cumsum()
        found |= {node: float(end - half / 2) for node, end, half in zip(members, ends, room, strict=True)}
    return [min(max(found[node], 0.001), 0.999) for node in nodes]


@sentence
def read(frame: pd.DataFrame) -> str:
    runs = unique(frame["run"])
    frame = frame[frame["run"] == runs[0]]
    who = f"In “{runs[0]}” the" if len(runs) > 1 else "The"
    first = frame[frame["stage"] == 0]
    whole = first["value"].sum() or 1.0
    shares = first.groupby("source", sort=False)["value"].sum() / whole
    said = listed(f"{modality} {percent(share)}" for modality, share in shares.sort_values(ascending=False).items())
    through = frame[frame["kind"] == "expert"]
    if through.empty:
        return f"{who} prediction rests, by the model's own weights, on {said}; no router stands between."
    experts = through.groupby("target", sort=False)["value"].sum() / whole
    top, count = experts.idxmax(), len(experts)
    return (
        f"{who} prediction rests, by the model's own weights, on {said}; the widest way is {top} ({percent(experts[top])} of all; "
        f"an even split over {count} experts would give {number(100 / count, 1)} %)."
    )


VIEW = View(
    "prediction_path",
    NEEDS,
    draw,
    read,
    "The way to the prediction",
    "The width of a band is what the model itself says: the importance of a contributor times the gates of its experts, averaged over the "
    "utterances. The importance of a set of modalities is split evenly over its members. Weights are no effects: see the knock-out.",
    known=("value",),
)
