"""Tiny bias: one bar a run."""

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz.view import View


def draw(frame: pd.DataFrame) -> go.Figure:
    return go.Figure(go.Bar(x=frame["run"], y=frame["value"]))


VIEW = View("tiny_bias", ("run", "value"), draw, lambda frame: f"Mean error {frame['value'].mean():.2f}.", "Bias")
