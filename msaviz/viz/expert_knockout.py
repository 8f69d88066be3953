"""What is each expert worth in each domain?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.grid import legend_below, panels, row_height
from msaviz.viz.theme import GREY, safe, short
from msaviz.viz.view import View
from msaviz.viz.words import label, name, number, sentence, unique

NEEDS = ("run", "router", "modality", "expert", "domain", "metric", "value", "low", "high", "gate")
NAMES = {"error": "share of wrong answers"}
UNITS = {"mae": "label units"}


def draw(frame: pd.DataFrame) -> go.Figure:
    """A panel for each router and modality, a row an expert (its mean gate in brackets), a symbol a domain: by how much the
    error grows without the expert, with its 95 % interval; the dashed line is no change."""
    frame = frame.assign(panel=label(frame, "run", "router", "modality"))
    frame = frame.assign(row=_rows(frame))
    titles, domains = unique(frame["panel"]), unique(frame["domain"])
    most = frame.groupby("panel")["row"].nunique().max()
    figure, places = panels(titles, columns=2, labels=frame["row"], height=row_height(most, each=max(26, 15 * len(domains))))
    reach = frame[["value", "low", "high"]]
    low, high = min(float(reach.min().min()), 0.0), max(float(reach.max().max()), 0.0)
    room = 0.06 * (high - low) or 0.05
    for title, place in zip(titles, places, strict=True):
        part, first = frame[frame["panel"] == title], place == places[0]
        names = unique(part["row"])
        upright(figure, 0.0, len(names), "no change", place, first)
        for i, domain in enumerate(domains):
            rows = part[part["domain"] == domain]
            marks.dots(figure, rows, rows["row"], names, str(domain), i, len(domains), place, first)
        bottom = places.index(place) + max(p["col"] for p in places) >= len(places)
        figure.update_xaxes(range=[low - room, high + room], title_text=_axis(frame) if bottom else None, **place)
        marks.rows_axis(figure, names, place)
    return legend_below(figure)


def upright(figure: go.Figure, x: float, rows: int, text: str, place: dict[str, int], first: bool) -> None:
    """A grey dashed line with its name in the legend, upright through all `rows`."""
    style = {"color": GREY, "dash": "dash", "width": 1.5}
    hover = f"{safe(text)} %{{x:.3f}}<extra></extra>"
    ends = {"x": short([x, x]), "y": short([-0.5, rows - 0.5])}
    figure.add_trace(go.Scatter(**ends, mode="lines", line=style, hovertemplate=hover, **marks.named(text, first)), **place)


def _rows(frame: pd.DataFrame) -> list[str]:
    """The expert and its mean gate over all domains ("all" where the table has it)."""
    whole = frame[frame["domain"] == "all"] if (frame["domain"] == "all").any() else frame
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
    part = frame.dropna(subset=["value"])
    if part.empty:
        return "No expert could be taken out."
    helps, harms = part[part["low"] > 0], part[part["high"] < 0]
    top = (helps if len(helps) else part).pipe(lambda rows: rows.loc[rows["value"].idxmax()])
    where = "over all domains" if top["domain"] == "all" else f"in domain “{top['domain']}”"
    span = f"{number(top['value'])} [{number(top['low'])}, {number(top['high'])}]"
    which = f"expert {top['expert']} of router “{top['router']}” ({top['modality']})"
    by_chance = 0.05 * len(part)
    counted = f"{len(helps) + len(harms)} of {len(part)} intervals exclude zero (chance alone gives about {by_chance:.0f})"
    if helps.empty:
        return f"No expert is worth more than chance in any domain; the largest change is that of {which}, {span} {where}; {counted}."
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
    "What each expert is worth, by domain",
    "Each dot is the error with the expert's gate set to zero (the others share its weight) minus the error with it: right of the line the "
    "expert helps. An interval that crosses the line says no more than chance.",
)
