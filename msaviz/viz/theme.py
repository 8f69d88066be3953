"""What do all pictures have in common: colours, a second channel beside colour, fonts, margins, and safe text?

Okabe-Ito colours in the order of their contrast on white (blue 5.2:1, vermillion 3.9, green 3.4, purple 3.1); on a dark ground
their light relatives. Colour never stands alone: each series also has a dash, a symbol and a pattern of its own.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go

CONFIG = {"showSendToCloud": False, "displaylogo": False, "responsive": True, "typesetMath": False}
"""For `figure.show(config=CONFIG)` and `figure.to_html(config=CONFIG)`: no button uploads the chart to anybody, and no $ is mathematics."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
DARK_COLOURS = ("#56B4E9", "#E69F00", "#2BC79A", "#E3A3C6")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "triangle-down")
PATTERNS = ("", "/", "x", ".", "-", "\\", "+", "|")
GREY = "#6B6B6B"
DARK_GREY = "#A5A5A5"
SEQUENTIAL = [[0.0, "#F7FBFF"], [0.5, "#ABD0E9"], [0.6, "#6FAFD9"], [0.75, "#1F6FB2"], [1.0, "#08306B"]]
DARK_SEQUENTIAL = [[0.0, "#10202E"], [0.35, "#1A4A6B"], [0.6, "#2F7FB0"], [0.75, "#8CCBF0"], [1.0, "#F2F9FF"]]
DIVERGING = [[0.0, "#B34700"], [0.5, "#A8A8A8"], [1.0, "#0072B2"]]
DARK_DIVERGING = [[0.0, "#E69F00"], [0.5, "#8A8A8A"], [1.0, "#8FD0F5"]]
Theme = Literal["light", "dark"]
UNWRITABLE = {
    **dict.fromkeys([*range(9), 11, 12, *range(14, 32), *range(127, 160), *range(0xD800, 0xE000)], "\ufffd"),
    **dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)]),
}
"""Code point -> what stands in its place in a picture."""


def colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def dash(index: int) -> str:
    """Moves on once more with every round of the colours, so that colour and dash together repeat late."""
    return DASHES[(index + index // len(COLOURS)) % len(DASHES)]


def symbol(index: int) -> str:
    return SYMBOLS[index % len(SYMBOLS)]


def hatch(index: int) -> dict[str, Any]:
    """The pattern of a bar: white strokes over its own colour."""
    return {"shape": PATTERNS[index % len(PATTERNS)], "fillmode": "overlay", "fgcolor": "#FFFFFF", "size": 8, "solidity": 0.25}


def faint(hexadecimal: str, alpha: float = 0.15) -> str:
    """The colour, see-through: for bands."""
    red, green, blue = (int(hexadecimal[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def safe(text: Any) -> str:
    """Text from the data as plotly shows it unchanged: it reads a part of HTML, and "%{...}" in templates.

    What would break the file or turn its neighbours round goes: controls and halves of surrogate pairs become U+FFFD, marks that
    override the direction of writing nothing.
    """
    return html.escape(str(text).translate(UNWRITABLE), quote=False).replace("%{", "%&#123;")


def safes(texts: Iterable[Any]) -> list[str]:
    return [safe(text) for text in texts]


def short(values: Any) -> np.ndarray:
    """Float32: half the bytes of a saved figure, and more digits than a screen shows."""
    return np.asarray(values, dtype=np.float32)


def template(theme: Theme = "light") -> go.layout.Template:
    """Fonts, grid and margins; every axis gives its labels the room that they need."""
    dark = theme == "dark"
    ink, ground, grid = ("#E8E8E8", "#111417", "#33393F") if dark else ("#222222", "#FFFFFF", "#E3E3E3")
    axis = {
        "gridcolor": grid,
        "zerolinecolor": grid,
        "linecolor": GREY,
        "tickcolor": GREY,
        "automargin": True,
        "showline": True,
        "ticks": "outside",
        "title": {"standoff": 6, "font": {"size": 13}},
    }
    return go.layout.Template(
        layout={
            "colorway": list(DARK_COLOURS if dark else COLOURS),
            "font": {"family": "Helvetica, Arial, sans-serif", "size": 13, "color": ink},
            "paper_bgcolor": ground,
            "plot_bgcolor": ground,
            "xaxis": axis,
            "yaxis": axis,
            "title": {"x": 0.01, "xanchor": "left", "y": 0.98, "yanchor": "top", "font": {"size": 16}},
            "legend": {"bgcolor": "rgba(0,0,0,0)", "itemsizing": "constant", "tracegroupgap": 4},
            "colorscale": {"sequential": DARK_SEQUENTIAL if dark else SEQUENTIAL, "diverging": DARK_DIVERGING if dark else DIVERGING},
            "hoverlabel": {"align": "left"},
            "margin": {"l": 60, "r": 20, "t": 60, "b": 60},
            "coloraxis": {"colorbar": {"thickness": 16, "outlinewidth": 0, "title": {"side": "right", "font": {"size": 13}}}},
        }
    )


def styled(figure: go.Figure, *, title: str | None = None, theme: Theme = "light") -> go.Figure:
    """A copy of `figure` in the house style; raises ValueError for a theme other than "light" or "dark"."""
    if theme not in ("light", "dark"):
        raise ValueError(f"unknown theme {theme!r}; these exist: light, dark")
    figure = go.Figure(_darkened(figure.to_dict()) if theme == "dark" else figure)
    height = figure.layout.height or 450
    figure.update_layout(template=template(theme), height=height, autosize=True)
    if title:
        figure.update_layout(title_text=safe(title))
    return figure


def note(text: str, *, title: str | None = None, theme: Theme = "light") -> go.Figure:
    """A figure without data that says why."""
    figure = go.Figure()
    figure.update_layout(height=220, xaxis_visible=False, yaxis_visible=False)
    figure.add_annotation(text=safe(text), x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font_size=14)
    return styled(figure, title=title, theme=theme)


def _darkened(value: Any) -> Any:
    """The same tree with every light colour replaced by its relative for a dark ground."""
    if isinstance(value, dict):
        return {key: _darkened(inner) for key, inner in value.items() if key != "template"}
    if isinstance(value, list | tuple):
        return [_darkened(inner) for inner in value]
    if isinstance(value, str):
        for light, dark in dark_pairs():
            value = value.replace(light, dark)
    return value


def dark_pairs() -> list[tuple[str, str]]:
    """(light, dark): every colour that a figure holds, and the beginnings of those with transparency."""
    colours = [*zip(COLOURS, DARK_COLOURS, strict=True), (GREY, DARK_GREY)]
    bands = [(faint(light, 0).removesuffix("0)"), faint(dark, 0).removesuffix("0)")) for light, dark in colours]
    return [*colours, *bands]
