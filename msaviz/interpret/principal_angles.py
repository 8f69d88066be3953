"""At which angles do the private and shared subspaces meet, direction by direction?"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from msaviz.interpret import similarity
from msaviz.interpret.space_overlap import paired
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered
from msaviz.interpret.trace import Trace

COLUMNS = ("run", "split", "representation", "other", "rank", "value", "floor")


def answer(trace: Trace, *, variance: float = 0.9, limit: int = 2000, draws: int = 20, seed: int = 0) -> pd.DataFrame:
    """`value`: the rank-th smallest principal angle in degrees (0 = a common direction, 90 = orthogonal), rank from 1.

    Subspaces hold `variance` of each representation's total; pairs of unequal width are left out. `floor` is the 5 %
    quantile for random subspaces of the same sizes: an angle above it is no closer than chance.
    """
    spaces = {name: x for name, x in trace.representations.items() if name != "fused"}
    parts = []
    for one, other in combinations(spaces, 2):
        generator = np.random.default_rng(seed)
        x, y = paired(spaces[one], spaces[other], limit, generator)
        if x.shape[1] != y.shape[1] or len(x) < 8:
            continue
        p, q = similarity.basis(x, variance), similarity.basis(y, variance)
        if p.shape[1] and q.shape[1]:
            cosines = similarity.principal_cosines(p, q)
            chance = similarity.random_cosines(len(p), p.shape[1], q.shape[1], draws=draws, generator=generator)
            angles = {"value": np.degrees(np.arccos(cosines)), "floor": np.degrees(np.arccos(np.quantile(chance, 0.95, axis=0)))}
            parts.append(pd.DataFrame({"representation": one, "other": other, "rank": np.arange(1, len(cosines) + 1), **angles}))
    return gathered(parts, COLUMNS, run=trace.run, split=trace.split)


TABLE = Table(COLUMNS, answer)
