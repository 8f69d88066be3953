"""Do attribution methods agree on the order of the steps?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz.attributed import said, series, subtitled
from msaviz.viz.grid import panels
from msaviz.viz.theme import safes, short
from msaviz.viz.view import View
from msaviz.viz.words import chosen, first_of, name, number, sentence, unique

NEEDS = ("run", "split", "method", "baseline", "routing", "other", "modality", "value", "low", "high", "utterances")
WRITTEN = 8
"""Methods up to which numbers find room in the cells."""


def draw(frame: pd.DataFrame, *, modality: str | None = None) -> go.Figure:
    """A heat map of the rank correlations of every two methods with their 95 % intervals, over all steps or those of one `modality`."""
    rows, modality = frame.assign(line=series(frame)), _modality(frame, modality)
    rows = rows[rows["modality"] == modality].assign(other=lambda part: part["other"].map(name))
    runs = unique(rows["run"])
    titles = [f"{run} · steps of {modality}" if len(runs) > 1 else "" for run in runs]
    figure, places = panels(titles, columns=1, height=170 + 60 * rows["method"].nunique())
    for run, place in zip(runs, places, strict=True):
        _heat(figure, rows[rows["run"] == run], place)
    figure.update_coloraxes(cmin=-1, cmax=1, colorbar={"title": "rank correlation", "tickformat": ".1f"})
    return subtitled(figure, said(frame), f"steps of {_steps(modality)}")


def _modality(frame: pd.DataFrame, modality: str | None) -> str:
    known = unique(frame["modality"])
    return str(chosen(modality, known, "modality") if modality else first_of(known, ("all",)))


def _steps(modality: str) -> str:
    return "all modalities" if modality == "all" else modality


def _heat(figure: go.Figure, part: pd.DataFrame, place: dict[str, int]) -> None:
    tables = {column: part.pivot_table(index="line", columns="other", values=column, sort=False) for column in ("value", "low", "high")}
    value, low, high = (table.reindex(index=tables["value"].index, columns=tables["value"].columns) for table in tables.values())
    text = [
        [
            f"{number(value.iloc[i, j], 2)}<br>[{number(low.iloc[i, j], 2)}, {number(high.iloc[i, j], 2)}]"
            for j in range(value.shape[1])
        ]
        for i in range(value.shape[0])
    ]  # fmt: skip
    figure.add_trace(
        go.Heatmap(
            z=short(value.to_numpy()),
            x=safes(value.columns),
            y=safes(value.index),
            text=text if len(value) <= WRITTEN else None,
            texttemplate="%{text}" if len(value) <= WRITTEN else None,
            coloraxis="coloraxis",
            xgap=2,
            ygap=2,
            hovertemplate="%{y} and %{x}: %{z:.3f}<extra></extra>",
        ),
        **place,
    )
    figure.update_xaxes(type="category", showgrid=False, **place)
    figure.update_yaxes(type="category", showgrid=False, autorange="reversed", **place)


@sentence
def read(frame: pd.DataFrame) -> str:
    modality = _modality(frame, None)
    part = frame.assign(line=series(frame))
    part = part[(part["modality"] == modality) & (part["method"] != part["other"])].dropna(subset=["value"])
    if part.empty:
        return "There is one method only: nothing to agree with."
    best, worst = part.loc[part["value"].idxmax()], part.loc[part["value"].idxmin()]

    def pair(row: pd.Series) -> str:
        interval = f"{number(row['value'], 2)} [{number(row['low'], 2)}, {number(row['high'], 2)}]"
        return f"“{row['method']}” and “{row['other']}” ({interval}{'' if row['low'] > 0 or row['high'] < 0 else ', no more than chance'})"

    over = f"Over the steps of {_steps(modality)} (mean of {int(part['utterances'].min())} utterances)"
    text = f"{over} the order is most alike between {pair(best)}"
    return f"{text}." if len(part) <= 2 else f"{text} and least between {pair(worst)}."


VIEW = View(
    "attribution_agreement",
    NEEDS,
    draw,
    read,
    "Do methods agree?",
    "Each cell is the rank correlation between what two methods gave to the steps of an utterance, averaged over utterances (95 % interval "
    "below): 1 is the same order, 0 is unrelated, -1 the reverse. Agreement is no proof of truth: methods can err together.",
    known=("value",),
)
