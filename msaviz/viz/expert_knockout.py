"""What is each expert worth: over all, and in each domain, label group or set of modalities?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.grid import legend_below, panels, row_height
from msaviz.viz.view import View
from msaviz.viz.words import chosen, first_of, label, name, number, sentence, unique

NEEDS = ("run", "router", "modality", "expert", "by", "group", "metric", "value", "low", "high", "gate")
NAMES = {"error": "share of wrong answers"}
UNITS = {"mae": "label units"}
WHERE = {"all": "over all utterances", "domain": "in domain “{}”", "label": "for label “{}”", "modality": "for utterances with {}"}
KINDS = {"all": "group", "domain": "domain", "label": "label group", "modality": "set of modalities"}


def draw(frame: pd.DataFrame, *, by: str | None = None) -> go.Figure:
    """A panel for each router and modality, a row an expert (its mean gate in brackets), a symbol a group: by how much the
    error grows without the expert, with its 95 % interval; the dashed line is no change.

    `by`: "all", "domain", "label" or "modality" (which ones an utterance has); without a wish by domain, where there are several.
    """
    frame = _part(frame, by)
    frame = frame.assign(panel=label(frame, "run", "router", "modality"))
    frame = frame.assign(row=_rows(frame))
    titles, groups = unique(frame["panel"]), unique(frame["group"])
    most = frame.groupby("panel")["row"].nunique().max()
    figure, places = panels(titles, columns=2, labels=frame["row"], height=row_height(most, each=max(26, 15 * len(groups))))
    reach = frame[["value", "low", "high"]]
    low, high = min(float(reach.min().min()), 0.0), max(float(reach.max().max()), 0.0)
    room = 0.06 * (high - low) or 0.05
    for title, place in zip(titles, places, strict=True):
        part, first = frame[frame["panel"] == title], place == places[0]
        names = unique(part["row"])
        marks.upright(figure, 0.0, len(names), "no change", place, first)
        for i, group in enumerate(groups):
            rows = part[part["group"] == group]
            marks.dots(figure, rows, rows["row"], names, str(group), i, len(groups), place, first)
        bottom = places.index(place) + max(p["col"] for p in places) >= len(places)
        figure.update_xaxes(range=[low - room, high + room], title_text=_axis(frame) if bottom else None, **place)
        marks.rows_axis(figure, names, place)
    return legend_below(figure)


def _part(frame: pd.DataFrame, by: str | None) -> pd.DataFrame:
    """The rows of one grouping, and those over all utterances beside them."""
    kinds = unique(frame["by"])
    by = by or str(first_of([kind for kind in kinds if kind != "all"] or kinds, ["domain"]))
    chosen(by, kinds, "grouping")
    return frame[frame["by"].isin(["all", by])]


def _rows(frame: pd.DataFrame) -> list[str]:
    """The expert and its mean gate over all utterances (over the groups where the table has no such row)."""
    whole = frame[frame["by"] == "all"] if (frame["by"] == "all").any() else frame
    gate = whole.groupby(["panel", "expert"])["gate"].mean()
    keys = zip(frame["panel"], frame["expert"], strict=True)
    return [f"expert {expert} (gate {number(gate.get((panel, expert), float('nan')), 2)})" for panel, expert in keys]


def _axis(frame: pd.DataFrame) -> str:
    metric = str(frame["metric"].iloc[0])
    unit = f" [{UNITS[metric]}]" if metric in UNITS else ""
    return f"{_name(metric)} without it minus with it{unit}"


def _name(metric: str) -> str:
    return NAMES.get(metric, name(metric))


@sentence
def read(frame: pd.DataFrame) -> str:
    part = _part(frame.reset_index(drop=True), None).dropna(subset=["value"])
    if part.empty:
        return "No expert could be taken out."
    helps, harms = part[part["low"] > 0], part[part["high"] < 0]
    top = (helps if len(helps) else part).pipe(lambda rows: rows.loc[rows["value"].idxmax()])
    where = WHERE.get(top["by"], "for {}").format(top["group"])
    span = f"{number(top['value'])} [{number(top['low'])}, {number(top['high'])}]"
    which = f"expert {top['expert']} of router “{top['router']}” ({top['modality']})"
    by_chance = 0.05 * len(part)
    counted = f"{len(helps) + len(harms)} of {len(part)} intervals exclude zero (chance alone gives about {by_chance:.0f})"
    if helps.empty:
        kind = KINDS[unique(part["by"])[-1]]
        return f"No expert is worth more than chance in any {kind}; the largest change is that of {which}, {span} {where}; {counted}."
    # of many intervals some exclude zero by chance; one that would do so at twice its width does not
    clear = top["value"] > 2 * (top["value"] - top["low"])
    verdict = "" if clear or len(helps) + len(harms) > by_chance else ", no more than chance"
    harm = f"; in {len(harms)} of them the model is better without the expert" if len(harms) else ""
    return f"Most is lost without {which}: {where} the {_name(top['metric'])} grows by {span}; {counted}{verdict}{harm}."


VIEW = View(
    "expert_knockout",
    NEEDS,
    draw,
    read,
    "What each expert is worth",
    "Each dot is the error with the expert's gate set to zero (the others share its weight) minus the error with it: right of the line the "
    "expert helps. “joint” switches it off in all modalities that its router serves. An interval that crosses the line says no more than "
    "chance.",
    known=("value",),
)
