"""How are lines with a band, a floor and a second channel drawn? Used by the views of sweeps."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz.theme import GREY, colour, dash, faint, safe, short, symbol


def series(frame: pd.DataFrame) -> pd.Series:
    """Name of each line: the run, with its split and selection where they vary or are not the plain validation choice."""
    names = frame["run"].astype(str)
    if frame["split"].nunique() > 1:
        names = names + " · " + frame["split"].astype(str)
    odd = frame["selection"].astype(str) != "validation"
    return names.where(~odd, names + " · selection: " + frame["selection"].astype(str))


def line(figure: go.Figure, x: pd.Series, part: pd.DataFrame, name: str, i: int, place: dict[str, int], legend: bool) -> None:
    """One line with markers and, where there are several seeds, its 95 % band."""
    band = part["low"].notna() & part["high"].notna()
    if band.any():
        around = pd.concat([x[band], x[band][::-1]]), pd.concat([part.loc[band, "high"], part.loc[band, "low"][::-1]])
        figure.add_trace(
            go.Scatter(
                x=short(around[0]), y=short(around[1]), fill="toself", fillcolor=faint(colour(i)), line_width=0, mode="lines", hoverinfo="skip", showlegend=False, legendgroup=name
            ),
            **place,
        )
    figure.add_trace(
        go.Scatter(
            x=short(x),
            y=short(part["value"]),
            name=safe(name),
            legendgroup=safe(name),
            showlegend=legend,
            mode="lines+markers",
            line={"color": colour(i), "dash": dash(i)},
            marker={"symbol": symbol(i), "size": 8},
            hovertemplate="%{x:.2f}: %{y:.3f}",
        ),
        **place,
    )


def floor(figure: go.Figure, x: pd.Series, y: pd.Series, place: dict[str, int], legend: bool, name: str = "constant predictor") -> None:
    """The grey line of what a constant reaches."""
    style = {"color": GREY, "dash": "dot", "width": 2}
    figure.add_trace(
        go.Scatter(x=short(x), y=short(y), mode="lines", line=style, name=name, legendgroup=name, showlegend=legend, hovertemplate="constant %{y:.3f}<extra></extra>"), **place
    )
