"""How fast does each arm of a search find something good?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from msaviz.interpret.evolution import Evolution
from msaviz.interpret.pareto_front import OBJECTIVES, nondominated
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered

COLUMNS = ("run", "arm", "evaluations", "best", "hypervolume", "front")


def answer(evolution: Evolution) -> pd.DataFrame:
    """A row an evaluation: a trial that was trained, to the end or until it was pruned; copies cost nothing and are no row.

    After so many `evaluations`: `best`, the lowest error of a trial trained to the end; `front`, how many such trials nothing beats in
    error and parameters at once; `hypervolume`, the area of error and parameters that they beat, as a share of the rectangle between
    the worst and the best values of all arms together. An objective that never varies counts as reached.
    """
    trained = evolution.trained.dropna(subset=OBJECTIVES)[OBJECTIVES].to_numpy(float)
    trials = evolution.trials
    counted = trials[(trials["copy_of"] < 0) & trials["state"].isin(["complete", "pruned"])]
    if not len(trained):
        return pd.DataFrame()
    parts = [_arm(rows.sort_values("trial"), trained.min(0), trained.max(0)) for _, rows in counted.groupby("arm", sort=False)]
    return gathered(parts, COLUMNS, run=evolution.name)


def _arm(rows: pd.DataFrame, best: np.ndarray, worst: np.ndarray) -> pd.DataFrame:
    found = rows[OBJECTIVES].where(rows["state"] == "complete").to_numpy(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        gains = np.where(worst > best, (worst - found) / (worst - best), found * 0 + 1)
    known = np.isfinite(found).all(1)
    so_far = [known & (np.arange(len(rows)) <= i) for i in range(len(rows))]
    return pd.DataFrame(
        {
            "arm": rows["arm"].to_numpy(),
            "evaluations": np.arange(1, len(rows) + 1),
            "best": pd.Series(found[:, 0]).cummin().ffill(),
            "hypervolume": [area(gains[these]) for these in so_far],
            "front": [int(nondominated(found[these]).sum()) for these in so_far],
        }
    )


def area(gains: np.ndarray) -> float:
    """The area of the union of the rectangles from 0 to each row of Float[n 2]; 0 for no row."""
    x, y = gains[np.argsort(-gains[:, 0])].T
    return float((np.maximum.accumulate(y) * (x - np.append(x[1:], 0))).sum()) if len(x) else 0.0


TABLE = Table(COLUMNS, answer, of="evolution")
