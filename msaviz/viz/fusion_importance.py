"""Which contributor does the fusion rely on, and does that change as parts go missing?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.grid import floor_line, legend_below, panels
from msaviz.viz.theme import colour, hatch, safe, safes, short
from msaviz.viz.view import View
from msaviz.viz.words import chosen, number, percent, sentence, unique

NEEDS = ("run", "rate", "domain", "expert", "value", "standard_error", "floor")


def draw(frame: pd.DataFrame, *, domain: str | None = None) -> go.Figure:
    """Lines over the missing rate where the frame holds several rates, else bars; a panel a run.

    `domain`: one of the frame's; without it "all" for lines, and every domain side by side for bars.
    """
    runs = unique(frame["run"])
    several = frame["rate"].nunique() > 1
    if domain is not None:
        chosen(domain, unique(frame["domain"]), "domain")
        frame = frame[frame["domain"] == domain]
    elif several:
        frame = frame[frame["domain"] == "all"]
    figure, places = panels([str(run) for run in runs], columns=2, shared_yaxes=True)
    for run, place in zip(runs, places, strict=True):
        part = frame[frame["run"] == run]
        (_lines if several else _bars)(figure, part, place, place == places[0])
        floor_line(figure, float(part["floor"].iloc[0]), "even", place)
        figure.update_yaxes(rangemode="tozero", title_text="importance [share]" if place["col"] == 1 else None, **place)
    return legend_below(figure, room=0 if several else 15)


def _lines(figure: go.Figure, part: pd.DataFrame, place: dict[str, int], legend: bool) -> None:
    for i, expert in enumerate(unique(part["expert"])):
        line = part[part["expert"] == expert].sort_values("rate")
        error = {"array": short(line["standard_error"].fillna(0)), "thickness": 1}
        marks.line(figure, line["rate"], line["value"], expert, i, place, legend, error_y=error, hovertemplate="rate %{x:.1f}: %{y:.3f}")
    figure.update_xaxes(title_text="missing rate [share of steps]", **place)


def _bars(figure: go.Figure, part: pd.DataFrame, place: dict[str, int], legend: bool) -> None:
    domains = unique(part["domain"])
    for i, domain in enumerate(domains):
        bars = part[part["domain"] == domain]
        figure.add_trace(
            go.Bar(
                x=safes(bars["expert"]),
                y=short(bars["value"]),
                error_y={"array": short(bars["standard_error"].fillna(0)), "thickness": 1.2},
                name=safe("all domains" if domain == "all" else domain),
                legendgroup=safe(domain),
                showlegend=legend and len(domains) > 1,
                marker={"color": colour(i), "pattern": hatch(i)},
                hovertemplate="%{x}: %{y:.3f}",
            ),
            **place,
        )
    figure.update_xaxes(type="category", title_text="contributor", **place)


@sentence
def read(frame: pd.DataFrame) -> str:
    part = frame[(frame["domain"] == "all") & (frame["run"] == frame["run"].iloc[0])]
    low, high = part["rate"].min(), part["rate"].max()
    start = part[(part["rate"] == low) | part["rate"].isna()].set_index("expert")
    best, least = start["value"].idxmax(), start["value"].idxmin()
    where = f"At missing rate {number(low, 1)} the" if pd.notna(low) and low != high else "The"
    error = number(100 * start.loc[best, "standard_error"], 1)
    text = (
        f"{where} fusion relies most on “{best}” ({percent(start.loc[best, 'value'])}, standard error {error} points) and least on "
        f"“{least}” ({percent(start.loc[least, 'value'])}); an even split would give each {percent(start['floor'].iloc[0])}"
    )
    if pd.notna(low) and low != high:
        end = part[part["rate"] == high].set_index("expert")["value"]
        text += (
            f"; at rate {number(high, 1)} “{best}” has {percent(end[best])} and the largest is “{end.idxmax()}” with {percent(end.max())}"
        )
    return f"{text}."


VIEW = View(
    "fusion_importance",
    NEEDS,
    draw,
    read,
    "Importance of each contributor in the fusion",
    "Mean weight of each contributor, with one standard error over utterances. Weights add up to 1 and are exactly 0 for an absent "
    "modality.",
    known=("value",),
)
