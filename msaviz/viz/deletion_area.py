"""By how much does the order of each attribution beat a random one?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.attributed import said, series, subtitled
from msaviz.viz.deletion_curve import hidden
from msaviz.viz.grid import legend_below, panels, row_height
from msaviz.viz.view import View
from msaviz.viz.words import listed, number, sentence, unique

NEEDS = (
    *("run", "split", "method", "baseline", "routing", "hidden", "kind"),
    *("area", "area_low", "area_high", "random_area", "gain", "gain_low", "gain_high", "utterances"),
)


def draw(frame: pd.DataFrame) -> go.Figure:
    """Left the area of each method with its 95 % interval and a grey tick for a random order, right the paired gain over that."""
    rows, kinds = _whole(frame), unique(frame["kind"])
    names = unique(rows["line"])
    titles = ["distance from the whole prediction (mean over fractions)", "gain over a random order (> 0: better)"]
    figure, places = panels(titles, columns=2, labels=names, height=row_height(len(names), each=44))
    for i, kind in enumerate(kinds):
        part = rows[rows["kind"] == kind]
        area = part.assign(value=part["area"], low=part["area_low"], high=part["area_high"])
        marks.dots(figure, area, part["line"], names, kind, i, len(kinds), places[0], True)
        control = part.assign(**dict.fromkeys(("value", "low", "high"), part["random_area"]))
        marks.dots(figure, control, part["line"], names, "random order", i, len(kinds), places[0], i == 0)
        figure.data[-1].marker = {**marks.TICK, "size": 14}  # type: ignore[index]
        gain = part.assign(value=part["gain"], low=part["gain_low"], high=part["gain_high"])
        marks.dots(figure, gain, part["line"], names, kind, i, len(kinds), places[1], False)
    for place in places:
        marks.rows_axis(figure, names, place)
    figure.update_xaxes(rangemode="tozero", **places[0])
    figure.add_vline(x=0, line_width=1.5, line_color=marks.GREY, **places[1])
    return subtitled(legend_below(figure), said(frame), hidden(frame))


def _whole(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for each curve, named by its `line`."""
    return frame.assign(line=series(frame)).drop_duplicates(["line", "kind"])


@sentence
def read(frame: pd.DataFrame) -> str:
    rows, told = _whole(frame), []
    for kind in unique(rows["kind"]):
        part = rows[rows["kind"] == kind]
        best, better = part.loc[part["gain"].idxmax()], part[part["gain_low"] > 0]
        worse = part[part["gain_high"] < 0]
        text = f"by {kind} {len(better)} of {len(part)} methods beat a random order beyond chance"
        text += f" and {len(worse)} fall{'s' * (len(worse) == 1)} behind it" if len(worse) else ""
        text += f", most of all “{best['line']}” by " if len(better) else ", the best is “" + str(best["line"]) + "” with "
        told.append(f"{text}{number(best['gain'])} [{number(best['gain_low'])}, {number(best['gain_high'])}]")
    return f"Over {int(rows['utterances'].min())} utterances, {listed(told)}."


VIEW = View(
    "deletion_curve",
    NEEDS,
    draw,
    read,
    "Is the order of the attribution better than a random one?",
    "By deletion a good order moves the prediction far (large area), by insertion it keeps it close (small area); the gain is the paired "
    "difference to random orders of the same utterances, turned so that more than 0 is better. Intervals are 95 %.",
    known=("gain",),
)
