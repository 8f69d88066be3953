"""Towards which values of its genes did the population move?"""

from __future__ import annotations

import textwrap

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz.grid import panels, row_height
from msaviz.viz.theme import GREY, safe, safes, short
from msaviz.viz.view import View
from msaviz.viz.words import chosen, label, listed, number, percent, sentence, unique

NEEDS = ("run", "arm", "generation", "gene", "value", "share", "trials")
MOST = 8
WORDS = {"True": "used", "False": "not used"}
"""Of the parts of a set, and of switches."""


def draw(frame: pd.DataFrame, *, arm: str | None = None) -> go.Figure:
    """A heat map a gene, those that moved most first and at most eight: a row a value, a column a generation, the share in the cell.

    `arm`: one of the frame's; without it the first that has several generations. Genes that are not drawn are named below.
    """
    part = _arm(frame, arm)
    moves = _moves(part)
    varied = part[part["share"] > 0].groupby("panel")["value"].nunique() > 1
    shown = [name for name in moves.index if varied[name]][:MOST] or list(moves.index[:MOST])
    rest = [name for name in moves.index if name not in shown]
    rows = part.assign(value=_spoken(part["value"]))
    deepest = max(rows.loc[rows["panel"].isin(shown)].groupby("panel")["value"].nunique())
    titles = [f"{name} (moved {percent(moves[name])})" for name in shown]
    figure, places = panels(titles, columns=2, labels=rows["value"], height=row_height(deepest, each=24) - 20)
    several = part["generation"].nunique() <= 10
    for name, place in zip(shown, places, strict=True):
        table = rows[rows["panel"] == name].pivot_table(index="value", columns="generation", values="share", sort=False)
        heat = go.Heatmap(
            z=short(table.to_numpy()),
            x=safes(table.columns),
            y=safes(table.index),
            coloraxis="coloraxis",
            texttemplate="%{z:.0%}" if several else None,
            xgap=2,
            ygap=2,
            hovertemplate="%{y} in generation %{x}: %{z:.0%}<extra>" + safe(name) + "</extra>",
        )
        figure.add_trace(heat, **place)
        figure.update_xaxes(type="category", showgrid=False, title_text="generation", **place)
        figure.update_yaxes(type="category", showgrid=False, **place)
    figure.update_coloraxes(cmin=0, cmax=1, colorbar={"title": "share of the generation's trials", "tickformat": ".0%"})
    return _rest(figure, rest)


def _arm(frame: pd.DataFrame, arm: str | None) -> pd.DataFrame:
    known = unique(frame["arm"])
    if arm is None:
        several = frame.groupby("arm", sort=False)["generation"].nunique()
        arm = next((str(name) for name in known if several[name] > 1), str(known[0]))
    part = frame[frame["arm"] == chosen(arm, known, "arm")]
    return part.assign(panel=label(part, "run", "gene"))


def _moves(part: pd.DataFrame) -> pd.Series:
    """Gene -> share of the trials that would have to change between the first and the last generation; the largest first."""
    ends = part[(part["generation"] == part["generation"].min()) | (part["generation"] == part["generation"].max())]
    table = ends.pivot_table(index=["panel", "value"], columns="generation", values="share", sort=False).fillna(0)
    moved = (table.iloc[:, -1] - table.iloc[:, 0]).abs().groupby(level="panel", sort=False).sum() / 2
    return moved.sort_values(ascending=False, kind="stable")


def _spoken(values: pd.Series) -> pd.Series:
    return values.map(lambda value: WORDS.get(value, value))


def _rest(figure: go.Figure, rest: list[str]) -> go.Figure:
    """Names the genes that are not drawn, below the picture."""
    if not rest:
        return figure
    lines = [safe(line) for line in textwrap.wrap(f"Moved less and are not drawn: {', '.join(rest)}.", 125)]
    bottom = 70 + 18 * len(lines)
    place = {"x": 0, "y": 0, "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "top", "yshift": -52}
    figure.add_annotation(text="<br>".join(lines), showarrow=False, align="left", font={"size": 12, "color": GREY}, **place)
    return figure.update_layout(margin_b=bottom, height=figure.layout.height + bottom - 60)


@sentence
def read(frame: pd.DataFrame) -> str:
    part = _arm(frame, None)
    moves = _moves(part)
    arm, generations = part["arm"].iloc[0], sorted(unique(part["generation"]))
    if len(generations) < 2:
        return f"Arm “{arm}” has one generation only, so no gene could move; it drew {len(moves)} genes."
    top = part[part["panel"] == moves.index[0]]
    first, last = (top[top["generation"] == when].set_index("value")["share"] for when in (generations[0], generations[-1]))
    most = str((last - first).idxmax())
    still = [f"“{gene}”" for gene in moves.index[moves < 0.1]]
    text = (
        f"From generation {generations[0]} to {generations[-1]} of “{arm}”, gene “{moves.index[0]}” moved most: the share of "
        f"“{WORDS.get(most, most)}” went from {percent(first[most])} to {percent(last[most])}"
    )
    idle = listed(still[:4]) if len(still) <= 4 else f"{len(still)} of {len(moves)} genes"
    mean = number(float(moves.mean()), 2)
    return (
        f"{text}; {idle} moved by less than 10 % of the trials." if still else f"{text}; the mean move over {len(moves)} genes is {mean}."
    )


VIEW = View(
    "gene_frequency",
    NEEDS,
    draw,
    read,
    "Genes over the generations",
    "Each column adds up to 100 %. “Moved”: the share of the trials that differ between the first and the last generation. A value that "
    "takes over was kept by selection, or drifted there: in a small population a gene that does not matter moves too, so compare with the "
    "importance of the genes.",
    known=("share",),
)
