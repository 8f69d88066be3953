"""Do two attribution methods put the steps of an utterance in the same order?

`value`: the rank correlation (Spearman) of what two methods gave to the steps of an utterance, signs included, averaged over utterances,
with its 95 % bootstrap interval; over the steps of `modality`, or of "all". An utterance in which a method gave the same to every step has
no rank correlation and is left out. Methods over features alone have no steps and are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
import pandas as pd

from msaviz.interpret.attributed import HEAD, head
from msaviz.interpret.attribution import Attribution
from msaviz.interpret.judged import ALL, flat, spearman, stepwise
from msaviz.interpret.resample import averages
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered

COLUMNS = (*HEAD, "other", "modality", "value", "low", "high", "utterances")


def answer(attributions: Mapping[str, Attribution], *, resamples: int = 300, seed: int = 0) -> pd.DataFrame:
    """Every ordered pair of methods (a method with itself included), in each modality and in all of them."""
    asked, parts = stepwise(attributions), []
    for (label, one), (other, second) in product(asked.items(), asked.items()):
        modalities = (ALL, *one.steps)
        n = len(one.explained)
        values = np.stack([spearman(flat(one, m), flat(second, m), n) for m in modalities], 1)  # n m
        rows = averages(values, resamples, seed).assign(modality=modalities, other=other, **head(label, one))
        parts.append(rows[rows["utterances"] > 0])
    return gathered(parts, COLUMNS)


TABLE = Table(COLUMNS, answer, of="attributions")
