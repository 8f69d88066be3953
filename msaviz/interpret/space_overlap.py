"""How much do the private and shared spaces overlap, beyond what chance would give?

* `cosine`: mean squared cosine of the centred rows · `cka`: linear centred kernel alignment (debiased by default)
* `hsic`: normalised HSIC with a Gaussian kernel (sees dependence that is not linear)
* `angle_max`, `angle_mean`: largest and mean cosine of the principal angles between the subspaces that hold 90 % of the variance

`floor` is the 95 % quantile by chance: rows paired at random (cosine, cka, hsic), random subspaces of the same sizes (angles).
Cosine and angles compare directions; for unequal widths they have no rows. All lie in [0, 1] (debiased cka may fall a little below 0).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd

from msaviz.interpret import similarity
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered
from msaviz.interpret.trace import Trace

COLUMNS = ("run", "split", "representation", "other", "metric", "value", "floor")
METRICS = ("cosine", "cka", "hsic", "angle_max", "angle_mean")


def answer(
    trace: Trace, *, debiased: bool = True, permutations: int = 20, limit: int = 1000, kernel: int = 400, seed: int = 0
) -> pd.DataFrame:
    """Overlap of each pair of shared and private representations, over the utterances that have both modalities.

    At most `limit` utterances are used (`kernel` of them for HSIC, whose cost grows with their square).
    """
    spaces = {name: x for name, x in trace.representations.items() if name != "fused"}
    rows = []
    for one, other in combinations(spaces, 2):
        generator = np.random.default_rng(seed)
        x, y = paired(spaces[one], spaces[other], limit, generator)
        if len(x) >= 8:
            rows += [(one, other, *row) for row in _overlap(x, y, debiased, permutations, kernel, generator)]
    return gathered([pd.DataFrame(rows, columns=list(COLUMNS[2:]))], COLUMNS, run=trace.run, split=trace.split)


def paired(x: np.ndarray, y: np.ndarray, limit: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The rows where both are present, at most `limit` of them, drawn at random."""
    rows = np.flatnonzero(np.isfinite(x).all(1) & np.isfinite(y).all(1))
    if len(rows) > limit:
        rows = np.sort(generator.choice(rows, limit, replace=False))
    return x[rows].astype(np.float64), y[rows].astype(np.float64)


def _overlap(
    x: np.ndarray, y: np.ndarray, debiased: bool, permutations: int, kernel: int, generator: np.random.Generator
) -> Iterator[tuple[str, float, float]]:
    """(metric, value, floor) of one pair."""
    orders = generator.permuted(np.tile(np.arange(len(x)), (permutations, 1)), axis=1)
    if x.shape[1] == y.shape[1]:
        yield "cosine", float(similarity.squared_cosine(x, y)), _floor([similarity.squared_cosine(x, y[order]) for order in orders])
    value = float(similarity.linear_cka(x, y, debiased=debiased))
    yield "cka", value, _floor([similarity.linear_cka(x, y[order], debiased=debiased) for order in orders])
    a, b = similarity.gram(x[:kernel]), similarity.gram(y[:kernel])
    shuffled = [order[order < len(a)] for order in orders]
    yield "hsic", float(similarity.normalised_hsic(a, b)), _floor([similarity.normalised_hsic(a, b[order][:, order]) for order in shuffled])
    if x.shape[1] == y.shape[1]:
        p, q = similarity.basis(x), similarity.basis(y)
        if p.shape[1] and q.shape[1]:
            cosines = similarity.principal_cosines(p, q)
            chance = similarity.random_cosines(len(p), p.shape[1], q.shape[1], draws=permutations, generator=generator)
            yield "angle_max", float(cosines.max()), _floor(chance.max(1))
            yield "angle_mean", float(cosines.mean()), _floor(chance.mean(1))


def _floor(values: list | np.ndarray) -> float:
    return float(np.quantile(np.asarray(values, dtype=float), 0.95))


TABLE = Table(COLUMNS, answer)
