"""Does a rule learnt in one domain hold in the others, and on which representation?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz.grid import panels
from msaviz.viz.theme import DIVERGING, safes, short
from msaviz.viz.view import View
from msaviz.viz.words import listed, number, sentence, unique

NEEDS = ("run", "representation", "domain", "other", "value", "floor")
WRITTEN = 8
"""Domains up to which numbers find room in the cells."""


def draw(frame: pd.DataFrame) -> go.Figure:
    """A heat map for each representation: learnt in the row's domain, tested in the column's; * marks what is beyond chance."""
    runs = unique(frame["run"])
    keys = [(run, name) for run in runs for name in unique(frame.loc[frame["run"] == run, "representation"])]
    titles = [name if len(runs) == 1 else f"{run} · {name}" for run, name in keys]
    figure, places = panels(titles, columns=3, height=290, labels=unique(frame["domain"]))
    for (run, name), place in zip(keys, places, strict=True):
        part = frame[(frame["run"] == run) & (frame["representation"] == name)]
        _heat(figure, part, place)
    bar = {"title": "correlation with the label", "tickformat": ".1f"}
    figure.update_coloraxes(cmin=-0.8, cmax=0.8, colorscale=DIVERGING, colorbar=bar)
    return figure


def _heat(figure: go.Figure, part: pd.DataFrame, place: dict[str, int]) -> None:
    names = unique(part["domain"])
    value, floor = (part.pivot(index="domain", columns="other", values=column).loc[names, names] for column in ("value", "floor"))
    text = [[f"{number(value.loc[a, b], 2)}{'*' * bool(value.loc[a, b] > floor.loc[a, b])}" for b in names] for a in names]
    figure.add_trace(
        go.Heatmap(
            z=short(value.to_numpy()),
            x=safes(names),
            y=safes(names),
            text=text if len(names) <= WRITTEN else None,
            texttemplate="%{text}" if len(names) <= WRITTEN else None,
            coloraxis="coloraxis",
            xgap=2,
            ygap=2,
            hovertemplate="learnt in %{y}, tested in %{x}: %{z:.3f}<extra></extra>",
        ),
        **place,
    )
    figure.update_xaxes(type="category", showgrid=False, title_text="tested in", **place)
    figure.update_yaxes(type="category", showgrid=False, autorange="reversed", title_text="learnt in", **place)


@sentence
def read(frame: pd.DataFrame) -> str:
    away = frame[frame["domain"] != frame["other"]]
    home = frame[frame["domain"] == frame["other"]].groupby("representation", sort=False)["value"].mean()
    mean = away.groupby("representation", sort=False)["value"].mean()
    best, worst = mean.idxmax(), mean.idxmin()
    text = f"What “{best}” says of the label carries over best: {number(mean[best], 2)} in other domains, {number(home[best], 2)} at home"
    if best != worst:
        text += f"; “{worst}” carries over worst ({number(mean[worst], 2)}, {number(home[worst], 2)} at home)"
    no_more = [str(name) for name, part in away.groupby("representation", sort=False) if (part["value"] <= part["floor"]).all()]
    return f"{text}; {f'no more than chance between any two domains: {listed(no_more)}' if no_more else 'each beats chance somewhere'}."


VIEW = View(
    "domain_transfer",
    NEEDS,
    draw,
    read,
    "Do rules carry over between domains?",
    "Correlation with the label, in the column's domain, of a linear rule learnt in the row's alone (* beyond chance, 95 %). The diagonal "
    "is cross-validated. What is good on the diagonal and 0 or negative beside it holds at home only.",
)
