"""What is each model worth when only some modalities are there at all?"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from msaviz.interpret.sweeps import joined, over_seeds
from msaviz.interpret.table import Table

COLUMNS = ("run", "model", "split", "selection", "subset", "metric", "value", "std", "low", "high", "seeds", "floor")


def answer(sweep: pd.DataFrame | Iterable[pd.DataFrame]) -> pd.DataFrame:
    """One row for each model, subset of modalities and metric, like `missing_curve`, from the frames of protocol "subsets"."""
    return over_seeds(joined(sweep, "subsets"), ["split", "selection", "subset", "metric"])[list(COLUMNS)]


TABLE = Table(COLUMNS, answer, of="sweep")
