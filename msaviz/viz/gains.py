"""How is a paired gain over a reference written beside the interval of a score?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from msaviz.viz.marks import Place, named
from msaviz.viz.theme import short
from msaviz.viz.words import chosen, first_of, number, unique


def gains(figure: go.Figure, part: pd.DataFrame, names: Sequence[str], place: Place) -> None:
    """The gain over the reference at the right end of each interval (● where its interval excludes zero); the row of `names` is `row`."""
    rows = part.dropna(subset=["gain"])
    numbers = rows[["gain", "gain_low", "gain_high"]].to_numpy()
    what = unit(str(part["metric"].iloc[0]))
    text = [f"{signed(gain)} {what}{' ●' if low > 0 or high < 0 else ''}" for gain, low, high in numbers]
    places = {"x": short(rows["high"].fillna(rows["value"])), "y": short(pd.Index(list(names)).get_indexer(rows["row"]))}
    style = {"mode": "text", "textposition": "middle right", "textfont": {"size": 12}, "hoverinfo": "skip", "cliponaxis": False}
    figure.add_trace(go.Scatter(**places, text=[f"  {one}" for one in text], **style, **named("gain over the reference", False)), **place)


def main_metric(frame: pd.DataFrame, metric: str | None) -> str:
    """The metric that was asked for, else the first headline metric that the frame has; ValueError for one that it has not."""
    known = unique(frame["metric"])
    return str(chosen(metric, known, "metric") if metric else first_of(known, ("mae", "weighted_f1", "accuracy")))


def unit(metric: str) -> str:
    """Of a gain: a correlation may be 0 or negative, so that a share of it means nothing."""
    return "points" if metric == "corr" else "%"


def signed(gain: float) -> str:
    """ "+1.2", "−0.3"."""
    return f"{'+' if gain >= 0 else '−'}{number(abs(gain), 1)}"


def room(part: pd.DataFrame) -> list[float]:
    """The range of a horizontal axis that holds everything, with room for the gains at the right; 0 to 1 where nothing is known."""
    known = part[["value", "low", "high", "floor"]].to_numpy(float)
    known = known[np.isfinite(known)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    width = (high - low) or 0.05
    return [low - 0.06 * width, high + 0.24 * width]
