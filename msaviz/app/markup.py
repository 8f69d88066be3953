"""How do tables, figures and notes become HTML in which no text of the data is ever read as markup?"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
"""What may end a script element or a line, as JSON writes it."""
TITLE = 32
"""Pixels that a figure's own title takes."""
ROWS = 200
"""Rows of a page's table that are shown; the CSV holds all."""


def text(value: Any) -> str:
    """Any value as HTML text."""
    return html.escape(str(value))


def embedded(value: Any) -> str:
    """JSON inside a script element: nothing in it can end the element."""
    raw = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return raw.translate(UNSAFE)


def number(value: Any) -> str:
    """A cell: three decimals, or what the value is; an empty cell for no value."""
    if value is None or (isinstance(value, float | np.floating) and not np.isfinite(value)):
        return "" if value is None or np.isnan(value) else str(value)
    if isinstance(value, float | np.floating):
        return f"{value:.3f}" if abs(value) < 1000 else f"{value:,.0f}"
    return text(value)


def table(frame: pd.DataFrame, *, caption: str = "") -> str:
    """A frame as a table; its first ROWS rows."""
    head = "".join(f"<th{_left(frame[c])}>{text(c)}</th>" for c in frame.columns)
    sides = [_left(frame[c]) for c in frame.columns]
    body = "".join(
        "<tr>" + "".join(f"<td{side}>{number(value)}</td>" for side, value in zip(sides, row, strict=True)) + "</tr>"
        for row in frame.head(ROWS).itertuples(index=False, name=None)
    )
    return grid(f"<tr>{head}</tr>", body, caption)


def _left(column: pd.Series) -> str:
    return "" if pd.api.types.is_numeric_dtype(column) else ' class="left"'


def grid(head: str, body: str, caption: str = "") -> str:
    """Rows of HTML in a table that scrolls sideways rather than push the page."""
    said = f"<caption>{text(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table>{said}<thead>{head}</thead><tbody>{body}</tbody></table></div>'


def facts(pairs: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> str:
    """Names and values in two columns."""
    items = pairs.items() if isinstance(pairs, Mapping) else pairs
    body = "".join(f'<tr><td><code>{text(k)}</code></td><td class="text">{text(_plain(v))}</td></tr>' for k, v in items)
    return f'<div class="scroll"><table><tbody>{body}</tbody></table></div>'


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def details(title: str, body: str, kind: str = "") -> str:
    return f'<details class="{kind}"><summary>{text(title)}</summary>{body}</details>'


def note(message: str) -> str:
    return f'<p class="note">{text(message)}</p>'


def figure_json(figure: go.Figure) -> str:
    """The figure without its template and title: the page has its own title, and dresses all figures in one template. A subtitle stays."""
    tree = json.loads(figure.to_json())
    layout = tree["layout"]
    layout.pop("template", None)
    title = layout.pop("title", None)
    if title and layout.get("height"):
        top = layout.setdefault("margin", {}).get("t", 60)  # the room of the title goes too
        layout["margin"]["t"], layout["height"] = top - TITLE, layout["height"] - TITLE
    if told := (title or {}).get("subtitle", {}).get("text"):
        layout["title"] = {"text": told, "font": {"size": 13}, "x": 0.01, "xanchor": "left", "y": 0.98, "yanchor": "top"}
    return json.dumps(tree, separators=(",", ":"), ensure_ascii=False)


def page(key: str, title: str, figure: go.Figure, frame: pd.DataFrame, *, reading: str, explain: str, stamp: str = "") -> str:
    """A figure, what it shows in one sentence, how to read it, and its numbers to see and to take away."""
    csv = frame.to_csv(index=False, float_format="%.6g")
    data = f'{{"figure":{figure_json(figure)},"csv":{json.dumps(csv, ensure_ascii=False)}}}'
    height = int(figure.layout.height or 450) - TITLE
    more = f" (the first {ROWS} of {len(frame):,} rows; the CSV holds all)" if len(frame) > ROWS else f" ({len(frame)} rows)"
    rows = details(f"The numbers{more}", f'<div class="tall">{table(frame)}</div>', "data") if len(frame) else ""
    button = f'<button type="button" data-csv="{key}-data" data-name="{text(key)}.csv">Download CSV</button>' if len(frame) else ""
    return (
        f'<section class="page" id="{key}"><h3>{text(title)}</h3>{stamp}'
        f'<div class="figure" role="img" aria-label="{text(f"{title}. {reading}")}" data-page="{key}-data" style="height:{height}px"></div>'
        f'<p class="reading">{text(reading)}</p>'
        + (details("How to read this", f"<p>{text(explain)}</p>", "how") if explain else "")
        + rows
        + button
        + f'<script type="application/json" id="{key}-data">{embedded(data)}</script></section>'
    )
