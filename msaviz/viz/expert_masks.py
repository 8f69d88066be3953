"""Do the experts read different coordinates, and how much of each modality?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz.grid import panels
from msaviz.viz.theme import safes, short
from msaviz.viz.view import View
from msaviz.viz.words import chosen, first_of, number, percent, sentence, unique

NEEDS = ("run", "expert", "other", "modality", "overlap", "kept", "floor")
WRITTEN = 12
"""Experts up to which numbers find room in the cells."""


def draw(frame: pd.DataFrame, *, modality: str | None = None) -> go.Figure:
    """Two heat maps a run: the overlap of each pair of masks over the expected one of random masks in brackets (of all
    coordinates together, or of one `modality`), and the share of each modality that each expert keeps."""
    modality = _modality(frame, modality)
    runs = unique(frame["run"])
    names = ["" if len(runs) == 1 else f"{run} · " for run in runs]
    titles = [f"{name}{what}" for name in names for what in (f"overlap of the masks ({modality})", "share kept")]
    figure, places = panels(titles, columns=2, height=380)
    for i, run in enumerate(runs):
        part = frame[frame["run"] == run]
        _overlap(figure, part[part["modality"] == modality], places[2 * i])
        _kept(figure, part[part["expert"] == part["other"]], places[2 * i + 1])
    figure.update_coloraxes(cmin=0, cmax=1, colorbar={"title": "overlap (Jaccard), share", "tickformat": ".1f"})
    return figure


def _modality(frame: pd.DataFrame, modality: str | None) -> str:
    known = unique(frame["modality"])
    return str(chosen(modality, known, "modality") if modality else first_of(known, ("joint",)))


def _overlap(figure: go.Figure, part: pd.DataFrame, place: dict[str, int]) -> None:
    value, floor = (part.pivot(index="expert", columns="other", values=name) for name in ("overlap", "floor"))
    text = [
        ["1" if row == column else f"{number(value.loc[row, column], 2)}<br>({number(floor.loc[row, column], 2)})" for column in value]
        for row in value.index
    ]
    _heat(figure, value, text, "experts %{y} and %{x}: overlap %{z:.3f}", place)
    figure.update_xaxes(title_text="expert (in brackets: random masks)", **place)
    figure.update_yaxes(title_text="expert", **place)


def _kept(figure: go.Figure, part: pd.DataFrame, place: dict[str, int]) -> None:
    value = part.pivot_table(index="expert", columns="modality", values="kept", sort=False)
    text = [[number(share, 2) for share in row] for row in value.to_numpy()]
    _heat(figure, value, text, "expert %{y} keeps %{z:.3f} of %{x}", place)
    figure.update_xaxes(title_text="modality", **place)


def _heat(figure: go.Figure, table: pd.DataFrame, text: list[list[str]], hover: str, place: dict[str, int]) -> None:
    figure.add_trace(
        go.Heatmap(
            z=short(table.to_numpy()),
            x=safes(table.columns),
            y=safes(table.index),
            text=text if len(table) <= WRITTEN else None,
            texttemplate="%{text}" if len(table) <= WRITTEN else None,
            coloraxis="coloraxis",
            xgap=2,
            ygap=2,
            hovertemplate=f"{hover}<extra></extra>",
        ),
        **place,
    )
    figure.update_xaxes(type="category", showgrid=False, **place)
    figure.update_yaxes(type="category", showgrid=False, autorange="reversed", **place)


@sentence
def read(frame: pd.DataFrame) -> str:
    modality = _modality(frame, None)
    part = frame[frame["modality"] == modality]
    own, pairs = frame[frame["expert"] == frame["other"]], part[part["expert"] < part["other"]].dropna(subset=["overlap"])
    low, high = own.loc[own["kept"].idxmin()], own.loc[own["kept"].idxmax()]
    kept = f"every expert keeps {percent(low['kept'])} of each modality"
    if percent(low["kept"]) != percent(high["kept"]):
        kept = f"expert {high['expert']} keeps most of “{high['modality']}” ({percent(high['kept'])})"
        kept += f" and expert {low['expert']} least of “{low['modality']}” ({percent(low['kept'])})"
    if pairs.empty:
        return f"There is no pair of experts to compare; {kept}."
    top, mean = pairs.loc[pairs["overlap"].idxmax()], pairs[["overlap", "floor"]].mean()
    text = f"Two masks share {number(mean['overlap'], 2)} of their coordinates on average, random ones of their sizes "
    text += f"{number(mean['floor'], 2)}{': no more than chance' if mean['overlap'] <= mean['floor'] else ''}; "
    text += f"experts {top['expert']} and {top['other']} overlap most ({number(top['overlap'], 2)})"
    return f"{text}; {kept}."


VIEW = View(
    "expert_masks",
    NEEDS,
    draw,
    read,
    "Masks of the experts",
    "Overlap is the Jaccard index: coordinates that both read over those that either reads; in brackets what random masks of the same "
    "sizes share. Below it, the experts divide the input among them; at 1 they all read the same.",
    known=("kept",),
)
