"""What does the cloud of utterances look like in each representation?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from msaviz.viz.grid import legend_below, panels
from msaviz.viz.theme import colour, safe, safes, short, symbol
from msaviz.viz.view import View
from msaviz.viz.words import chosen, label, percent, sentence, unique

NEEDS = ("run", "representation", "example", "x", "y", "domain", "label", "expert", "prediction", "error", "explained")
COLOURINGS = ("domain", "label", "error", "expert", "representation")
HOVER = "example %{customdata[0]} · %{text}<br>label %{customdata[1]:.2f}, prediction %{customdata[2]:.2f}<extra></extra>"
"""Numbers as numbers: sentences would be most of the bytes of a large figure."""
NAMED = ("domain", "expert", "representation")
"""Colourings by name; the others are numbers."""


def draw(frame: pd.DataFrame, *, colour_by: str | None = None) -> go.Figure:
    """A cloud a representation, coloured by "domain", "label", "error", "expert" (the one with the largest mean gate) or
    "representation" (that one in a common panel).

    Without a wish: by domain where there are several, else by label. Each group has a symbol of its own; for numbers
    circles are positive and triangles negative.
    """
    by = str(chosen(colour_by, COLOURINGS, "colouring")) if colour_by else colouring(frame)
    frame = frame.assign(panel="all representations" if by == "representation" else label(frame, "run", "representation"))
    titles = unique(frame["panel"])
    figure, places = panels([_title(frame, title) for title in titles], columns=min(4, max(3, -(-len(titles) // 2))), height=260)
    groups = members(frame, by)
    for title, place in zip(titles, places, strict=True):
        part = frame[frame["panel"] == title]
        for i, name, points, marker in layers(part, by, groups):
            if points.empty:
                continue
            figure.add_trace(
                go.Scattergl(
                    x=short(points["x"]),
                    y=short(points["y"]),
                    mode="markers",
                    name=name,
                    legendgroup=name,
                    showlegend=not any(trace.name == name for trace in figure.data),
                    marker={"size": 5, "opacity": 0.75, "symbol": symbol(i), **marker},
                    customdata=short(points[["example", "label", "prediction"]].astype(float)),
                    text=safes(points["domain"]),
                    hovertemplate=HOVER,
                ),
                **place,
            )
        bottom = places.index(place) + max(p["col"] for p in places) >= len(places)
        plain = {"showticklabels": False, "zeroline": False, "ticks": ""}
        figure.update_xaxes(title_text="axis 1 [no unit]" if bottom else None, **plain, **place)
        figure.update_yaxes(title_text="axis 2 [no unit]" if place["col"] == 1 else None, **plain, **place)
    shade(figure, frame, by)
    return legend_below(figure, room=-22)


def members(frame: pd.DataFrame, by: str) -> list:
    """The groups of a colouring, experts in the order of their numbers and "none" last."""
    found = unique(frame[by])
    return sorted(found, key=lambda name: (str(name) == "none", len(str(name)), str(name))) if by == "expert" else found


def layers(part: pd.DataFrame, by: str, groups: list) -> list[tuple[int, str, pd.DataFrame, dict[str, Any]]]:
    """(number of the symbol, name, points, marker) of each layer of one panel; the same layers for every part of a frame."""
    if by in NAMED:
        names = [f"expert {group}" if by == "expert" and group != "none" else group for group in groups]
        return [(i, safe(names[i]), part[part[by] == group], {"color": colour(i)}) for i, group in enumerate(groups)]
    values = part[by].astype(float)
    found = []
    for i, (name, keep) in enumerate((("positive or zero", values >= 0), ("negative", values < 0))):
        found.append((3 * i, f"{by} {name}", part[keep], {"color": short(values[keep]), "coloraxis": "coloraxis"}))
    return found


def shade(figure: go.Figure, frame: pd.DataFrame, by: str) -> None:
    """The scale of a colouring by numbers, with 0 in its middle."""
    if by not in NAMED:
        reach = float(np.nanmax(np.abs(frame[by].to_numpy(dtype=float)))) or 1.0
        figure.update_coloraxes(cmid=0, cmin=-reach, cmax=reach, colorbar={"title": f"{by} [label units]" if by == "error" else by})


def _title(frame: pd.DataFrame, panel: str) -> str:
    explained = frame.loc[frame["panel"] == panel, "explained"].iloc[0]
    return panel if pd.isna(explained) else f"{panel} ({percent(explained)})"


def colouring(frame: pd.DataFrame) -> str:
    """By domain where there are several, else by label."""
    return "domain" if frame["domain"].nunique() > 1 else "label"


@sentence
def read(frame: pd.DataFrame) -> str:
    keys = ["run", "representation"]
    count = frame.groupby(keys, sort=False).size().max()
    share = frame.groupby(keys, sort=False)["explained"].first()
    names = unique(frame["representation"])
    text = f"Up to {count} utterances in {len(names)} representation{'s' * (len(names) > 1)}"
    if share.notna().any():
        best, worst = share.idxmax(), share.idxmin()
        text += f"; the two axes hold {percent(share.max())} of the variance of “{best[1]}”"
        text += f" and {percent(share.min())} of “{worst[1]}”" if len(share) > 1 else ""
    pull = {name: _pull(part) for name, part in frame.groupby("representation", sort=False)}
    known = {name: value for name, value in pull.items() if np.isfinite(value)}
    if known:
        top = max(known, key=known.__getitem__)
        text += f"; position explains the label best in “{top}” ({percent(known[top])} of its variance, linearly)"
    return f"{text}."


def _pull(part: pd.DataFrame) -> float:
    """Share of the label's variance that a plane over the map explains."""
    part = part[np.isfinite(part["label"].astype(float))]
    y = part["label"].to_numpy(dtype=float)
    if len(part) < 10 or y.std() < 1e-9:
        return float("nan")
    plane = np.column_stack([np.ones(len(part)), part["x"], part["y"]])
    rest = y - plane @ np.linalg.lstsq(plane, y, rcond=None)[0]
    return float(1 - rest.var() / y.var())


VIEW = View(
    "representation_map",
    NEEDS,
    draw,
    read,
    "Map of the representations",
    "Each point is an utterance; the axes are directions without a unit (in brackets: the share of variance that a PCA map shows). "
    "Clusters of one domain mean that the space knows the domain.",
    known=("x", "y"),
)
