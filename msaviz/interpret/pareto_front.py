"""Which of the trained trials are not beaten in error and size at once, and where did they come from?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from msaviz.interpret.evolution import Evolution
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered

COLUMNS = ("run", "arm", "trial", "generation", "parameters", "error", "front", "origin")
OBJECTIVES = ["error", "parameters"]


def answer(evolution: Evolution) -> pd.DataFrame:
    """A row a trained trial. `front`: no trained trial of its arm is at least as good in error and parameters and better in one.

    `origin`: "default genome" (the untouched options), "child" (it has a parent), "random" (drawn without one), or "sampled" (by a sampler
    that learns without parents). Trials whose error or size is not known are left out.
    """
    trained = evolution.trained.dropna(subset=OBJECTIVES)
    parts = [
        rows.assign(front=nondominated(rows[OBJECTIVES].to_numpy(float)), origin=_origin(rows, str(arm)))
        for arm, rows in trained.groupby("arm", sort=False)
    ]
    return gathered(parts, COLUMNS, run=evolution.name)


def nondominated(values: np.ndarray) -> np.ndarray:
    """Bool[n]: which rows of Float[n k] (smaller is better) no other row equals or beats everywhere and beats somewhere."""
    equal_or_better = (values[:, None] <= values[None]).all(-1)
    better = (values[:, None] < values[None]).any(-1)
    return np.logical_not((equal_or_better & better).any(axis=0))


def _origin(rows: pd.DataFrame, arm: str) -> np.ndarray:
    """The evolution begins with the default genome; the other arms hold it always, or not on purpose."""
    child = rows["parent"] >= 0
    default = (rows["trial"] == 0) & (arm == "nsga2") | (arm == "default")
    sampled = (arm != "random") & (rows["generation"] > 0)
    return np.select([child, default, sampled], ["child", "default genome", "sampled"], "random")


TABLE = Table(COLUMNS, answer, of="evolution")
