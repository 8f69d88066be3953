"""Which model is best under each protocol, by how much, and where do published figures stand?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.gains import gains, main_metric, room, signed, unit
from msaviz.viz.grid import legend_below, panels, row_height
from msaviz.viz.theme import safe
from msaviz.viz.view import View
from msaviz.viz.words import axis, chosen, label, lower, name, number, sentence, unique

NEEDS = (
    *("model", "objective", "data", "protocol", "condition", "metric", "mean", "low", "high", "runs", "floor"),
    *("gain", "gain_low", "gain_high", "selection", "source"),
)
OVERALL = ("complete", "mean")
"""The conditions that stand for a whole protocol."""
MEASURED = "measured"
CHOSEN = {"published": " (chosen on test)", "validation": " (chosen on validation)", "not stated": " (choice not stated)"}
"""By what the checkpoint of a published figure was chosen, as its row says it."""
KINDS = ("compared", "the reference", "published, chosen on validation", "published, chosen on test or not stated")


def draw(frame: pd.DataFrame, *, metric: str | None = None, data: str | None = None) -> go.Figure:
    """A panel a dataset and protocol (its one condition, or the mean over them), a row a model with its 95 % interval.

    The reference is a square; beside the others stands their paired gain over it (● where its interval excludes zero). Published figures
    have a sign of their own and no interval. The dashed line is the constant predictor. `data`: one dataset only.
    """
    metric = main_metric(frame, metric)
    frame = _overall(frame)
    if data is not None:
        frame = frame[frame["data"] == chosen(data, unique(frame["data"]), "dataset")]
    frame = frame[frame["metric"] == metric]
    frame = frame.assign(row=_rows(frame), kind=_kinds(frame), panel=label(frame, "data", "protocol"), value=frame["mean"])
    titles, told = unique(frame["panel"]), set()
    rows = max(frame.groupby("panel", sort=False)["row"].nunique())
    names = [str(row) for row in unique(frame["row"])]
    figure, places = panels([""] * len(titles), columns=2, height=row_height(rows, each=28), labels=names)
    for title, place in zip(titles, places, strict=True):
        part = frame[frame["panel"] == title]
        names = [str(row) for row in unique(part["row"])]
        for floor in part["floor"].dropna().unique()[:1]:
            marks.upright(figure, float(floor), len(names), "constant predictor", place, place == places[0])
        for i, kind in enumerate(KINDS):
            some = part[part["kind"] == kind]
            if len(some):  # each row has a dot of one series only: the middle one of "several", so that it lies on its row
                marks.dots(figure, some, some["row"], names, kind, i, 1 + 2 * i, place, kind not in told)
                told.add(kind)
        gains(figure, part, names, place)
        figure.update_xaxes(range=room(part), title_text=f"{axis(metric, arrow=True)}<br>{safe(_what(part))}", **place)
        marks.rows_axis(figure, names, place)
    return legend_below(figure, room=20)


def _overall(frame: pd.DataFrame) -> pd.DataFrame:
    """One condition a protocol: the mean where there is one."""
    whole = frame[frame["condition"].isin(OVERALL)]
    return whole if len(whole) else frame


def _rows(frame: pd.DataFrame) -> pd.Series:
    """The model, with its objective where that varies, and where a published figure comes from."""
    ours = frame["source"] == MEASURED
    several = frame.loc[ours, "objective"].nunique() > 1
    names = frame["model"].astype(str)
    names = names + (" · " + frame["objective"].astype(str) if several else "")
    return names.where(ours, frame["model"].astype(str) + frame["selection"].map(CHOSEN).fillna(" (published)"))


def _kinds(frame: pd.DataFrame) -> pd.Series:
    ours, validation = frame["source"] == MEASURED, frame["selection"] == "validation"
    kinds = pd.Series(KINDS[3], index=frame.index).mask(validation, KINDS[2])
    return kinds.mask(ours & frame["gain"].isna(), KINDS[1]).mask(ours & frame["gain"].notna(), KINDS[0])


def _what(part: pd.DataFrame) -> str:
    condition = str(part["condition"].iloc[0])
    said = {"complete": "complete input", "mean": "mean over what is missing"}.get(condition, condition)
    return f"{part['panel'].iloc[0]}: {said}"


@sentence
def read(frame: pd.DataFrame) -> str:
    metric = main_metric(frame, None)
    frame = _overall(frame)
    frame = frame[(frame["metric"] == metric) & (frame["source"] == MEASURED)].dropna(subset=["mean"])
    if frame.empty:
        return "No model was measured here: these are published figures alone."
    frame = frame.assign(row=_rows(frame), panel=label(frame, "data", "protocol"))
    return " ".join(_best(part, metric) for _, part in frame.groupby("panel", sort=False))


def _best(part: pd.DataFrame, metric: str) -> str:
    best = part.loc[part["mean"].idxmin() if lower(metric) else part["mean"].idxmax()]
    runs = f"{int(best['runs'])} run{'' if best['runs'] == 1 else 's'}"
    span = f"[{number(best['low'])}, {number(best['high'])}]"
    text = f"{best['panel']}: by {name(metric)} “{best['row']}” is best, {number(best['mean'])} {span}"
    text += f" over {runs}"
    if pd.notna(best["floor"]):
        beaten = best["mean"] < best["floor"] if lower(metric) else best["mean"] > best["floor"]
        text += f" ({'better' if beaten else 'no better'} than the constant predictor's {number(best['floor'])})"
    if pd.notna(best["gain"]):
        clear = best["gain_low"] > 0 or best["gain_high"] < 0
        bounds = f"[{signed(best['gain_low'])}, {signed(best['gain_high'])}]"
        text += f"; over the reference {signed(best['gain'])} {unit(metric)} {bounds}, {'beyond' if clear else 'no more than'} chance"
    return f"{text}."


VIEW = View(
    "results",
    NEEDS,
    draw,
    read,
    "Results: models and protocols",
    "Each row is a mean over runs with its 95 % interval over the test utterances; the number beside it is the paired gain over the "
    "reference (the square), and ● marks one whose interval excludes zero. At the dashed line nothing of the input is used. Published "
    "figures were measured by others, with features and a choice of checkpoint of their own: the row says which; where it is not "
    "validation, they are too good to be compared.",
    known=("mean",),
)
