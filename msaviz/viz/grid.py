"""How are several panels laid out so that titles, axes and legends do not collide?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from msaviz.viz.theme import GREY, safes

WIDTH = 900
"""The width for which room is reserved, pixels; a wider page only gains."""
LETTER = 6.8
"""Width of a letter of 13 pixels, on average."""


def panels(
    titles: Sequence[str], *, columns: int = 3, height: int = 300, labels: Iterable[object] = (), **options: object
) -> tuple[go.Figure, list[dict[str, int]]]:
    """A figure of `titles` panels and where each one is, as {"row": r, "col": c}; `height` is that of a row of them, but the
    whole has at least 450 pixels.

    `labels`: names that stand on the vertical axis of every panel and need room between the columns.
    """
    count, between = len(titles), 55 + LETTER * max((len(str(label)) for label in labels), default=0)
    gap = between / (WIDTH - 120)
    columns = 1 if gap > 0.35 else min(columns, count)
    rows = -(-count // columns)
    total = max(450, 110 + height * rows)
    vertical = 90 / (total - 140) if rows > 1 else 0.0
    spacing = {"horizontal_spacing": min(gap, 0.7 / columns), "vertical_spacing": min(vertical, 0.7 / rows)}
    titled = any(titles) and count > 1
    figure = make_subplots(rows=rows, cols=columns, subplot_titles=safes(titles) if titled else None, **{**spacing, **options})
    figure.update_layout(height=total, margin={"t": 80 if titled else 60, "b": 60})
    figure.update_annotations(font_size=13)
    return figure, [{"row": 1 + i // columns, "col": 1 + i % columns} for i in range(count)]


def row_height(rows: float, *, each: int = 26) -> int:
    """Height of a panel with `rows` labels on its vertical axis."""
    return int(90 + each * rows)


def legend_below(figure: go.Figure, *, room: int = 0) -> go.Figure:
    """The legend under the picture, where no panel can run into it; each further line of it makes the figure higher.

    `room`: pixels more (or less) that the names on the horizontal axis need.
    """
    names = [str(trace.name) for trace in figure.data if trace.name and trace.showlegend is not False]
    lines = 1 + int(sum(56 + LETTER * len(name) for name in names) // (WIDTH - 90))
    extra = 20 * (lines - 1)
    height, top, bottom = (figure.layout.height or 450) + extra, figure.layout.margin.t or 60, 92 + room + extra
    plot = max(height - top - bottom, 100)
    legend = {"orientation": "h", "x": 0, "xanchor": "left", "yanchor": "top", "y": -(52 + room) / plot}
    return figure.update_layout(legend=legend, margin_b=bottom, height=height)


def floor_line(figure: go.Figure, value: float, text: str, place: dict[str, int]) -> None:
    """A grey dashed line with its name: what chance, or an even split, would give."""
    words = {"annotation_text": text, "annotation_font_color": GREY, "annotation_position": "top right"}
    figure.add_hline(y=value, line_color=GREY, line_dash="dash", line_width=1.5, **words, **place)
