"""How are several panels laid out so that titles, axes and legends do not collide?"""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from msaviz.viz.theme import GREY, safes


def panels(titles: Sequence[str], *, columns: int = 3, row_height: int = 300, **options: object) -> tuple[go.Figure, list[dict[str, int]]]:
    """A figure of `titles` panels and where each one is, as {"row": r, "col": c}; one row keeps the height of 450."""
    count = len(titles)
    columns = min(columns, count)
    rows = -(-count // columns)
    height = 450 if rows == 1 else 110 + row_height * rows
    spacing = {"horizontal_spacing": min(0.09, 0.6 / columns), "vertical_spacing": min(0.9 / rows, 75 / (height - 110)) if rows > 1 else 0}
    figure = make_subplots(
        rows=rows, cols=columns, subplot_titles=safes(titles) if any(titles) and count > 1 else None, **{**spacing, **options}
    )
    figure.update_layout(height=height, margin_t=80 if any(titles) and count > 1 else 60)
    figure.update_annotations(font_size=13)
    return figure, [{"row": 1 + i // columns, "col": 1 + i % columns} for i in range(count)]


def fit_rows(figure: go.Figure, rows: int, *, panels: int = 1, each: int = 26) -> go.Figure:
    """Room for `rows` labels on the vertical axis of each of `panels` rows of panels."""
    return figure.update_layout(height=max(450, 150 + panels * (75 + each * int(rows))))


def legend_below(figure: go.Figure, *, room: int = 0) -> go.Figure:
    """The legend in a row under the picture, where no panel can run into it."""
    height = figure.layout.height or 450
    top = figure.layout.margin.t or 60
    plot = max(height - top - 95, 100)
    legend = {"orientation": "h", "x": 0, "xanchor": "left", "yanchor": "top", "y": -(58 + room) / plot}
    return figure.update_layout(legend=legend, margin_b=95 + room)


def floor_line(figure: go.Figure, value: float, text: str, place: dict[str, int] | None = None, *, vertical: bool = False) -> None:
    """A grey dashed line with its name: what chance, or a constant, reaches."""
    line = {
        "line_color": GREY,
        "line_dash": "dash",
        "line_width": 1.5,
        "annotation_text": text,
        "annotation_font_color": GREY,
        **(place or {}),
    }
    if vertical:
        figure.add_vline(x=value, annotation_position="top", **line)
    else:
        figure.add_hline(y=value, annotation_position="top left", **line)
