"""Does what an attribution gives to the steps add up to what it explains, f(x) - f(baseline)?

`gap`: |f(x) - f(baseline) - sum of what was given|, in units of the explained number. `relative_gap`: that over |f(x) - f(baseline)|, of
utterances where this is above `LEAST`. Integrated Gradients closes the gap with more points of its path, DeepLIFT by its rules, Gradient
SHAP on average over draws; feature ablation and occlusion never promised to.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from msaviz.interpret import resample
from msaviz.interpret.attributed import HEAD, checked, head
from msaviz.interpret.attribution import Attribution
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered

COLUMNS = (*HEAD, "metric", "value", "low", "high", "p90", "mean", "utterances")
LEAST = 1e-6
"""A smaller difference to the baseline is rounding, and no share of it can be taken."""


def answer(attributions: Mapping[str, Attribution], *, resamples: int = 300, seed: int = 0) -> pd.DataFrame:
    """Of each method and metric: the median (`value`) with its 95 % bootstrap interval, the 90th percentile and the mean of utterances."""
    parts = []
    for label, one in checked(attributions).items():
        gap, difference = np.abs(one.gap), np.abs(one.explained - one.reference)
        known = difference > LEAST
        found = {"gap": gap, "relative_gap": gap[known] / difference[known]}
        rows = [{"metric": metric, **_summary(values, resamples, seed)} for metric, values in found.items() if len(values)]
        parts.append(pd.DataFrame(rows).assign(**head(label, one)))
    return gathered(parts, COLUMNS)


def _summary(values: np.ndarray, resamples: int, seed: int) -> dict[str, float]:
    values = np.sort(values)
    heaped = resample.resamples(np.arange(len(values)), resamples, seed).cumsum(1)
    medians = values[(heaped >= len(values) / 2).argmax(1)]
    low, high = resample.interval(medians)
    median, p90 = np.quantile(values, [0.5, 0.9])
    return {"value": median, "low": low, "high": high, "p90": p90, "mean": values.mean(), "utterances": len(values)}


TABLE = Table(COLUMNS, answer, of="attributions")
