"""By how much does hiding (or showing) steps in the order of an attribution beat a random order?

`area` lies under the curve of `deletion_curve`, over fractions from 0 to 1: the mean distance from the whole prediction, in its units.
`gain`: the paired difference to random orders of the same utterances, > 0 = better than random: more distance by deletion, less by
insertion. All intervals are 95 % bootstrap intervals over utterances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from msaviz.interpret.attributed import HEAD, head
from msaviz.interpret.attribution import Attribution
from msaviz.interpret.deletion_curve import FRACTIONS, of_methods
from msaviz.interpret.judged import averages
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered
from msaviz.types import Batch

NUMBERS = ("area", "low", "high", "random", "random_low", "random_high", "gain", "gain_low", "gain_high")
COLUMNS = (*HEAD, "hidden", "kind", *NUMBERS, "utterances")
BETTER = {"deletion": 1, "insertion": -1}


def answer(
    attributions: Mapping[str, Attribution],
    *,
    fractions: Sequence[float] = FRACTIONS,
    hidden: str = "missing",
    orders: int = 5,
    limit: int | None = 96,
    train: Sequence[Batch] = (),
    resamples: int = 300,
    seed: int = 0,
) -> pd.DataFrame:
    """A row for each method and kind; the options are those of `deletion_curve`."""
    asked = {"fractions": fractions, "hidden": hidden, "orders": orders, "limit": limit, "train": train, "seed": seed}
    parts = []
    for label, curves in of_methods(attributions, **asked).items():
        for kind, sign in BETTER.items():
            method, random = (np.trapezoid(side[kind], curves.fractions, axis=1) for side in (curves.method, curves.random))
            found = averages(np.stack([method, random, sign * (method - random)], 1), resamples, seed)
            numbers = found[["value", "low", "high"]].to_numpy().reshape(-1)
            row = pd.DataFrame([numbers], columns=list(NUMBERS)).assign(utterances=len(method), kind=kind, hidden=hidden)
            parts.append(row.assign(**head(label, attributions[label])))
    return gathered(parts, COLUMNS)


TABLE = Table(COLUMNS, answer, of="attributions")
