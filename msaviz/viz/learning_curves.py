"""Did training converge, and which loss terms fell?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.grid import legend_below, panels
from msaviz.viz.missing_curve import headline
from msaviz.viz.theme import safe
from msaviz.viz.view import View
from msaviz.viz.words import LOWER_IS_BETTER, axis, chosen, first_of, label, lower, name, number, sentence, unique

NEEDS = ("run", "step", "split", "domain", "rate", "kind", "metric", "value")
ORDER = {"total": 0, "term": 1, "metric": 2}


def draw(frame: pd.DataFrame, *, kind: str | None = None, metrics: Sequence[str] | None = None) -> go.Figure:
    """A small panel for each loss term and metric (all, or those of one `kind`: total, term, metric); a line a run, split and missing rate.

    `metrics`: which of the metrics; the score that chose the checkpoint and the headline ones without a wish.
    """
    frame = _whole(frame)
    known = unique(frame.loc[frame["kind"] == "metric", "metric"])
    wanted = [chosen(metric, known, "metric") for metric in metrics] if metrics else {"score", *(headline(known) if known else ())}
    frame = frame[(frame["kind"] != "metric") | frame["metric"].isin(wanted)]
    if kind is not None:
        frame = frame[frame["kind"] == chosen(kind, unique(frame["kind"]), "kind")]
    frame = frame.assign(line=_lines(frame), panel=[_title(*pair) for pair in zip(frame["kind"], frame["metric"], strict=True)])
    titles = unique(frame.sort_values("kind", key=lambda kinds: kinds.map(ORDER), kind="stable")["panel"])
    figure, places = panels(titles, columns=4 if len(titles) > 3 else 3, height=190)
    figure.update_annotations(font_size=12)
    lines = unique(frame["line"])
    for title, place in zip(titles, places, strict=True):
        part = frame[frame["panel"] == title]
        for i, line in enumerate(lines):
            rows = part[part["line"] == line].sort_values("step")
            if rows.empty:
                continue
            named = any(trace.name == safe(line) for trace in figure.data)
            mode = "lines+markers" if len(rows) <= 30 else "lines"
            marks.line(figure, rows["step"], rows["value"], line, i, place, not named, mode=mode, hovertemplate="step %{x}: %{y:.4g}")
        bottom = places.index(place) + max(p["col"] for p in places) >= len(places)
        figure.update_xaxes(title_text="step" if bottom else None, nticks=4, **place)
        figure.update_yaxes(nticks=5, **place)
    return legend_below(figure)


def _whole(frame: pd.DataFrame) -> pd.DataFrame:
    """The lines over all domains; a frame that has none keeps what it has."""
    everything = frame[frame["domain"] == "all"]
    return frame if everything.empty else everything


def _lines(frame: pd.DataFrame) -> pd.Series:
    """Name of each line: run (where there are several), split, and the missing rate of its validation input."""
    rate = frame["rate"].map(lambda rate: "" if pd.isna(rate) else f" at rate {rate:g}")
    return label(frame, "run", "split") + rate


def _title(kind: str, metric: str) -> str:
    return {"total": "total loss", "term": f"loss: {metric.replace('_', ' ')}"}.get(kind, axis(metric))


@sentence
def read(frame: pd.DataFrame) -> str:
    frame = _whole(frame)
    steps, runs = int(frame["step"].max()), frame["run"].nunique()
    text = f"{runs} run{'s' * (runs > 1)} of up to {steps} steps"
    total = frame[(frame["kind"] == "total") & (frame["split"] == "train")].sort_values("step")
    total = total[total["run"] == frame["run"].iloc[0]]
    if len(total):
        start, end = total["value"].iloc[0], total["value"].iloc[-1]
        text += f"; the training loss of “{total['run'].iloc[0]}” went from {number(start)} to {number(end)}"
    held = frame[(frame["kind"] == "metric") & frame["split"].isin(["valid", "validation"])]
    if len(held):
        metric = str(first_of(unique(held["metric"]), (*LOWER_IS_BETTER, "accuracy")))
        held = held[(held["metric"] == metric)]
        held = held[held["rate"].isna() | (held["rate"] == held["rate"].min())]
        best = held.loc[held["value"].idxmin() if lower(metric) else held["value"].idxmax()]
        rate = "" if pd.isna(best["rate"]) else f" at missing rate {best['rate']:g}"
        text += f"; the best validation {name(metric)}{rate} was {number(best['value'])}, at step {int(best['step'])} of “{best['run']}”"
    return f"{text}."


VIEW = View(
    "learning_curves",
    NEEDS,
    draw,
    read,
    "Learning curves",
    "Loss terms are shown without their weights. A validation line that turns up while training falls means overfitting; a term that never "
    "moves is not learned or not weighted.",
    known=("value",),
)
