"""What does the choice of expert tell, beyond chance?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.grid import legend_below, panels, row_height
from msaviz.viz.theme import GREY, safes, short
from msaviz.viz.view import View
from msaviz.viz.words import label, listed, number, sentence, unique

NEEDS = ("run", "router", "modality", "variable", "value", "chance", "low", "high", "p")
CHANCE = "chance (mean and 95 % of permutations)"
LEVEL = 0.05


def draw(frame: pd.DataFrame) -> go.Figure:
    """A panel a variable, a row a router and modality: the mutual information as a dot, chance as a grey tick with its 95 % interval."""
    frame = frame.dropna(subset=["value"])
    frame = frame.assign(row=_rows(frame))
    variables = unique(frame["variable"])
    most = frame.groupby("variable").size().max()
    titles = [f"knows the {variable} [nats]" for variable in variables]
    figure, places = panels(titles, columns=2, labels=frame["row"], height=row_height(most, each=24))
    for title, variable, place in zip(titles, variables, places, strict=True):
        part, first = frame[frame["variable"] == variable], place == places[0]
        names = unique(part["row"])
        _chance(figure, part, names, place, first)
        found = part.assign(low=part["value"], high=part["value"])
        marks.dots(figure, found, part["row"], names, "mutual information", 0, 1, place, first)
        top = max(float(part[["value", "high"]].max().max()), 0.01)
        figure.update_xaxes(range=[-0.04 * top, 1.1 * top], title_text=title if len(variables) == 1 else None, **place)
        marks.rows_axis(figure, names, place)
    return legend_below(figure)


def _rows(frame: pd.DataFrame) -> pd.Series:
    """The router and its modality, the run only where it tells something."""
    names = frame["router"] + " · " + frame["modality"]
    return label(frame.assign(name=names), "run", "name")


def _chance(figure: go.Figure, part: pd.DataFrame, names: list, place: dict[str, int], first: bool) -> None:
    above, below = (short((part[a] - part[b]).clip(lower=0)) for a, b in (("high", "chance"), ("chance", "low")))
    error = {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "color": GREY, "thickness": 5, "width": 0}
    hover = "%{text}: chance %{x:.4f}<extra></extra>"
    options = {
        "mode": "markers",
        "marker": {**marks.TICK, "size": 12},
        "error_x": error,
        "text": safes(part["row"]),
        "hovertemplate": hover,
    }
    y = short([names.index(row) for row in part["row"]])
    figure.add_trace(go.Scatter(x=short(part["chance"]), y=y, **options, **marks.named(CHANCE, first)), **place)


@sentence
def read(frame: pd.DataFrame) -> str:
    said = []
    for variable in unique(frame["variable"]):
        part = frame[frame["variable"] == variable].dropna(subset=["value"]).reset_index(drop=True)
        sure = part[part["p"] < LEVEL]
        best = part.loc[(part["value"] - part["chance"]).idxmax()]
        how = f"{number(best['value'])} nats, chance {number(best['chance'])}, p = {number(best['p'])}"
        said.append(f"the {variable} in {len(sure)} of {len(part)} routers (most: “{best['router']}” ({best['modality']}) {how})")
    tests = int(frame["p"].notna().sum())
    by_chance = f"of {tests} such tests about {LEVEL * tests:.0f} would pass by chance"
    return f"At p < {LEVEL}, the choice of expert tells {listed(said)}; {by_chance}."


VIEW = View(
    "expert_information",
    NEEDS,
    draw,
    read,
    "What the choice of expert tells",
    "A dot right of the grey bar is more than 97.5 % of permutations give. Knowing is no virtue by itself: shared experts that know the "
    "domain are not shared.",
    known=("value", "chance"),
)
