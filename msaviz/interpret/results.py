"""How good is each model on each dataset, under each protocol, beside the constant, each other and what was published?"""

from __future__ import annotations

import pandas as pd

from msaviz.interpret.table import Table

COLUMNS = (
    *("model", "objective", "data", "protocol", "condition", "metric", "mean", "sd", "low", "high", "runs", "floor"),
    *("gain", "gain_low", "gain_high", "selection", "source"),
)
MEASURED = "measured"
"""The `source` of what was trained and tested here; a published figure says where it stands."""


def answer(results: pd.DataFrame) -> pd.DataFrame:
    """The rows of a results table (`msaviz.results`, or its results.csv): one for each model, dataset, protocol, condition and metric.

    `condition`: "complete", a missing rate, a set of modalities, or "mean" over the rates or over the incomplete sets. `mean`, `sd` are
    over seeds, `low`, `high` the 95 % interval of `mean` over the test utterances; `gain` is the improvement over the reference in
    percent, of a correlation in points of .01 (NaN for the reference itself and for published figures, which have no interval either).
    Raises ValueError where a column is missing.
    """
    if missing := [name for name in COLUMNS if name not in results.columns]:
        raise ValueError(f"the frame of a results table needs the columns {missing}; it has {list(results.columns)}")
    frame = results[list(COLUMNS)].reset_index(drop=True)
    return frame.assign(objective=frame["objective"].fillna("").astype(str))  # a CSV has nothing for the empty word


TABLE = Table(COLUMNS, answer, of="results")
