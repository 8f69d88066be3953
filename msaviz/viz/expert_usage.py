"""Which expert works for which modality, domain or label group?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz.grid import panels, row_height
from msaviz.viz.theme import safes, short
from msaviz.viz.view import View
from msaviz.viz.words import chosen, label, percent, sentence, unique

NEEDS = ("run", "router", "modality", "expert", "by", "group", "metric", "value")
MEANING = {"gate": "mean gate", "selected": "share of tokens that select it", "top": "share of tokens that prefer it"}


def draw(frame: pd.DataFrame, *, by: str | None = None, metric: str = "gate") -> go.Figure:
    """A heat map a router: rows are modality and group, columns experts, the share is written into each cell."""
    frame = _part(frame, by, metric)
    routers = unique(label(frame, "run", "router"))
    frame = frame.assign(panel=label(frame, "run", "router"), row=_rows(frame))
    deepest = frame.groupby("panel")["row"].nunique().max()
    figure, places = panels([f"router {router}" for router in routers], columns=2, labels=frame["row"], height=row_height(deepest))
    for router, place in zip(routers, places, strict=True):
        part = frame[frame["panel"] == router]
        table = part.pivot_table(index="row", columns="expert", values="value", sort=False)
        heat = go.Heatmap(
            z=short(table.to_numpy()),
            x=safes(table.columns),
            y=safes(table.index),
            coloraxis="coloraxis",
            texttemplate="%{z:.2f}" if table.shape[1] <= 12 else None,
            xgap=2,
            ygap=2,
            hovertemplate=f"%{{y}}<br>expert %{{x}}<br>{MEANING[metric]} %{{z:.3f}}<extra></extra>",
        )
        figure.add_trace(heat, **place)
        figure.update_xaxes(title_text="expert", type="category", showgrid=False, **place)
        figure.update_yaxes(autorange="reversed", type="category", showgrid=False, **place)
    figure.update_coloraxes(
        cmin=0,
        cmax=max(0.5, float(frame["value"].max())),
        colorbar={"title": MEANING[metric], "tickformat": ".1f"},
    )
    return figure


def _rows(frame: pd.DataFrame) -> pd.Series:
    """Modality and group; the group says nothing where there is only one."""
    return frame["modality"] if frame["group"].nunique() == 1 else frame["modality"] + " · " + frame["group"]


def _part(frame: pd.DataFrame, by: str | None, metric: str) -> pd.DataFrame:
    """The rows of one grouping; without a wish: by domain where there are several, else over everything."""
    kinds = unique(frame["by"])
    if by is None:
        several = "domain" in kinds and frame.loc[frame["by"] == "domain", "group"].nunique() > 1
        by = "domain" if several else "all" if "all" in kinds else str(kinds[0])
    chosen(by, kinds, "grouping")
    chosen(metric, unique(frame["metric"]), "metric")
    return frame[(frame["by"] == by) & (frame["metric"] == metric)]


@sentence
def read(frame: pd.DataFrame) -> str:
    part = _part(frame, None, "gate" if "gate" in set(frame["metric"]) else str(frame["metric"].iloc[0]))
    keys = ["run", "router", "modality", "expert"]
    even = percent(1 / part["expert"].nunique())
    if part["group"].nunique() == 1:
        best = part.loc[part["value"].idxmax()]
        who = f"{best['modality']} for expert {best['expert']} of router “{best['router']}”"
        return (
            f"The strongest preference is that of {who}: it gets {percent(best['value'])} of the weight (an even split would give {even})."
        )
    spread = part.groupby(keys, sort=False)["value"].agg(["min", "max"])
    found = (spread["max"] - spread["min"]).idxmax()
    rows = part.set_index(keys).sort_index().loc[[found]].set_index("group")["value"]
    _, router, modality, expert = found
    return (
        f"By {part['by'].iloc[0]}, router “{router}” changes most for {modality}: expert {expert} gets {percent(rows.max())} of the weight "
        f"for “{rows.idxmax()}” and {percent(rows.min())} for “{rows.idxmin()}” (an even split would give {even})."
    )


VIEW = View(
    "expert_usage",
    NEEDS,
    draw,
    read,
    "Expert usage",
    "Each row adds up to 1. Rows that look alike mean that the router does not tell these groups apart; an even row means that it does "
    "not choose.",
    known=("value",),
)
