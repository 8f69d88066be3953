"""Which features of each modality do the predictions rest on?

`feature` is the column number. `value` is the mean over utterances of what it brought, summed over their steps; the values of a modality's
features add up to that of the modality. `size` is the mean absolute value with its 95 % bootstrap interval `low` to `high`; `rank` 1 is the
largest size in the modality. An utterance without the modality counts with 0.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from msaviz.interpret.attributed import HEAD, Subject, checked, head, means
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered

COLUMNS = (*HEAD, "modality", "feature", "value", "size", "low", "high", "rank")


def answer(subject: Subject, *, resamples: int = 300, seed: int = 0) -> pd.DataFrame:
    """One row for each attribution, modality and feature; nothing for a method that hides whole steps."""
    parts = []
    for label, found in checked(subject).items():
        each = [_features(values, resamples, seed).assign(modality=m) for m, values in found.features.items()]
        parts += [part.assign(**head(label, found)) for part in each]
    return gathered(parts, COLUMNS)


def _features(values: np.ndarray, resamples: int, seed: int) -> pd.DataFrame:
    """The columns of Float[n w]."""
    size, low, high = means(np.abs(values, dtype=np.float64), resamples, seed)
    frame = pd.DataFrame({"value": values.mean(0, dtype=np.float64), "size": size, "low": low, "high": high})
    return frame.rename_axis("feature").reset_index().assign(rank=frame["size"].rank(method="first", ascending=False).astype(int))


TABLE = Table(COLUMNS, answer, of="attributions")
