"""How does the cloud of utterances take its shape while the model learns?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from msaviz.viz.grid import legend_below, panels
from msaviz.viz.marks import named
from msaviz.viz.representation_map import colouring, layers, members, shade
from msaviz.viz.theme import safe, short, symbol
from msaviz.viz.view import View
from msaviz.viz.words import chosen, label, number, percent, sentence, unique

NEEDS = ("run", "representation", "epoch", "example", "x", "y", "domain", "label", "error")
COLOURINGS = ("domain", "label", "error")
PANELS = 6
"""Epochs side by side, at most."""


def draw(frame: pd.DataFrame, *, colour_by: str | None = None, animate: bool = False) -> go.Figure:
    """A panel for each of at most 6 epochs, evenly chosen with the first and the last, all with the same axes.

    Coloured by "domain", "label" or "error" as in the map of the representations. With `animate` one panel (a run) that
    a slider moves through all epochs.
    """
    by = str(chosen(colour_by, COLOURINGS, "colouring")) if colour_by else colouring(frame)
    frame = frame.assign(cloud=label(frame, "run", "representation"))
    figure = _moving(frame, by) if animate else _side_by_side(frame, by)
    plain = {"showticklabels": False, "zeroline": False, "ticks": ""}
    figure.update_xaxes(range=_range(frame["x"]), **plain)
    figure.update_yaxes(range=_range(frame["y"]), **plain)
    shade(figure, frame, by)
    return figure


def _side_by_side(frame: pd.DataFrame, by: str) -> go.Figure:
    parts: list[tuple[str, pd.DataFrame]] = []
    clouds = unique(frame["cloud"])
    for cloud in clouds:
        for epoch in _chosen(frame[frame["cloud"] == cloud]["epoch"]):
            title = f"epoch {epoch}" if len(clouds) == 1 else f"{cloud}, epoch {epoch}"
            parts.append((title, frame[(frame["cloud"] == cloud) & (frame["epoch"] == epoch)]))
    figure, places = panels([title for title, _ in parts], columns=3, height=270)
    groups, shown = members(frame, by), set()
    for (_, part), place in zip(parts, places, strict=True):
        for trace in _traces(part, by, groups):
            if len(trace.x):
                figure.add_trace(trace.update(showlegend=trace.name not in shown), **place)
                shown.add(trace.name)
        bottom = places.index(place) + max(p["col"] for p in places) >= len(places)
        figure.update_xaxes(title_text="axis 1 [no unit]" if bottom else None, **place)
        figure.update_yaxes(title_text="axis 2 [no unit]" if place["col"] == 1 else None, **place)
    return legend_below(figure, room=-22)


def _moving(frame: pd.DataFrame, by: str) -> go.Figure:
    """A panel a run, a frame an epoch; each frame holds the same layers in the same order, empty ones too."""
    clouds, groups, epochs = unique(frame["cloud"]), members(frame, by), sorted(unique(frame["epoch"]))
    figure, places = panels(clouds, columns=2, height=380)

    def at(epoch: int) -> list[go.Scatter]:
        parts = [frame[(frame["cloud"] == cloud) & (frame["epoch"] == epoch)] for cloud in clouds]
        return [trace for part in parts for trace in _traces(part, by, groups)]

    each = len(at(epochs[0])) // len(clouds)
    for i, trace in enumerate(at(epochs[0])):
        figure.add_trace(trace.update(showlegend=i < each), **places[i // each])
    numbers = list(range(len(figure.data)))
    figure.frames = [go.Frame(name=str(epoch), data=at(epoch), traces=numbers) for epoch in epochs]
    # an error has another value in each epoch: such points are drawn anew, the others glide
    play = {"mode": "immediate", "frame": {"duration": 0, "redraw": by == "error"}, "transition": {"duration": 300}}
    steps = [{"label": str(epoch), "method": "animate", "args": [[str(epoch)], play]} for epoch in epochs]
    figure.update_xaxes(title_text="axis 1 [no unit]")
    figure.update_yaxes(title_text="axis 2 [no unit]", col=1)
    figure = legend_below(figure, room=80)
    height = figure.layout.height - figure.layout.margin.t - figure.layout.margin.b
    slider = {"steps": steps, "currentvalue": {"prefix": "epoch ", "font": {"size": 13}}, "pad": {"t": 0, "b": 0}, "len": 0.9}
    return figure.update_layout(sliders=[{**slider, "active": 0, "x": 0.0, "y": -35 / height, "yanchor": "top"}])


def _traces(part: pd.DataFrame, by: str, groups: list) -> list[go.Scatter]:
    found = []
    for i, name, points, marker in layers(part, by, groups):
        options: dict[str, Any] = named(name, False) | {"name": name, "legendgroup": name}  # the name is escaped already
        found.append(
            go.Scatter(
                x=short(points["x"]),
                y=short(points["y"]),
                mode="markers",
                marker={"size": 5, "opacity": 0.75, "symbol": symbol(i), **marker},
                text=[f"example {e} · {safe(d)}<br>label {number(y, 2)}" for e, d, y in points[["example", "domain", "label"]].to_numpy()],
                hovertemplate="%{text}<extra></extra>",
                **options,
            )
        )
    return found


def _chosen(epochs: pd.Series) -> list:
    known = sorted(unique(epochs))
    return [known[i] for i in sorted(set(np.linspace(0, len(known) - 1, PANELS).round().astype(int)))]


def _range(values: pd.Series) -> list[float]:
    low, high = float(values.min()), float(values.max())
    room = 0.05 * (high - low) or 0.05
    return [low - room, high + room]


@sentence
def read(frame: pd.DataFrame) -> str:
    part = frame[(frame["run"] == frame["run"].iloc[0]) & (frame["representation"] == frame["representation"].iloc[0])]
    first, last = (part[part["epoch"] == epoch] for epoch in (part["epoch"].min(), part["epoch"].max()))
    epochs = f"From epoch {first['epoch'].iloc[0]} to epoch {last['epoch'].iloc[0]}"
    text = f"{epochs} of “{part['representation'].iloc[0]}”"
    said = []
    if part["domain"].nunique() > 1:
        start, end, chance = _share(first, first["domain"]), *_beside_chance(last)
        verdict = f"no more than chance ({percent(chance)})" if end <= chance else f"chance {percent(chance)}"
        said.append(f"the domain goes from explaining {percent(start)} of the positions to {percent(end)}, {verdict}")
    known = [p[np.isfinite(p["label"].astype(float))] for p in (first, last)]
    if min(len(p) for p in known) > 2:
        signs = [_share(p, p["label"] > p["label"].median()) for p in known]
        said.append(f"a high or low label from explaining {percent(signs[0])} to {percent(signs[1])}")
    return f"{text} {' and '.join(said)}." if said else f"{text} {len(first)} utterances move; there is nothing to tell them apart by."


def _share(part: pd.DataFrame, group: pd.Series) -> float:
    """Share of the variance of the positions that lies between the groups (0 to 1)."""
    return float(_between(part, group.astype("category").cat.codes.to_numpy()[None])[0])


def _beside_chance(part: pd.DataFrame, permutations: int = 100) -> tuple[float, float]:
    """The domains' share, and the 95 % quantile under permuted domains."""
    codes = part["domain"].astype("category").cat.codes.to_numpy()
    null = np.random.default_rng(0).permuted(np.tile(codes, (permutations, 1)), axis=1)
    return float(_between(part, codes[None])[0]), float(np.quantile(_between(part, null), 0.95))


def _between(part: pd.DataFrame, codes: np.ndarray) -> np.ndarray:
    """Float[p] for codes Int[p n]."""
    place = part[["x", "y"]].to_numpy(dtype=float)
    place = place - place.mean(0)
    total = float((place**2).sum())
    between = np.zeros(len(codes))
    for group in np.unique(codes):
        member = (codes == group).astype(float)
        between += ((member @ place) ** 2).sum(1) / member.sum(1)
    return between / total if total > 0 else between


VIEW = View(
    "representation_epochs",
    NEEDS,
    draw,
    read,
    "The representation over the epochs",
    "Each point is an utterance, and the maps of the epochs are turned onto each other, so that only what the model learned moves them. "
    "Domains that flow into one cloud while the labels part: the representation unlearns the domain and learns the task.",
    known=("x", "y"),
)
