"""How do several runs look side by side: beside the constant, against each other, and beside what was published?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from msaviz.app.groups import Group
from msaviz.app.results import better, compared, ordered, over_seeds, shown

if TYPE_CHECKING:
    import plotly.graph_objects as go

PAIRS = ("model", "other", "metric", "difference", "low", "high", "improvement", "improvement_low", "improvement_high", "wins")
"""Columns of `paired`."""
WHOSE = {"here": "these runs", "floor": "constant predictor", "published": "published"}


def side_by_side(sweep: pd.DataFrame) -> pd.DataFrame:
    """A row a condition and model, the constant predictor first; for each metric "mean ± sd ▲" (▲ beats the constant, ▼ does not).

    `sweep`: frames of one protocol by `Group.sweep`, put together; where it has summaries (mean, area), these alone are the
    conditions. The sd is over seeds; a single run has none.
    """
    frame = over_seeds(sweep)
    summaries = frame["condition"].isin(sweep.loc[sweep["rate"].isna(), "subset"])
    frame = frame[summaries] if summaries.any() else frame
    frame = frame.assign(text=[_cell(row) for row in frame.itertuples()])
    rows = []
    for condition, part in frame.groupby("condition", sort=False):
        floors = dict.fromkeys(tuple(known.groupby("metric")["floor"].mean().round(3).items()) for _, known in part.groupby("model"))
        rows += [{"condition": condition, "model": WHOSE["floor"], "seeds": "", **{m: f"{v:.3f}" for m, v in floor}} for floor in floors]
        for model, known in part.groupby("model", sort=False):
            texts = dict(zip(known["metric"], known["text"], strict=True))
            rows.append({"condition": condition, "model": model, "seeds": str(known["runs"].max()), **texts})
    metrics = ordered(frame["metric"])
    table = pd.DataFrame(rows, columns=["condition", "model", "seeds", *metrics]).fillna("")
    return table.rename(columns={metric: shown(metric) for metric in metrics})


def _cell(row: object) -> str:
    mean, sd, metric, floor = (getattr(row, name) for name in ("mean", "sd", "metric", "floor"))
    spread = f" ± {sd:.3f}" if np.isfinite(sd) else ""
    return f"{mean:.3f}{spread} {'▲' if better(metric, mean, floor) else '▼'}"


def paired(groups: Sequence[Group], protocol: str, split: str) -> pd.DataFrame:
    """Every group against every later one (PAIRS): paired bootstrap over utterances; empty where nothing can be compared."""
    predictions = {group.label: group.predictions(protocol, split) for group in groups}
    found = [compared(dict(list(predictions.items())[i:])) for i in range(len(groups) - 1)]
    found = [frame for frame in found if len(frame)]
    return pd.concat(found, ignore_index=True)[list(PAIRS)] if found else pd.DataFrame(columns=list(PAIRS))


def versus(pairs: pd.DataFrame) -> go.Figure:
    """A panel a metric, a row a pair: the gain of the first over the second in percent with its 95 % interval, and the line of no gain."""
    from msaviz.viz import marks
    from msaviz.viz.grid import legend_below, panels, row_height
    from msaviz.viz.marks import upright
    from msaviz.viz.theme import note, safe

    if pairs.empty:
        return note("Nothing to compare: there is one model only, or the models were not tested on the same utterances.")
    names = [f"{one} over {two}" for one, two in zip(pairs["model"], pairs["other"], strict=True)]
    frame = pairs.assign(row=names, value=pairs["improvement"], low=pairs["improvement_low"], high=pairs["improvement_high"])
    rows, metrics = list(dict.fromkeys(names)), list(dict.fromkeys(pairs["metric"]))
    figure, places = panels([""] * len(metrics), columns=2, shared_yaxes=True, height=row_height(len(rows), each=34))
    told: set[str] = set()  # each kind stands in the legend once
    for metric, place in zip(metrics, places, strict=True):
        part, first = frame[frame["metric"] == metric], place == places[0]
        upright(figure, 0.0, len(rows), "no gain", place, first)
        clear = (part["low"] > 0) | (part["high"] < 0)
        for i, (what, some) in enumerate((("beyond chance", part[clear]), ("no more than chance", part[~clear]))):
            if len(some):
                marks.dots(figure, some, some["row"], rows, what, i, 1 + 2 * i, place, what not in told)
                told.add(what)
        figure.update_xaxes(title_text=safe(f"gain in {shown(metric)} [%]"), **place)
        marks.rows_axis(figure, rows, place)
    return legend_below(figure)


def beside_published(groups: Sequence[Group], sweep: pd.DataFrame, figures: pd.DataFrame) -> pd.DataFrame:
    """These runs, their constant and published figures under each other, each with its dataset, protocol and selection.

    Of the sweep the mean over its conditions is shown (the condition itself, where there is one); of the metrics those that were
    published and measured (all, where nothing was published). `figures`: of `msaviz.training.published.published`.
    """
    from msaviz.training.published import wide

    frame = over_seeds(sweep)
    conditions = list(dict.fromkeys(frame["condition"]))
    frame = frame[frame["condition"] == ("mean" if "mean" in conditions else conditions[-1])]
    metrics = [metric for metric in ordered(frame["metric"]) if figures.empty or metric in set(figures["metric"])]
    about = {name: str(sweep[name].iloc[0]) for name in ("protocol", "selection")}
    rows: list[Mapping[str, object]] = []
    for group in groups:
        known = frame[frame["model"] == group.label].set_index("metric").reindex(metrics)
        where = {"dataset": group.first.dataset.name, **about}
        floor = {"whose": WHOSE["floor"], "model": "", **where, **known["floor"]}
        if floor not in rows:  # models on the same data have the same constant to beat
            rows.append(floor)
        rows.append({"whose": WHOSE["here"], "model": group.label, **where, **known["mean"]})
    table = pd.DataFrame(rows)
    if len(figures):
        columns = [*table.columns, "source"]
        others = wide(figures).assign(whose=WHOSE["published"]).reindex(columns=columns)
        table = pd.concat([table, others], ignore_index=True).fillna({"source": ""})
    told = {metric: table[metric].map(lambda value: f"{value:.3f}" if np.isfinite(value) else "") for metric in metrics}
    return table.assign(**told).rename(columns={metric: shown(metric) for metric in metrics})
