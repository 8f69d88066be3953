"""Which model and objective is best on unseen domains, and is it better than plain training?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.gains import gains, main_metric, room, signed, unit
from msaviz.viz.grid import legend_below, panels, row_height
from msaviz.viz.marks import upright
from msaviz.viz.theme import safe
from msaviz.viz.view import View
from msaviz.viz.words import axis, chosen, label, listed, lower, name, number, sentence, unique

NEEDS = (
    *("model", "objective", "protocol", "target", "metric", "mean", "low", "high", "runs", "floor"),
    *("gain", "gain_low", "gain_high"),
)
SUMMARIES = ("mean", "worst")
MEANING = {"mean": "mean over the unseen domains", "worst": "worst unseen domain"}


def draw(frame: pd.DataFrame, *, metric: str | None = None, targets: Sequence[str] | None = None) -> go.Figure:
    """A panel a target ("mean" and "worst" without a wish), a row a model and objective with its 95 % interval.

    The reference (ERM of the same model, or the one row that was chosen) is a square; beside the others stands their gain over it in
    percent, for a correlation in points (● where its interval excludes zero). The dashed line is the constant predictor.
    """
    metric, wanted = main_metric(frame, metric), _targets(frame, targets)
    frame = frame[(frame["metric"] == metric) & frame["target"].isin(wanted)]
    frame = frame.assign(row=_rows(frame), panel=label(frame, "protocol", "target"), value=frame["mean"])
    frame["place"] = frame["target"].map({target: i for i, target in enumerate(wanted)})
    frame = frame.sort_values("place", kind="stable")
    titles, names = unique(frame["panel"]), unique(frame["row"])
    figure, places = panels([""] * len(titles), columns=2, shared_yaxes=True, height=row_height(len(names), each=30))
    for title, place in zip(titles, places, strict=True):
        part, first = frame[frame["panel"] == title], place == places[0]
        for floor in part["floor"].dropna().unique()[:1]:
            upright(figure, float(floor), len(names), "constant predictor", place, first)
        plain = part["gain"].isna()
        for i, (what, rows) in enumerate((("compared", part[~plain]), ("the reference", part[plain]))):
            if len(rows):
                # each row has a dot of one series only: the middle one of "several", so that it lies on its row
                marks.dots(figure, rows, rows["row"], names, what, i, 1 + 2 * i, place, first)
        gains(figure, part, names, place)
        figure.update_xaxes(range=room(part), title_text=f"{axis(metric, arrow=True)}<br>{safe(_what(part))}", **place)
        marks.rows_axis(figure, names, place)
    return legend_below(figure, room=20)


def _targets(frame: pd.DataFrame, targets: Sequence[str] | None) -> list[str]:
    known = unique(frame["target"])
    if targets is not None:
        return [str(chosen(target, known, "target")) for target in targets]
    return [target for target in SUMMARIES if target in known] or known


def _rows(frame: pd.DataFrame) -> pd.Series:
    return frame["model"].astype(str) + " · " + frame["objective"].astype(str)


def _what(part: pd.DataFrame) -> str:
    target = str(part["target"].iloc[0])
    return f"{MEANING.get(target, 'domain ' + target)}, {part['protocol'].iloc[0]}"


@sentence
def read(frame: pd.DataFrame) -> str:
    metric, target = main_metric(frame, None), _targets(frame, None)[0]
    part = frame[(frame["metric"] == metric) & (frame["target"] == target)].dropna(subset=["mean"])
    if part.empty:
        return "No model was measured on an unseen domain."
    best = part.loc[part["mean"].idxmin() if lower(metric) else part["mean"].idxmax()]
    span = f"[{number(best['low'])}, {number(best['high'])}]"
    text = f"By {name(metric)} on the {MEANING.get(target, f'domain “{target}”')}, “{best['model']} · {best['objective']}” is best: "
    text += f"{number(best['mean'])} {span} over {int(best['runs'])} run{'' if best['runs'] == 1 else 's'}"
    beaten = best["mean"] < best["floor"] if lower(metric) else best["mean"] > best["floor"]
    if pd.notna(best["floor"]):
        text += f", {'where' if beaten else 'no better than'} a constant predictor{' has' if beaten else ','} {number(best['floor'])}"
    if pd.notna(best["gain"]):
        clear = best["gain_low"] > 0 or best["gain_high"] < 0
        zero = "which excludes zero" if clear else "which does not exclude zero, so it is no more than chance"
        bounds = f"[{signed(best['gain_low'])}, {signed(best['gain_high'])}]"
        text += f"; its gain over the reference is {signed(best['gain'])} {unit(metric)} {bounds}, {zero}"
    else:
        text += f"; {_beating(part)}"
    return f"{text}."


def _beating(part: pd.DataFrame) -> str:
    """Which rows gain on their reference beyond zero where the best row is a reference itself."""
    found = part[part["gain_low"] > 0]
    rows = [f"“{model} · {objective}”" for model, objective in zip(found["model"], found["objective"], strict=True)]
    return f"over their reference gain {listed(rows)}" if rows else "no row gains on its reference beyond chance"


VIEW = View(
    "domain_comparison",
    NEEDS,
    draw,
    read,
    "Unseen domains: models and objectives",
    "Each row is a mean over runs with its 95 % interval over the test utterances; the number beside it is the paired gain over the "
    "reference (the square: ERM of the same model, unless another was chosen), and ● marks one whose interval excludes zero. At the "
    "dashed line nothing of the input is used.",
    known=("mean",),
)
