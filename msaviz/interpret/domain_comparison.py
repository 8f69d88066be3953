"""How good is each model with each objective in the domains that it never saw, and what does the objective gain?"""

from __future__ import annotations

import pandas as pd

from msaviz.interpret.table import Table

COLUMNS = (
    *("model", "objective", "protocol", "target", "metric", "mean", "sd", "low", "high", "runs", "floor"),
    *("gain", "gain_low", "gain_high"),
)


def answer(comparison: pd.DataFrame) -> pd.DataFrame:
    """The rows of a comparison (`msaviz.compare`, or its comparison.csv): one for each model, objective, target and metric.

    `target` is an unseen domain, or "source->target"; then "mean" and "worst" over them. `mean`, `sd` are over seeds, `low`, `high` the
    95 % interval of `mean` over the test utterances; `gain` is the improvement over the reference in percent, of a correlation in points
    of .01 (positive = better; NaN for the reference itself). Raises ValueError where a column is missing.
    """
    if missing := [name for name in COLUMNS if name not in comparison.columns]:
        raise ValueError(f"the frame of a comparison needs the columns {missing}; it has {list(comparison.columns)}")
    return comparison[list(COLUMNS)].reset_index(drop=True)


TABLE = Table(COLUMNS, answer, of="comparison")
