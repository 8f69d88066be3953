"""How far apart do the domains lie in each representation?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.grid import legend_below, panels, row_height
from msaviz.viz.view import View
from msaviz.viz.words import chosen, first_of, label, number, sentence, unique

NEEDS = ("run", "representation", "domain", "other", "metric", "value", "floor")
MEANING = {
    "proxy_a_distance": "proxy A-distance",
    "mmd": "squared MMD",
    "coral": "CORAL distance",
    "mixing": "mixing of neighbours",
    "silhouette": "silhouette of the domains",
}
SCALE = {"proxy_a_distance": "0 = alike, 2 = told apart", "mixing": "1 = mixed, 0 = apart"}
ENDS = {"proxy_a_distance": (0.0, 2.0), "mixing": (0.0, 1.0)}


def draw(frame: pd.DataFrame, *, metric: str | Sequence[str] | None = None) -> go.Figure:
    """A dot a pair of domains beside the grey tick of its floor, a symbol a run.

    One `metric` (proxy A-distance without a wish): a panel a representation, on a common scale. Several of them: a panel
    a metric, whose rows are the pairs in every representation.
    """
    wanted = _metrics(frame, metric)
    frame = frame[frame["metric"].isin(wanted)].assign(pair=_pair(frame))
    one = len(wanted) == 1
    frame = frame.assign(panel=frame["representation" if one else "metric"], row=frame["pair"] if one else _where(frame))
    titles, names, runs = unique(frame["panel"]) if one else wanted, unique(frame["row"]), unique(frame["run"])
    height = row_height(len(names) * (1 + len(runs) / 4), each=20)
    figure, places = panels(titles if one else [""] * len(titles), shared_yaxes=True, height=height)
    for title, place in zip(titles, places, strict=True):
        part, first = frame[frame["panel"] == title], place == places[0]
        key = wanted[0] if one else title
        floor = part.groupby("row", sort=False)["floor"].mean()
        marks.ticks(figure, floor, floor.index, names, "chance", place, first)
        for i, run in enumerate(runs):
            rows = part[part["run"] == run]
            marks.dots(figure, rows.assign(low=rows["value"], high=rows["value"]), rows["row"], names, run, i, len(runs), place, first)
        bottom = places.index(place) + max(p["col"] for p in places) >= len(places)
        title_text = _axis(key) if bottom or not one else None
        figure.update_xaxes(range=_range(frame[frame["metric"] == key], key), title_text=title_text, **place)
        marks.rows_axis(figure, names, place)
    return legend_below(figure, room=20)


def _metrics(frame: pd.DataFrame, metric: str | Sequence[str] | None) -> list[str]:
    known = unique(frame["metric"])
    asked = [first_of(known, list(MEANING))] if metric is None else [metric] if isinstance(metric, str) else metric
    return [str(chosen(one, known, "metric")) for one in asked]


def _pair(frame: pd.DataFrame) -> pd.Series:
    return frame["domain"].astype(str) + " – " + frame["other"].astype(str)


def _where(frame: pd.DataFrame) -> pd.Series:
    return label(frame.assign(pair=_pair(frame)), "representation", "pair")


def _axis(metric: str) -> str:
    name = MEANING.get(metric, metric.replace("_", " "))
    return f"{name}<br>[{SCALE[metric]}]" if metric in SCALE else name


def _range(part: pd.DataFrame, metric: str) -> list[float]:
    """From the end of the metric's scale to its other end, or as far as the numbers go."""
    low, high = ENDS.get(metric, (0.0, 0.0))
    low, high = min(low, float(part[["value", "floor"]].min().min())), max(high, float(part[["value", "floor"]].max().max()))
    room = 0.05 * (high - low) or 0.05
    return [low - room, high + room]


@sentence
def read(frame: pd.DataFrame) -> str:
    metric = _metrics(frame, None)[0]
    part = frame[(frame["metric"] == metric) & frame["value"].notna()]
    if part.empty:
        return "No pair of domains could be compared."
    sign = -1 if metric == "mixing" else 1  # of this one, less is more gap
    gap, beyond = sign * part["value"], sign * part["value"] > sign * part["floor"]
    top = part.loc[gap.idxmax()]
    where = (
        f"“{top['domain']}” and “{top['other']}” in “{top['representation']}” ({number(top['value'], 2)}, chance {number(top['floor'], 2)})"
    )
    if not beyond.any():
        return f"By {MEANING.get(metric, metric)} no pair of domains is further apart than chance; the widest gap is that of {where}."
    text = f"By {MEANING.get(metric, metric)}, {int(beyond.sum())} of {len(part)} pairs of domains are further apart than chance"
    text += f", most of all {where}"
    mean = gap.groupby(part["representation"], sort=False).mean()
    if number(mean.max(), 2) != number(mean.min(), 2):
        far, near = (f"“{name}” ({number(sign * mean[name], 2)})" for name in (mean.idxmax(), mean.idxmin()))
        text += f"; on average {far} holds the domains furthest apart and {near} closest"
    return f"{text}."


VIEW = View(
    "domain_gap",
    NEEDS,
    draw,
    read,
    "Gap between the domains",
    "The grey tick is the 95 % quantile under permuted domains (for mixing the 5 % quantile, since less is more gap). A dot that does not "
    "pass it says no more than chance: a line cannot tell the two domains apart there.",
)
