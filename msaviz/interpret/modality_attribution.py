"""Which modality do the predictions rest on, over all and in each domain?

`value` is the mean of what the modality brought (signs cancel), `size` the mean of its absolute value, `share` the size over the sum of all
sizes. `low`, `high`: 95 % bootstrap interval of `share` over utterances. An utterance without the modality counts with 0.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from msaviz.interpret.attributed import HEAD, Subject, checked, groups, head
from msaviz.interpret.attribution import Attribution
from msaviz.interpret.resample import resamples as drawn_rows
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered

COLUMNS = (*HEAD, "domain", "modality", "value", "size", "share", "low", "high", "utterances")


def answer(subject: Subject, *, resamples: int = 300, seed: int = 0) -> pd.DataFrame:
    """One row for each attribution, domain and modality; shares are NaN where nothing was attributed at all."""
    parts = []
    for label, found in checked(subject).items():
        values = np.stack(list(found.modalities.values()), 1)
        each = [_shares(found, values[member], resamples, seed).assign(domain=name) for name, member in groups(found.trace)]
        parts += [part.assign(**head(label, found)) for part in each]
    return gathered(parts, COLUMNS)


def _shares(found: Attribution, values: np.ndarray, resamples: int, seed: int) -> pd.DataFrame:
    """The modalities of Float[n m]."""
    size = np.abs(values)
    drawn = drawn_rows(np.arange(len(values)), resamples, seed) @ size
    with np.errstate(invalid="ignore", divide="ignore"):
        share, shares = size.mean(0) / size.mean(0).sum(), drawn / drawn.sum(1, keepdims=True)
    low, high = np.full((2, len(share)), np.nan)
    if len(values) > 1 and np.isfinite(share).all():
        low, high = np.nanquantile(shares, [0.025, 0.975], axis=0)
    numbers = {"value": values.mean(0), "size": size.mean(0), "share": share, "low": low, "high": high}
    return pd.DataFrame({"modality": list(found.modalities), **numbers, "utterances": len(values)})


TABLE = Table(COLUMNS, answer, of="attributions")
