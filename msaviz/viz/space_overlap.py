"""Do the private and shared spaces stay apart?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz.grid import panels
from msaviz.viz.theme import safes, short
from msaviz.viz.view import View
from msaviz.viz.words import chosen, first_of, number, sentence, unique

NEEDS = ("run", "representation", "other", "metric", "value", "floor")
MEANING = {
    "cosine": "squared cosine",
    "cka": "linear CKA",
    "hsic": "normalised HSIC",
    "angle_max": "largest cosine of the principal angles",
    "angle_mean": "mean cosine of the principal angles",
}


def draw(frame: pd.DataFrame, *, metric: str | None = None) -> go.Figure:
    """An annotated heat map of one measure a run; ● marks a pair beyond its floor of chance."""
    metric = _metric(frame, metric)
    runs = unique(frame["run"])
    figure, places = panels([str(run) for run in runs], columns=2, height=400, labels=frame["representation"])
    for run, place in zip(runs, places, strict=True):
        part = frame[(frame["run"] == run) & (frame["metric"] == metric)]
        both = pd.concat([part, part.rename(columns={"representation": "other", "other": "representation"})])
        names = unique(both["representation"])
        value, floor = (
            both.pivot_table(index="representation", columns="other", values=name, dropna=False).reindex(index=names, columns=names)
            for name in ("value", "floor")
        )
        text = [
            ["" if pd.isna(v) else f"{number(v, 2)}{' ●' if v > f else ''}" for v, f in zip(*row, strict=True)]
            for row in zip(value.to_numpy(), floor.to_numpy(), strict=True)
        ]
        figure.add_trace(
            go.Heatmap(
                z=short(value.to_numpy()),
                x=safes(names),
                y=safes(names),
                text=text,
                customdata=short(floor.to_numpy()),
                texttemplate="%{text}",
                coloraxis="coloraxis",
                xgap=2,
                ygap=2,
                hoverongaps=False,
                hovertemplate="%{y} and %{x}<br>%{z:.3f}, chance (95 %) %{customdata:.3f}<extra></extra>",
            ),
            **place,
        )
        figure.update_xaxes(type="category", showgrid=False, **place)
        figure.update_yaxes(type="category", showgrid=False, autorange="reversed", **place)
    figure.update_coloraxes(cmin=0, cmax=1, colorbar={"title": MEANING.get(metric, metric)})
    return figure


def _metric(frame: pd.DataFrame, metric: str | None) -> str:
    known = unique(frame["metric"])
    return str(chosen(metric, known, "metric") if metric else first_of(known, ("cka", "cosine", "hsic")))


@sentence
def read(frame: pd.DataFrame) -> str:
    metric = _metric(frame, None)
    part = frame[(frame["metric"] == metric) & frame["value"].notna()]
    if part.empty:
        return "No pair of representations could be compared."
    above = part[part["value"] > part["floor"]]
    top = part.loc[part["value"].idxmax()]
    mixed = part[part["representation"].str.split("/").str[0] != part["other"].str.split("/").str[0]]
    apart = f"; shared against private is {number(mixed['value'].mean(), 2)} on average" if len(mixed) else ""
    return (
        f"By {MEANING.get(metric, metric)}, “{top['representation']}” and “{top['other']}” overlap most ({number(top['value'], 2)}, "
        f"chance {number(top['floor'], 2)}){apart}; {len(above)} of {len(part)} pairs exceed chance."
    )


VIEW = View(
    "space_overlap",
    NEEDS,
    draw,
    read,
    "Overlap of shared and private spaces",
    "0 = nothing in common, 1 = the same up to rotation. ● marks pairs beyond the 95 % quantile of chance. Well separated: dark among the "
    "shared, pale between shared and private.",
)
