"""Is a prediction of +1 worth +1, in each domain?

The predictions of a group of utterances ("all", then each domain) are cut into bins of equal count, from the lowest to the highest.
`predicted` is a bin's mean prediction, `observed` its mean label, `low`, `high` the 95 % bootstrap interval of `observed` over utterances.
`slope`, `intercept`: least squares of the label on the prediction over the group (1 and 0 are best); `error`: the mean over the bins,
weighted by size, of |predicted - observed| (expected calibration error, in units of the label). Group numbers repeat on its bins' rows.

For classes `predicted` is the mean confidence of the arg max, `observed` the accuracy, slope and intercept are NaN (Guo et al. 2017).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from msaviz.interpret import resample
from msaviz.interpret.groups import grouping
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered
from msaviz.interpret.trace import Trace

COLUMNS = ("run", "split", "domain", "bin", "predicted", "observed", "low", "high", "examples", "slope", "intercept", "error")
LEAST = 10
"""Utterances that a bin should hold; a smaller group is one bin."""


def answer(trace: Trace, *, bins: int = 10, resamples: int = 300, seed: int = 0) -> pd.DataFrame:
    """Calibration of all utterances and, where there are several domains, of each; those without a label are left out.

    At most `bins` bins a group (`bin` counts from 0); ValueError for fewer than one.
    """
    if bins < 1:
        raise ValueError(f"calibration needs at least 1 bin, not {bins}")
    predicted, observed = _pairs(trace)
    known = np.isfinite(predicted) & np.isfinite(observed)
    domains = grouping(trace, "domain")
    parts = [_bins(predicted[known], observed[known], bins, resamples, seed).assign(domain="all")]
    for code, name in enumerate(domains.names) if len(domains.names) > 1 else ():
        chosen = known & (domains.codes == code)
        parts.append(_bins(predicted[chosen], observed[chosen], bins, resamples, seed).assign(domain=name))
    frame = gathered(parts, COLUMNS, run=trace.run, split=trace.split)
    # a line through a share of rights would have no meaning
    return frame.assign(slope=np.nan, intercept=np.nan) if trace.spec.task.kind == "classes" else frame


def _pairs(trace: Trace) -> tuple[np.ndarray, np.ndarray]:
    """(what was promised, what came) Float[n] each: prediction and label, or confidence and right (1) or wrong (0); NaN without a label."""
    if trace.spec.task.kind == "classes":
        logits = torch.cat([output.prediction for output in trace.outputs]).double()
        return logits.softmax(-1).amax(-1).numpy(), 1 - trace.examples["error"].to_numpy(dtype=np.float64)
    return trace.examples["prediction"].to_numpy(dtype=np.float64), trace.examples["label"].to_numpy(dtype=np.float64)


def _bins(predicted: np.ndarray, observed: np.ndarray, bins: int, count: int, seed: int) -> pd.DataFrame:
    """Rows of one group; none for an empty one."""
    if not len(predicted):
        return pd.DataFrame()
    # equal predictions in random order: neither the label nor the order of the data may choose their bin
    order = np.lexsort((np.random.default_rng(seed).random(len(predicted)), predicted))
    rows = []
    for number, part in enumerate(np.array_split(order, min(bins, max(1, len(order) // LEAST)))):
        means = resample.mean(resample.resamples(np.arange(len(part)), count, seed), observed[part])
        rows.append((number, predicted[part].mean(), observed[part].mean(), *resample.interval(means), len(part)))
    frame = pd.DataFrame(rows, columns=["bin", "predicted", "observed", "low", "high", "examples"])
    error = np.average(np.abs(frame["predicted"] - frame["observed"]), weights=frame["examples"])
    slope, intercept = line(predicted, observed)
    return frame.assign(slope=slope, intercept=intercept, error=error)


def line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """(slope, intercept) of y on x by least squares; NaN where x does not vary."""
    spread = ((x - x.mean()) ** 2).mean()
    if spread < 1e-12:
        return float("nan"), float("nan")
    slope = float(((x - x.mean()) * (y - y.mean())).mean() / spread)
    return slope, float(y.mean() - slope * x.mean())


TABLE = Table(COLUMNS, answer)
