"""Which values of each gene did the search keep, generation by generation?"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from msaviz.interpret.evolution import Evolution
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered

COLUMNS = ("run", "arm", "generation", "gene", "value", "share", "trials")


def answer(evolution: Evolution, *, distinct: int = 6, bins: int = 4) -> pd.DataFrame:
    """`share` of a generation's `trials` that hold this `value`, copies and pruned ones too; sums to 1 over the values of a gene.

    A number with more than `distinct` values is put into `bins` equal parts of the gene's range (in log where its range says so). All
    values that the gene ever had stand in every generation, in their own order: numbers by size, words as the range lists them.
    """
    genes = evolution.genes.merge(evolution.trials[["arm", "trial", "generation"]], on=["arm", "trial"])
    parts = []
    for gene, rows in genes.groupby("gene", sort=False):
        space = evolution.ranges.get(str(gene), {})
        many = rows["number"].notna().all() and rows["number"].nunique() > distinct
        labels, order = _binned(rows["number"].to_numpy(float), space, bins) if many else _named(rows, space)
        rows = rows.assign(value=labels)
        parts += [_shares(part, order).assign(arm=arm, gene=gene) for arm, part in rows.groupby("arm", sort=False)]
    return gathered(parts, COLUMNS, run=evolution.name)


def written(number: float) -> str:
    """Three digits, but a whole number whole: 0.000312, 1.5, 1024."""
    number += 0.0  # no "-0"
    return f"{number:.0f}" if number == round(number) else f"{number:.3g}" if abs(number) < 100 else f"{number:.0f}"


def spoken(value: str, number: float) -> str:
    """The value of a gene in a few letters: long numbers are rounded, words stay."""
    return value if value in ("True", "False") or not np.isfinite(number) else written(number)


def _shares(rows: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    counts = pd.crosstab(rows["generation"], rows["value"]).reindex(columns=order, fill_value=0)
    trials = counts.sum(axis=1)
    frame = counts.div(trials, axis=0).rename_axis(columns="value").stack().rename("share").reset_index()
    return frame.assign(trials=frame["generation"].map(trials))


def _named(rows: pd.DataFrame, space: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The label of each row, and all labels in order."""
    listed = [str(choice) for choice in space.get("choices", ())]
    rank = rows["value"].map({choice: i for i, choice in enumerate(listed)}).fillna(len(listed))
    labels = [spoken(str(value), number) for value, number in zip(rows["value"], rows["number"], strict=True)]
    order = pd.DataFrame({"number": rows["number"], "rank": rank, "label": labels}).sort_values(["number", "rank", "label"])
    return labels, list(pd.unique(order["label"]))


def _binned(numbers: np.ndarray, space: Mapping[str, Any], bins: int) -> tuple[np.ndarray, list[str]]:
    """The same for numbers in `bins` parts of the range; a value outside it belongs to the outermost part."""
    low, high = float(space.get("low", numbers.min())), float(space.get("high", numbers.max()))
    edges = (np.geomspace if space.get("log") else np.linspace)(low, high, bins + 1)
    whole = bool((numbers == np.round(numbers)).all())
    order = [_between(a, b, whole, last=i == bins - 1) for i, (a, b) in enumerate(pairwise(edges))]
    codes = np.digitize(numbers, edges[1:-1])
    return np.asarray(order, dtype=object)[codes], list(pd.unique(pd.Series(order)))


def _between(low: float, high: float, whole: bool, *, last: bool) -> str:
    """ "1–4" for the whole numbers from 1 to below 4.75, else "0.001–0.0032"."""
    if not whole:
        return f"{written(low)}–{written(high)}"
    first, final = np.ceil(low - 1e-9), np.floor(high + 1e-9) if last else np.ceil(high - 1e-9) - 1
    return written(first) if final <= first else f"{written(first)}–{written(final)}"


TABLE = Table(COLUMNS, answer, of="evolution")
