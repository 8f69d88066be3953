"""How far apart do two domains lie in each representation, beyond what chance would give?

* `mmd`: squared maximum mean discrepancy, unbiased, Gaussian kernel of median width (Gretton et al. 2012, eq. 3); 0 = one distribution
* `coral`: squared Frobenius norm of the difference of the covariances / 4 d² (Sun & Saenko 2016, eq. 1); sees no shift of the mean
* `proxy_a_distance`: 2 (1 - 2 error) of a linear classifier of the two domains, held out, in [0, 2] (Ben-David et al. 2007)
* `mixing`: share of the nearest neighbours that come from the other domain / the share in a random mixture; 1 = mixed, 0 = separate
* `silhouette`: mean silhouette of the two domains (Rousseeuw 1987), in [-1, 1]; 0 = no clusters

`floor` is the 95 % quantile after permuting the domains over the utterances (for `mixing`, where less is more gap, the 5 % quantile;
for `coral` over the utterances less the mean of their domain).
A representation is first divided by one number, its pooled deviation within domains: no metric changes with a space's scale or
rotation (`proxy_a_distance` standardises each coordinate instead, as a classifier would).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd
from einops import rearrange

from msaviz.interpret.groups import grouping
from msaviz.interpret.leakage import folded
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered
from msaviz.interpret.trace import Trace

COLUMNS = ("run", "split", "representation", "domain", "other", "metric", "value", "floor")
METRICS = ("mmd", "coral", "proxy_a_distance", "mixing", "silhouette")
LEAST = 8
"""Utterances that a domain needs in a representation."""
REFITS = 20
"""Permutations behind the floor of `proxy_a_distance`, at most: each one trains its classifiers anew."""
FOLDS = 5


def answer(trace: Trace, *, permutations: int = 100, limit: int = 400, neighbours: int = 10, seed: int = 0) -> pd.DataFrame:
    """All metrics for each representation and pair of domains; a domain with fewer than 8 utterances there has no rows.

    Both domains give equally many utterances, at most `limit` each, drawn at random: so chance is the same for every pair's sides.
    """
    domains = grouping(trace, "domain")
    found = []
    for name, values in trace.representations.items():
        there = np.isfinite(values).all(1)
        x, codes = values[there].astype(np.float64), domains.codes[there]
        members = {code: rows for code in range(len(domains.names)) if len(rows := np.flatnonzero(codes == code)) >= LEAST}
        x = scaled(x, codes) if len(members) > 1 else x
        for one, other in combinations(members, 2):
            generator = np.random.default_rng(seed)
            size = min(limit, len(members[one]), len(members[other]))
            # in random order: ties between neighbours must not follow the domain
            order = generator.permutation(2 * size)
            pair = np.concatenate([generator.choice(members[code], size, replace=False) for code in (one, other)])[order]
            rows = _gaps(x[pair], order < size, permutations, neighbours, generator)
            found += [(name, domains.names[one], domains.names[other], *row) for row in rows]
    return gathered([pd.DataFrame(found, columns=list(COLUMNS[2:]))], COLUMNS, run=trace.run, split=trace.split)


def scaled(x: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """`x` Float[n d], centred, over its deviation within domains (one number); constant domains are scaled by their total deviation."""
    x = x - x.mean(0)
    member = (codes[:, None] == np.unique(codes)).astype(np.float64)
    within = x - member @ (member.T @ x / member.sum(0)[:, None])
    total = np.sqrt((x * x).mean())
    scale = np.sqrt((within * within).mean())
    scale = scale if scale > 1e-6 * total else total
    return x / scale if scale > 1e-12 else np.zeros_like(x)


def _gaps(
    x: np.ndarray, first: np.ndarray, permutations: int, neighbours: int, generator: np.random.Generator
) -> Iterator[tuple[str, float, float]]:
    """(metric, value, floor) of one pair: `first` Bool[n] is True for half of the rows. Row 0 of `member` is the truth."""
    member = np.concatenate([first[None], generator.permuted(np.tile(first, (permutations, 1)), axis=1)]).astype(np.float64)
    inner = x @ x.T
    squares = (np.diag(inner)[:, None] + np.diag(inner) - 2 * inner).clip(0)
    np.fill_diagonal(squares, 0)
    yield _row("mmd", mmd(squares, member), 0.95)
    # shuffled with their means, rows of two places would differ in covariance by the luck of the mixture alone
    residual = x - np.where(first[:, None], x[first].mean(0), x[~first].mean(0))
    yield _row("coral", coral(residual @ residual.T, member, x.shape[1]), 0.95)
    yield _row("proxy_a_distance", proxy_a_distance(x, first, min(permutations, REFITS), generator), 0.95)
    yield _row("mixing", mixing(squares, member, min(neighbours, len(x) - 1)), 0.05)
    yield _row("silhouette", silhouette(np.sqrt(squares), member), 0.95)


def _row(metric: str, values: np.ndarray, level: float) -> tuple[str, float, float]:
    return metric, float(values[0]), float(np.quantile(values[1:], level)) if len(values) > 1 else float("nan")


def mmd(squares: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Float[p] from squared distances Float[n n] and `member` Float[p n] (1 = first domain, half of each row); may fall below 0."""
    median = np.median(squares[np.triu_indices(len(squares), 1)])
    kernel = np.exp(-squares / max(median, 1e-12))
    size, other = len(kernel) / 2, 1 - member
    to_first, to_other = member @ kernel, other @ kernel
    within = (to_first * member).sum(1) + (to_other * other).sum(1) - len(kernel)  # a row's kernel with itself is 1
    return within / (size * (size - 1)) - 2 * (to_first * other).sum(1) / size**2


def coral(inner: np.ndarray, member: np.ndarray, width: int) -> np.ndarray:
    """Float[p]: ||C_1 - C_2||² / 4 d² of all permutations from the inner products Float[n n] of the rows alone.

    With w = ±1 / (m - 1), C_1 - C_2 = Xᵀ diag(w) X - m / (m - 1) (μ_1 μ_1ᵀ - μ_2 μ_2ᵀ): each part of its norm is a product of `inner`.
    """
    size = inner.shape[0] / 2
    sign, factor = (2 * member - 1) / (size - 1), size / (size - 1)
    one, other = member @ inner / size, (1 - member) @ inner / size  # x_i · μ_1, x_i · μ_2
    whole = ((sign @ inner**2) * sign).sum(1)
    cross = (sign * (one**2 - other**2)).sum(1)
    a, b, c = (one * member).sum(1) / size, (other * (1 - member)).sum(1) / size, (one * (1 - member)).sum(1) / size
    return (whole - 2 * factor * cross + factor**2 * (a**2 + b**2 - 2 * c**2)).clip(0) / (4 * width**2)


def mixing(squares: np.ndarray, member: np.ndarray, neighbours: int) -> np.ndarray:
    """Float[p]: share of the nearest neighbours from the other domain, over n/2 / (n - 1), that of a random mixture."""
    far = squares + np.diag(np.full(len(squares), np.inf))
    near = np.zeros_like(squares)
    np.put_along_axis(near, np.argpartition(far, neighbours - 1, axis=1)[:, :neighbours], 1.0, axis=1)
    first = member @ rearrange(near, "row neighbour -> neighbour row")  # Float[p n]: neighbours in the first domain
    other = member * (neighbours - first) + (1 - member) * first
    return other.mean(1) / neighbours * 2 * (len(squares) - 1) / len(squares)


def silhouette(distance: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Float[p]: mean of (b - a) / max(a, b), with a, b the mean distance of a row to its own and to the other domain."""
    size = len(distance) / 2
    first, other = member @ distance, (1 - member) @ distance
    own = np.where(member > 0, first, other) / (size - 1)
    away = np.where(member > 0, other, first) / size
    larger = np.maximum(own, away)
    return np.where(larger > 1e-12, (away - own) / larger.clip(1e-12), 0).mean(1)


def proxy_a_distance(x: np.ndarray, first: np.ndarray, permutations: int, generator: np.random.Generator) -> np.ndarray:
    """Float[1 + permutations] of a logistic regression (C = .1), 5 folds that hold both domains evenly, also after a permutation."""
    import sklearn
    from sklearn.linear_model import LogisticRegression

    deviation = x.std(0)
    x = (x - x.mean(0)) * np.where(deviation > 1e-8, 1 / deviation.clip(1e-8), 0)
    y = first.astype(int)
    fold = folded(np.arange(len(x)), y, FOLDS, generator)
    found = []
    for order in [np.arange(len(x)), *(generator.permutation(len(x)) for _ in range(permutations))]:
        guess = np.zeros_like(y)
        # arrays made here are known to be sound: checking them again would take longer than the fit
        with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
            for test in (fold == i for i in range(FOLDS)):
                probe = LogisticRegression(C=0.1, max_iter=200, tol=1e-2).fit(x[order[~test]], y[~test])
                guess[test] = probe.predict(x[order[test]])
        found.append(2 * (1 - 2 * (guess != y).mean()))
    return np.clip(found, 0, 2)


TABLE = Table(COLUMNS, answer)
