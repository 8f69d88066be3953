"""How is a series drawn: as a line with a band, as dots with intervals, and what chance or a constant reaches?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from msaviz.viz.theme import GREY, colour, dash, faint, safe, safes, short, symbol

Place = dict[str, int]
"""Where a panel is: {"row": r, "col": c}, from 1."""
TICK = {"symbol": "line-ns", "size": 20, "line": {"color": GREY, "width": 3}}


def series(frame: pd.DataFrame) -> pd.Series:
    """Name of each series: the run, with its split where that varies, and its selection unless that is the plain validation choice."""
    names = frame["run"].astype(str)
    if frame["split"].nunique() > 1:
        names = names + " · " + frame["split"].astype(str)
    odd = frame["selection"].astype(str) != "validation"
    return names.where(~odd, names + " · selection: " + frame["selection"].astype(str))


def named(name: Any, first: bool) -> dict[str, Any]:
    """One entry of the legend for all panels: shown in the first one, switched on and off everywhere."""
    return {"name": safe(name), "legendgroup": safe(name), "showlegend": first}


def line(figure: go.Figure, x: pd.Series, y: pd.Series, name: str, i: int, place: Place, first: bool, **options: Any) -> None:
    """A line whose colour, dash and symbol are those of series number `i`."""
    style = {"color": colour(i), "dash": dash(i), "width": 2}
    options = {"mode": "lines+markers", "marker": {"symbol": symbol(i), "size": 7}, **named(name, first), **options}
    figure.add_trace(go.Scatter(x=short(x), y=short(y), line=style, **options), **place)


def band(figure: go.Figure, x: pd.Series, low: pd.Series, high: pd.Series, name: str, i: int, place: Place) -> None:
    """The space between `low` and `high`, faint; nothing where they are unknown."""
    known = (low.notna() & high.notna()).to_numpy()
    if known.any():
        x, low, high = (np.asarray(values)[known] for values in (x, low, high))
        shape = {"x": short([*x, *x[::-1]]), "y": short([*high, *low[::-1]])}
        style = {"fill": "toself", "fillcolor": faint(colour(i)), "line_width": 0, "mode": "lines", "hoverinfo": "skip"}
        figure.add_trace(go.Scatter(**shape, **style, **named(name, False)), **place)


def constant(figure: go.Figure, x: Any, y: Any, place: Place, first: bool, name: str = "constant predictor") -> None:
    """The grey dotted line of what a constant, or chance, reaches."""
    style = {"color": GREY, "dash": "dot", "width": 3}
    hover = f"{name} %{{y:.3f}}<extra></extra>"
    figure.add_trace(go.Scatter(x=short(x), y=short(y), mode="lines", line=style, hovertemplate=hover, **named(name, first)), **place)


def upright(figure: go.Figure, x: float, rows: int, text: str, place: Place, first: bool) -> None:
    """A grey dashed line with its name in the legend, upright through all `rows`."""
    style = {"color": GREY, "dash": "dash", "width": 1.5}
    hover = f"{safe(text)} %{{x:.3f}}<extra></extra>"
    ends = {"x": short([x, x]), "y": short([-0.5, rows - 0.5])}
    figure.add_trace(go.Scatter(**ends, mode="lines", line=style, hovertemplate=hover, **named(text, first)), **place)


def rows_axis(figure: go.Figure, names: Sequence[str], place: Place, *, title: str | None = None) -> None:
    """A vertical axis with a row for each name, first on top, in even steps, so that `dots` of several series can lie beside each other."""
    axis = {"tickmode": "array", "tickvals": list(range(len(names))), "ticktext": safes(names), "zeroline": False}
    figure.update_yaxes(**axis, range=[len(names) - 0.5, -0.5], title_text=title, **place)


def dots(
    figure: go.Figure,
    rows: pd.DataFrame,
    y: Sequence[str] | pd.Series,
    names: Sequence[str],
    name: str,
    i: int,
    of: int,
    place: Place,
    first: bool,
) -> None:
    """`value` of each row with its interval `low` to `high`, beside the row of `names` that `y` says; series `i` of `of`."""
    above, below = (short((rows[a] - rows[b]).clip(lower=0).fillna(0)) for a, b in (("high", "value"), ("value", "low")))
    error = {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1.5, "width": 4}
    marker = {"color": colour(i), "symbol": symbol(i), "size": 9}
    places = _positions(y, names) + (i - (of - 1) / 2) * min(0.22, 0.7 / of)
    options = {
        "mode": "markers",
        "error_x": error,
        "marker": marker,
        "text": safes(y),
        "hovertemplate": "%{text}: %{x:.3f}",
        **named(name, first),
    }
    figure.add_trace(go.Scatter(x=short(rows["value"]), y=short(places), **options), **place)


def ticks(figure: go.Figure, x: Any, y: Sequence[str] | pd.Series, names: Sequence[str], name: str, place: Place, first: bool) -> None:
    """Grey upright ticks: what chance, or a constant, reaches on each row of `names`."""
    options = {"mode": "markers", "text": safes(y), "hovertemplate": f"%{{text}}: {name} %{{x:.3f}}<extra></extra>", **named(name, first)}
    figure.add_trace(go.Scatter(x=short(x), y=short(_positions(y, names)), marker=TICK, **options), **place)


def _positions(y: Sequence[str] | pd.Series, names: Sequence[str]) -> np.ndarray:
    return pd.Index(list(names)).get_indexer(list(y)).astype(float)
