"""From whom does the winner descend, and did each step of its ancestors help?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.grid import legend_below, panels
from msaviz.viz.theme import GREY, colour, safes, short
from msaviz.viz.view import View
from msaviz.viz.words import label, number, percent, sentence, unique

NEEDS = (
    *("run", "arm", "trial", "generation", "parent", "other", "crossed", "mutated", "changed"),
    *("error", "gain", "inherited", "ancestor"),
)


def draw(frame: pd.DataFrame) -> go.Figure:
    """A panel an arm: generation against error, a thin line from each parent to its child, a thick one along the winner's ancestors."""
    frame = frame.assign(panel=label(frame, "run", "arm"))
    titles = unique(frame["panel"])
    figure, places = panels([str(title) for title in titles], columns=1, height=440)
    for title, place in zip(titles, places, strict=True):
        part = frame[frame["panel"] == title].reset_index(drop=True)
        first = place == places[0]
        winners = part[part["ancestor"]]
        _edges(figure, part[~part["ancestor"]], part, "parent to child", {"color": GREY, "width": 0.8}, place, first)
        _edges(figure, winners, part, "line of the winner", {"color": colour(1), "width": 4}, place, first)
        style = {"symbol": "circle-open", "size": 8, "color": colour(0), "line": {"width": 1.5}}
        _nodes(figure, part[~part["ancestor"]], "trial", style, place, first)
        _nodes(figure, winners, "ancestor of the winner", {"symbol": "diamond", "size": 11, "color": colour(1)}, place, first)
        last = int(part["generation"].max())
        figure.update_xaxes(title_text="generation", dtick=max(1, last // 12), range=[-0.4, last + 0.6], zeroline=False, **place)
        low, high = float(part["error"].min()), float(part["error"].max())
        room = (high - low) or 0.1
        span = [low - 0.15 * room, high + 0.06 * room]  # the winner's name stands below it
        figure.update_yaxes(title_text="validation error ↓", zeroline=False, range=span, **place)
        _name_winner(figure, winners, place)
    return legend_below(figure)


def _edges(
    figure: go.Figure, children: pd.DataFrame, everyone: pd.DataFrame, name: str, line: dict, place: dict[str, int], first: bool
) -> None:
    """One trace for all lines; a gap after each."""
    parents = everyone.set_index("trial")[["generation", "error"]].astype(float).reindex(children["parent"]).to_numpy()
    ends = children[["generation", "error"]].to_numpy(float)
    known = np.isfinite(parents).all(1) & np.isfinite(ends).all(1)
    if known.any():
        gap = np.full_like(ends[known], np.nan)
        points = np.stack([parents[known], ends[known], gap], axis=1).reshape(-1, 2)
        style = {"mode": "lines", "line": line, "hoverinfo": "skip", **marks.named(name, first)}
        figure.add_trace(go.Scatter(x=short(points[:, 0]), y=short(points[:, 1]), **style), **place)


def _nodes(figure: go.Figure, rows: pd.DataFrame, name: str, marker: dict, place: dict[str, int], first: bool) -> None:
    style = {"mode": "markers", "marker": marker, "text": safes(_told(row) for row in rows.itertuples()), **marks.named(name, first)}
    figure.add_trace(
        go.Scatter(x=short(rows["generation"]), y=short(rows["error"]), hovertemplate="%{text}<extra></extra>", **style), **place
    )


def _told(row: object) -> str:
    """What the hover says of a trial."""
    trial, error, parent, other, changed, gain, inherited = (
        getattr(row, name) for name in ("trial", "error", "parent", "other", "changed", "gain", "inherited")
    )
    text = f"trial {trial}, error {number(error)}"
    if parent < 0:
        return f"{text}, no parent"
    crossed = f", crossed with trial {other}" if other >= 0 else ""
    return f"{text}, child of trial {parent}{crossed}: {changed}; gain {number(gain)}, {percent(inherited)} of the weights inherited"


def _name_winner(figure: go.Figure, winners: pd.DataFrame, place: dict[str, int]) -> None:
    if winners["error"].notna().any():
        best = winners.loc[winners["error"].idxmin()]
        text = f"trial {best['trial']}: {number(best['error'])}"
        arrow = {"ax": 0, "ay": 20, "showarrow": True, "arrowhead": 0, "arrowcolor": GREY, "yanchor": "top"}
        figure.add_annotation(x=int(best["generation"]), y=float(best["error"]), text=text, font_size=13, **arrow, **place)


@sentence
def read(frame: pd.DataFrame) -> str:
    frame = frame.assign(panel=label(frame, "run", "arm"))
    part = frame[frame["panel"] == frame["panel"].iloc[0]]
    children = part[part["gain"].notna()]
    better = percent(float((children["gain"] > 0).mean())) if len(children) else "n/a"
    winners = part[part["ancestor"]].sort_values("generation")
    if winners["error"].isna().all():
        return f"No trial of “{part['panel'].iloc[0]}” was trained to the end; {better} of {len(children)} children beat their parent."
    best, steps = winners.loc[winners["error"].idxmin()], winners.dropna(subset="gain")
    text = f"The winner, trial {best['trial']} of “{part['panel'].iloc[0]}”, has error {number(best['error'])}"
    if steps.empty:
        return f"{text} and no parent; {better} of {len(children)} children beat their parent."
    start, top = winners.iloc[0], steps.loc[steps["gain"].idxmax()]
    return (
        f"{text} after {len(steps)} step{'s' * (len(steps) > 1)} from trial {start['trial']} ({number(start['error'])}); its largest step, "
        f"{number(top['gain'])}, was trial {top['trial']} ({top['changed']}), and {better} of {len(children)} children beat their parent."
    )


VIEW = View(
    "lineage",
    NEEDS,
    draw,
    read,
    "Lineage",
    "A child begins with its parent's genes and, where shapes allow, its weights, so that part of a gain is longer training rather than "
    "better genes: the winners are therefore trained from scratch. Point at a trial to see which genes changed.",
    known=("error",),
)
