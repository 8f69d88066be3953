"""Which genes decide the error, beyond what the same forest finds in permuted errors?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.grid import legend_below, panels, row_height
from msaviz.viz.theme import GREY, colour, hatch, safes, short
from msaviz.viz.view import View
from msaviz.viz.words import label, listed, number, percent, sentence, unique

NEEDS = ("run", "arm", "gene", "importance", "sd", "floor", "trials")
MOST = 15


def draw(frame: pd.DataFrame) -> go.Figure:
    """A panel an arm, a bar a gene (the 15 largest over all arms) with its standard deviation; grey ticks: the floor."""
    frame = frame.assign(panel=label(frame, "run", "arm"))
    titles = unique(frame["panel"])
    order = frame.groupby("gene", sort=False)["importance"].max().sort_values(ascending=False, kind="stable")
    genes = list(order.index[:MOST])
    counts = frame.groupby("panel", sort=False)["trials"].first()
    figure, places = panels([""] * len(titles), columns=2, shared_yaxes=True, height=row_height(len(genes)))
    ends = np.stack([frame["importance"] + frame["sd"].fillna(0), frame["floor"]])
    top = 1.05 * float(np.nanmax(ends))
    for title, place in zip(titles, places, strict=True):
        rows = frame[(frame["panel"] == title) & frame["gene"].isin(genes)]
        _bars(figure, rows, genes, place, place == places[0])
        marks.ticks(figure, rows["floor"], rows["gene"], genes, "95 % of permuted errors", place, place == places[0])
        words = f"share of the variance of the error<br>{safes([title])[0]}, {counts[title]} trials"
        figure.update_xaxes(range=[0, top], tickformat=".0%", title_text=words, **place)
        marks.rows_axis(figure, genes, place)
    return legend_below(figure, room=20)


def _bars(figure: go.Figure, rows: pd.DataFrame, genes: list, place: dict[str, int], first: bool) -> None:
    above = rows["importance"] > rows["floor"]
    for i, (name, part) in enumerate((("above chance", rows[above]), ("not above chance", rows[~above]))):
        bar = go.Bar(
            x=short(part["importance"]),
            y=short(pd.Index(genes).get_indexer(part["gene"])),
            orientation="h",
            width=0.62,
            error_x={"type": "data", "array": short(part["sd"].fillna(0)), "thickness": 1.5, "width": 4, "color": GREY},
            marker={"color": colour(i), "pattern": hatch(i)},
            customdata=safes(part["gene"]),
            hovertemplate="%{customdata}: %{x:.1%}<extra></extra>",
            **marks.named(name, first),
        )
        figure.add_trace(bar, **place)
    figure.update_layout(barmode="overlay")


@sentence
def read(frame: pd.DataFrame) -> str:
    frame = frame.assign(panel=label(frame, "run", "arm"))
    part = frame[frame["panel"] == frame["panel"].iloc[0]].sort_values("importance", ascending=False, kind="stable")
    top, above = part.iloc[0], part[part["importance"] > part["floor"]]
    lead = f"In “{top['panel']}” ({top['trials']} trials)"
    if above.empty:
        return (
            f"{lead} no gene explains more of the error than chance would; closest is “{top['gene']}” with {percent(top['importance'])} "
            f"(chance {percent(top['floor'])})."
        )
    best = above.iloc[0]
    words = [f"“{row.gene}” {percent(row.importance)} (chance {percent(row.floor)})" for row in above.iloc[1:4].itertuples()]
    more = f"; then {listed(words)}" if words else ""
    return (
        f"{lead} gene “{best['gene']}” decides most: {percent(best['importance'])} of the variance of the error, standard deviation "
        f"{number(100 * best['sd'], 1)} points, chance {percent(best['floor'])}{more}; {len(above)} of {len(part)} genes lie above chance."
    )


VIEW = View(
    "gene_importance",
    NEEDS,
    draw,
    read,
    "Importance of the genes",
    "The share of the error's variance that a gene alone explains in a random forest (fANOVA). The grey tick is what the same forest finds "
    "when the errors are shuffled over the trials; only bars beyond it mean something, and by chance one idle gene in twenty lies beyond. "
    "The trials of a search crowd where it looked: the random arm gives a fairer picture of the whole range.",
    known=("importance",),
)
