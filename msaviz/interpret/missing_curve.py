"""How does each model's score fall as more of every modality goes missing?"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from msaviz.interpret.sweeps import joined, over_seeds
from msaviz.interpret.table import Table

COLUMNS = ("run", "model", "split", "selection", "rate", "metric", "value", "std", "low", "high", "seeds", "floor")


def answer(sweep: pd.DataFrame | Iterable[pd.DataFrame], *, protocol: str = "missing") -> pd.DataFrame:
    """One row for each model, rate and metric: mean over seeds, deviation, 95 % interval, and the constant predictor's floor.

    Takes the frames of a protocol over rates, one or several; runs that differ in their seed only share a row.
    """
    frame = over_seeds(joined(sweep, protocol), ["split", "selection", "rate", "metric"])
    return frame.sort_values(["series", "metric", "selection", "rate"], kind="stable", ignore_index=True)[list(COLUMNS)]


TABLE = Table(COLUMNS, answer, of="sweep")
