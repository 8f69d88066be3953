"""How are numbers and lists said in a sentence, and in what order do groups appear?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps

import numpy as np
import pandas as pd

LOWER_IS_BETTER = ("mae", "score", "bias", "loss")
NAMES = {
    "mae": "MAE",
    "corr": "Pearson correlation",
    "correlation": "Pearson correlation",
    "acc2_negpos": "Acc-2 (negative/positive)",
    "acc2_nonneg": "Acc-2 (negative/non-negative)",
    "f1_negpos": "F1 (negative/positive)",
    "f1_nonneg": "F1 (negative/non-negative)",
    "acc2": "Acc-2",
    "acc3": "Acc-3",
    "acc5": "Acc-5",
    "acc7": "Acc-7",
    "accuracy": "accuracy",
    "weighted_f1": "weighted F1",
    "uar": "UAR",
    "score": "validation score",
    "r2": "R²",
    "balanced_accuracy": "balanced accuracy",
    "bias": "bias (prediction - label)",
}
UNITS = {"mae": "label units", "bias": "label units"}


def sentence(read: Callable[[pd.DataFrame], str]) -> Callable[[pd.DataFrame], str]:
    """`read`, except that an empty frame is said to be empty."""

    @wraps(read)
    def careful(frame: pd.DataFrame) -> str:
        # frames of several runs under each other may repeat their index
        return "There is nothing to read: the table is empty." if frame.empty else read(frame.reset_index(drop=True))

    return careful


def name(metric: str) -> str:
    """A metric as a reader knows it."""
    return NAMES.get(metric, metric.replace("_", " "))


def axis(metric: str, *, arrow: bool = False) -> str:
    """A metric with its unit, for an axis; with an arrow to where it is better."""
    text = f"{name(metric)} [{UNITS[metric]}]" if metric in UNITS else name(metric)
    return f"{text} {'↓' if lower(metric) else '↑'}" if arrow else text


def number(value: float, digits: int = 3) -> str:
    """0.1234 -> "0.123", 1234.5 -> "1234", NaN -> "n/a"."""
    if value is None or not np.isfinite(value):
        return "n/a"
    value = round(float(value), digits) + 0.0  # + 0.0 turns -0.0 into 0.0
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.{digits}f}"


def percent(value: float) -> str:
    return "n/a" if not np.isfinite(value) else f"{100 * value:.0f} %"


def listed(words: Iterable[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    words = [str(word) for word in words]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def lower(metric: str) -> bool:
    """Whether a smaller number of this metric is the better one."""
    return metric in LOWER_IS_BETTER


def unique(column: Sequence | pd.Series) -> list:
    """The values in the order in which they appear."""
    return list(pd.unique(pd.Series(column)))


def first_of(available: Sequence, wanted: Sequence) -> object:
    """The first of `wanted` that is available, else the first available."""
    return next((item for item in wanted if item in available), available[0])


def chosen(value: object, available: Sequence, what: str) -> object:
    """`value` if it is available; otherwise a ValueError that says what is."""
    if value not in available:
        raise ValueError(f"no {what} {value!r} in this frame; it has {', '.join(map(str, available))}")
    return value


def label(frame: pd.DataFrame, *columns: str) -> pd.Series:
    """One name a row from several columns; those that never vary say nothing and are left out (the last one stays)."""
    parts = [column for column in columns[:-1] if frame[column].nunique(dropna=False) > 1] + [columns[-1]]
    return frame[parts].astype(str).agg(" · ".join, axis=1)
