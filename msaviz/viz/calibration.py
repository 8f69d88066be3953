"""Is a prediction of +1 worth +1 in each domain?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.grid import legend_below, panels
from msaviz.viz.theme import GREY, colour, dash, short, symbol
from msaviz.viz.view import View
from msaviz.viz.words import listed, number, sentence, unique

NEEDS = ("run", "domain", "bin", "predicted", "observed", "low", "high", "examples", "slope", "error")


def draw(frame: pd.DataFrame) -> go.Figure:
    """A panel a domain, a line a run through the mean label of each bin of predictions, with 95 % intervals.

    The dashed diagonal is a perfect prediction; with one run, its slope and calibration error stand in the title.
    """
    runs, domains = unique(frame["run"]), unique(frame["domain"])
    frame = frame.sort_values("bin", kind="stable")
    figure, places = panels([_title(frame, domain, len(runs)) for domain in domains], columns=3, height=310)
    numbers = frame[["predicted", "observed", "low", "high"]]
    low, high = float(numbers.min().min()), float(numbers.max().max())
    room = 0.04 * (high - low) or 0.05
    span = [low - room, high + room]
    for domain, place in zip(domains, places, strict=True):
        first = place == places[0]
        style = {"color": GREY, "dash": "dash", "width": 1.5}
        diagonal = {"x": short(span), "y": short(span), "mode": "lines", "line": style, "hoverinfo": "skip"}
        figure.add_trace(go.Scatter(**diagonal, **marks.named(f"{_what(frame)[1]} = {_what(frame)[0]}", first)), **place)
        for i, run in enumerate(runs):
            rows = frame[(frame["domain"] == domain) & (frame["run"] == run)]
            _curve(figure, rows, str(run), i, place, first)
        bottom = places.index(place) + max(p["col"] for p in places) >= len(places)
        figure.update_xaxes(range=span, title_text=_axis(frame, 0) if bottom else None, **place)
        figure.update_yaxes(range=span, title_text=_axis(frame, 1) if place["col"] == 1 else None, **place)
    return legend_below(figure)


def _curve(figure: go.Figure, rows: pd.DataFrame, run: str, i: int, place: dict[str, int], first: bool) -> None:
    above, below = (short((rows[a] - rows[b]).clip(lower=0).fillna(0)) for a, b in (("high", "observed"), ("observed", "low")))
    figure.add_trace(
        go.Scatter(
            x=short(rows["predicted"]),
            y=short(rows["observed"]),
            mode="lines+markers",
            line={"color": colour(i), "dash": dash(i), "width": 1.5},
            marker={"color": colour(i), "symbol": symbol(i), "size": 7},
            error_y={"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1.2, "width": 3},
            text=[f"{count} utterances" for count in rows["examples"]],
            hovertemplate="%{x:.2f} predicted, %{y:.2f} observed<br>%{text}<extra></extra>",
            **marks.named(run, first),
        ),
        **place,
    )


def _classes(frame: pd.DataFrame) -> bool:
    """Of classes the confidence is compared with the accuracy, which has no slope."""
    return bool(frame["slope"].isna().all())


def _what(frame: pd.DataFrame) -> tuple[str, str]:
    return ("confidence", "accuracy") if _classes(frame) else ("prediction", "label")


def _axis(frame: pd.DataFrame, side: int) -> str:
    return f"{'' if _classes(frame) and side else 'mean '}{_what(frame)[side]}{' [share]' if _classes(frame) else ' [label units]'}"


def _title(frame: pd.DataFrame, domain: str, runs: int) -> str:
    rows = frame[frame["domain"] == domain]
    if runs > 1:
        return str(domain)
    slope = "" if _classes(frame) else f"slope {number(rows['slope'].iloc[0], 2)}, "
    return f"{domain} ({slope}error {number(rows['error'].iloc[0], 2)})"


@sentence
def read(frame: pd.DataFrame) -> str:
    part = frame[frame["run"] == frame["run"].iloc[0]]
    of = part.groupby("domain", sort=False)[["slope", "error"]].first()
    groups = of.drop(index="all", errors="ignore").dropna(subset=["error"])
    groups = groups if len(groups) else of
    worst, best = groups["error"].idxmax(), groups["error"].idxmin()
    text = f"The calibration error is {number(groups.loc[best, 'error'], 2)} in “{best}”"
    text += f" and {number(groups.loc[worst, 'error'], 2)} in “{worst}”" if worst != best else ""
    if not _classes(part):
        slopes = [f"{number(slope, 2)} {'over all' if domain == 'all' else f'in “{domain}”'}" for domain, slope in of["slope"].items()]
        text += f"; a prediction one unit higher is worth {listed(slopes)}"
    bins = part[part["domain"] != "all"].dropna(subset=["low", "high"])
    bins = bins if len(bins) else part.dropna(subset=["low", "high"])
    off = int(((bins["predicted"] < bins["low"]) | (bins["predicted"] > bins["high"])).sum())
    verdict = "no more than chance" if off <= 0.05 * len(bins) else f"chance alone gives about {0.05 * len(bins):.0f}"
    return f"{text}; {off} of {len(bins)} bins miss the diagonal with their interval ({verdict})."


VIEW = View(
    "calibration",
    NEEDS,
    draw,
    read,
    "Calibration by domain",
    "Each point is an equal share of the utterances (a tenth or more), sorted by prediction. On the diagonal a prediction means what it "
    "says; a flat curve (slope below 1) exaggerates, a steep one hedges; a curve that lies apart as a whole is a bias of that domain.",
    known=("error",),
)
