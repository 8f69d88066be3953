"""What can a linear probe read from each representation: the label, the domain, the modality?

A private space that predicts the label, or a shared space that gives away its modality or domain, leaks. Every score is
cross-validated; `low`, `high` are the 95 % bootstrap interval over utterances, `floor` the 95 % quantile when the target is permuted.

* target "label": `r2` and `correlation` of a ridge regression (`balanced_accuracy` for classes)
* target "domain": `balanced_accuracy` of a logistic regression
* target "modality": the same on all shared (or all private) representations under each other; no utterance is in both training and test
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pandas as pd

from msaviz.interpret import resample
from msaviz.interpret.groups import grouping
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered
from msaviz.interpret.trace import Trace

COLUMNS = ("run", "split", "representation", "target", "metric", "value", "low", "high", "floor", "examples")
Row = tuple[str, float, float, float, float, int]
ALPHAS = tuple(10.0**power for power in range(-2, 5))


def answer(trace: Trace, *, folds: int = 5, permutations: int = 20, limit: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Probe scores of each representation, on at most `limit` utterances drawn at random."""
    rows = np.arange(len(trace.examples))
    if len(rows) > limit:
        rows = np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))
    label, domain = trace.examples["label"].to_numpy()[rows], grouping(trace, "domain").codes[rows]
    found: list[tuple] = []
    fits = {"folds": folds, "seed": seed}
    for name, values in trace.representations.items():
        x = values[rows]
        there = np.isfinite(x).all(1)
        if trace.spec.task.kind == "classes":
            known = there & (label >= 0)
            probes = [("label", _classes(x[known], label[known].astype(int), rows[known], permutations=permutations, **fits))]
        else:
            known = there & np.isfinite(label)
            probes = [("label", _number(x[known], label[known], rows[known], permutations=permutations, **fits))]
        probes.append(("domain", _classes(x[there], domain[there], rows[there], permutations=permutations, **fits)))
        found += [(name, target, *row) for target, probe in probes for row in probe]
    for space in ("shared", "private"):
        found += [(space, "modality", *row) for row in _modality(trace, space, rows, permutations=permutations, **fits)]
    return gathered([pd.DataFrame(found, columns=list(COLUMNS[2:]))], COLUMNS, run=trace.run, split=trace.split)


def _modality(trace: Trace, space: str, rows: np.ndarray, **fits: int) -> Iterator[Row]:
    """The modality read from all representations of one space, stacked; only those of the commonest width."""
    stack = [x[rows] for name, x in trace.representations.items() if name.startswith(f"{space}/")]
    if len(stack) < 2 or len({x.shape[1] for x in stack}) > 1:
        return
    x, target, group = np.concatenate(stack), np.repeat(np.arange(len(stack)), len(rows)), np.tile(rows, len(stack))
    there = np.isfinite(x).all(1)
    yield from _classes(x[there], target[there], group[there], **fits)


def _number(x: np.ndarray, y: np.ndarray, group: np.ndarray, *, folds: int, permutations: int, seed: int) -> Iterator[Row]:
    """Ridge, penalty chosen inside the training folds; the permuted targets are further columns of the same solve."""
    from sklearn.linear_model import RidgeCV

    if len(y) < 4 * folds or y.std() < 1e-9:
        return
    generator = np.random.default_rng(seed)
    targets = np.column_stack([y, *(generator.permutation(y) for _ in range(permutations))]).astype(np.float64)
    guess = np.zeros_like(targets)
    fold = folded(group, np.zeros(len(y)), folds, generator)
    for test in (fold == i for i in range(folds)):
        inputs, outputs = _standardised(x[~test], x[test])
        guess[test] = RidgeCV(ALPHAS, alpha_per_target=True).fit(inputs, targets[~test]).predict(outputs)
    one, weights = np.ones((1, len(y))), resample.resamples(group, seed=seed)
    # the mean of a fold's guesses falls as that of its labels rises (it comes from the others): centred, a useless probe correlates at 0
    centred = _within(guess, fold), _within(targets, fold)
    for name, score, (a, b) in (("r2", resample.explained, (guess, targets)), ("correlation", resample.correlation, centred)):
        null = np.array([score(one, a[:, i], b[:, i])[0] for i in range(1, permutations + 1)])
        yield _row(name, partial(_call, score, a[:, 0], b[:, 0]), weights, null)


def _call(score: Callable[..., np.ndarray], guess: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return score(weights, guess, truth)


def _within(values: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """`values` Float[n k] less the mean of their own fold."""
    member = (fold[:, None] == np.arange(fold.max() + 1)).astype(np.float64)
    return values - member @ (member.T @ values / member.sum(0)[:, None])


def _classes(x: np.ndarray, y: np.ndarray, group: np.ndarray, *, folds: int, permutations: int, seed: int) -> Iterator[Row]:
    """Logistic regression with balanced classes; the floor permutes the truth against the held-out guesses (no refit)."""
    from sklearn.linear_model import LogisticRegression

    values, sizes = np.unique(y, return_counts=True)
    keep = np.isin(y, values[sizes >= 2 * folds])
    x, y, group = x[keep], y[keep], group[keep]
    if len(np.unique(y)) < 2:
        return
    guess = np.zeros_like(y)
    generator = np.random.default_rng(seed)
    fold = folded(group, y, folds, generator)
    for test in (fold == i for i in range(folds)):
        inputs, outputs = _standardised(x[~test], x[test])
        probe = LogisticRegression(C=0.1, class_weight="balanced", solver="newton-cholesky", max_iter=50, tol=1e-3)
        guess[test] = probe.fit(inputs, y[~test]).predict(outputs)
    one = np.ones((1, len(y)))
    null = [resample.balanced_accuracy(one, guess, generator.permutation(y))[0] for _ in range(5 * permutations)]
    score = partial(_call, resample.balanced_accuracy, guess, y)
    yield _row("balanced_accuracy", score, resample.resamples(group, seed=seed), np.array(null))


def folded(group: np.ndarray, y: np.ndarray, folds: int, generator: np.random.Generator) -> np.ndarray:
    """Int[n]: the fold in which each row is held out. Rows of one group share it; every class is spread evenly over the folds."""
    names, member = np.unique(group, return_inverse=True)
    pattern = np.bincount(member, weights=2.0**y)  # which classes a group holds
    order = np.lexsort((generator.random(len(names)), pattern))
    fold = np.empty(len(names), dtype=int)
    fold[order] = np.arange(len(names)) % folds
    return fold[member]


def _row(metric: str, score: Callable[[np.ndarray], np.ndarray], weights: np.ndarray, null: np.ndarray) -> Row:
    value = float(score(np.ones((1, weights.shape[1])))[0])
    null = null[np.isfinite(null)]
    floor = float(np.quantile(null, 0.95)) if len(null) else float("nan")
    return metric, value, *resample.interval(score(weights)), floor, weights.shape[1]


def _standardised(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both with the training rows' mean and deviation; a constant column becomes zero."""
    mean, deviation = train.mean(0, dtype=np.float64), train.std(0, dtype=np.float64)
    scale = np.where(deviation > 1e-8, 1 / deviation.clip(1e-8), 0)
    return (train - mean) * scale, (test - mean) * scale


TABLE = Table(COLUMNS, answer)
