"""For whom is the model wrong: by domain and by label?

Metrics `mae`, `bias` (mean of prediction - label; both in units of the label) and `correlation`, or `accuracy` for classes.
`low`, `high`: 95 % bootstrap interval over utterances. `floor` is what one constant for the whole split reaches in that group:
its median label, or its commonest class.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from msaviz.interpret import resample
from msaviz.interpret.groups import KINDS, grouping
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered
from msaviz.interpret.trace import Trace

COLUMNS = ("run", "split", "by", "group", "metric", "value", "low", "high", "examples", "floor")
Measure = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # weights, prediction, label -> Float[B]
NUMBERS: dict[str, Measure] = {
    "mae": lambda w, prediction, label: resample.mean(w, np.abs(prediction - label)),
    "bias": lambda w, prediction, label: resample.mean(w, prediction - label),
    "correlation": resample.correlation,
}
CLASSES: dict[str, Measure] = {"accuracy": lambda w, prediction, label: resample.mean(w, (prediction == label).astype(float))}


def answer(trace: Trace, *, resamples: int = 300, seed: int = 0) -> pd.DataFrame:
    """Errors over all utterances, by domain and by label group; utterances without a label are left out."""
    examples = trace.examples
    classes = trace.spec.task.kind == "classes"
    label, prediction = (examples[name].to_numpy(dtype=np.float64) for name in ("label", "prediction"))
    known = np.isfinite(label) & np.isfinite(prediction) & ((label >= 0) | (not classes))
    if not known.any():
        return pd.DataFrame()
    constant = np.bincount(label[known].astype(int)).argmax() if classes else np.median(label[known])
    rows = []
    for by in KINDS:
        groups = grouping(trace, by)
        for code, name in enumerate(groups.names):
            chosen = known & (groups.codes == code)
            if chosen.any():
                pair = (prediction[chosen], label[chosen])
                rows += [(by, name, *row) for row in _scores(*pair, float(constant), classes, resamples, seed)]
    return gathered([pd.DataFrame(rows, columns=list(COLUMNS[2:]))], COLUMNS, run=trace.run, split=trace.split)


def _scores(prediction: np.ndarray, label: np.ndarray, constant: float, classes: bool, count: int, seed: int) -> list[tuple]:
    """(metric, value, low, high, examples, floor) of one group."""
    one, weights = np.ones((1, len(label))), resample.resamples(np.arange(len(label)), count, seed)
    rows = []
    for metric, measure in (CLASSES if classes else NUMBERS).items():
        floor = 0.0 if metric == "correlation" else float(measure(one, np.full_like(label, constant), label)[0])
        value = float(measure(one, prediction, label)[0])
        rows.append((metric, value, *resample.interval(measure(weights, prediction, label)), len(label), floor))
    return rows


TABLE = Table(COLUMNS, answer)
