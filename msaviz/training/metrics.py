"""How good are the predictions, beside the best constant one, and is a difference more than chance?

Every accuracy is a *scheme*: a rule that turns numbers into classes and says which labels count. So the metric, its per-utterance score
(for the bootstrap) and its constant-predictor floor come from one place. Rules after the field's common code (MMSA), with weighted F1
called as f1(truth, prediction): the reverse order inflates it. Labels that are NaN (or -1, for classes) are left out. Plain numpy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from msaviz.interpret.resample import interval
from msaviz.types import Task

Array = NDArray[np.floating]
CHUNK = 4_000_000  # numbers held at once by the bootstrap
NO_SPREAD = 1e-14
"""Of the largest value: a constant column leaves rounding of about 1e-16, which is no spread."""


@dataclass(frozen=True)
class Scheme:
    """One way to read numbers as classes: `classes` maps values to integers >= 0, `counts` says which labels count."""

    classes: Callable[[Array], NDArray[np.int64]]
    counts: Callable[[Array], NDArray[np.bool_]] = lambda label: np.ones(label.shape, bool)
    f1: str | None = None
    """Name under which the weighted F1 of this scheme is reported (None: it is not)."""


def _rounded(low: float, high: float) -> Scheme:
    first = int(np.floor(low))
    return Scheme(lambda v: np.round(np.clip(v, low, high)).astype(np.int64) - first)


def _above(*edges: float, f1: str | None = None) -> Scheme:
    """Class k: above exactly k of the edges (an edge belongs to the class below it)."""
    return Scheme(lambda v: np.searchsorted(np.asarray(edges), v, side="left"), f1=f1)


def schemes(low: float, high: float) -> dict[str, Scheme]:
    """Accuracy name -> rule, for labels in [low, high].

    (-3, 3), MOSI and MOSEI: acc2_negpos (v > 0; labels of 0 left out), acc2_nonneg (v >= 0), acc5, acc7 (clip to +-2, +-3; round).
    (-1, 1), CH-SIMS, after clipping: acc2 (above 0), acc3 (edges +-.1), acc5 (edges +-.1, +-.7).
    Any other range: acc2 (above the midpoint; the midpoint itself is "low") and accuracy (clip to the range and round).
    """
    if (low, high) == (-3, 3):
        return {
            "acc2_negpos": Scheme(lambda v: (v > 0).astype(np.int64), lambda label: label != 0, "f1_negpos"),
            "acc2_nonneg": Scheme(lambda v: (v >= 0).astype(np.int64), f1="f1_nonneg"),
            "acc5": _rounded(-2, 2),
            "acc7": _rounded(-3, 3),
        }
    if (low, high) == (-1, 1):
        return {"acc2": _above(0.0, f1="f1"), "acc3": _above(-0.1, 0.1), "acc5": _above(-0.7, -0.1, 0.1, 0.7)}
    return {"acc2": _above((low + high) / 2, f1="f1"), "accuracy": _rounded(low, high)}


def higher_is_better(metric: str) -> bool:
    """False for errors and losses (mae, loss/total, mae@0.3, and the loop's validation "score"), True for every other metric."""
    words = metric.split("@")[0].replace("/", "_").split("_")
    return metric != "score" and not any(word in ("mae", "mse", "error", "loss") for word in words)


def headline(task: Task) -> tuple[str, str]:
    """The two metrics to argue from: the one that selects checkpoints and the accuracy beside it."""
    if task.kind == "classes":
        return "weighted_f1", "accuracy"
    return "mae", next(iter(schemes(task.low, task.high)))


def metrics(prediction: ArrayLike, label: ArrayLike, task: Task) -> dict[str, float]:
    """The metrics of a task: Float[n] predictions of a regression, Float[n c] scores or Int[n] classes otherwise."""
    if task.kind == "classes":
        return classification_metrics(prediction, label)
    return regression_metrics(prediction, label, low=task.low, high=task.high)


def regression_metrics(prediction: ArrayLike, label: ArrayLike, *, low: float = -3.0, high: float = 3.0) -> dict[str, float]:
    """mae (unclipped), corr (Pearson) and the accuracies and weighted F1 of `schemes(low, high)`; METHODS.md 5.

    All are NaN where no label counts or a prediction is not finite (a diverged model scores nothing).
    """
    p, y = _pair(prediction, label)
    known = ~np.isnan(y)
    p, y = p[known], y[known]
    sound = bool(len(y)) and bool(np.isfinite(p).all())
    found = {"mae": float(np.abs(p - y).mean()) if sound else np.nan, "corr": float(correlation(p, y)) if sound else np.nan}
    for name, rule in schemes(low, high).items():
        counted = rule.counts(y)
        truth, guess = (rule.classes(v[counted]) for v in (y, p)) if sound else (np.zeros(0, np.int64),) * 2
        found |= _accuracy(name, rule.f1, truth, guess)
    return found


def classification_metrics(prediction: ArrayLike, label: ArrayLike) -> dict[str, float]:
    """accuracy, weighted_f1 and uar (recall averaged over the classes that occur), for Float[n c] scores or Int[n] classes.

    All are NaN where no label counts, a score is not finite, or a predicted class is -1.
    """
    scores, y = np.asarray(prediction), np.asarray(label)
    p = scores.argmax(-1) if scores.ndim == 2 else scores
    if p.shape != y.shape or y.ndim != 1:
        raise ValueError(f"predictions are {scores.shape}, labels are {y.shape}")
    known = ~np.isnan(y) & (y >= 0)
    sound = np.isfinite(scores[known]).all() and (scores.ndim == 2 or (scores[known] >= 0).all())
    known &= bool(sound)
    truth, guess = y[known].astype(np.int64), p[known].astype(np.int64)
    recall = np.bincount(truth[truth == guess], minlength=truth.max(initial=0) + 1) / np.maximum(support := np.bincount(truth), 1)
    uar = float(recall[support > 0].mean()) if len(truth) else np.nan
    return {**_accuracy("accuracy", "weighted_f1", truth, guess), "uar": uar}


def weighted_f1(truth: NDArray[np.int64], guess: NDArray[np.int64]) -> float:
    """F1 a class, averaged with the class's share of the truth (scikit-learn's f1_score(truth, guess, average="weighted"))."""
    if not len(truth):
        return np.nan
    size = int(max(truth.max(), guess.max())) + 1
    support, called = np.bincount(truth, minlength=size), np.bincount(guess, minlength=size)
    hit = np.bincount(truth[truth == guess], minlength=size)
    return float((2 * hit / np.maximum(support + called, 1) * support).sum() / len(truth))


def correlation(prediction: Array, label: Array) -> Array:
    """Pearson's r over the last axis (leading axes broadcast); 0 where a side is constant."""
    return (standardised(prediction) * standardised(label)).sum(-1).clip(-1, 1)


def standardised(values: Array) -> Array:
    """The values less their mean over the last axis, then of length 1, however large or small they are; 0 where they are constant."""
    size = np.abs(values).max(-1, initial=0, keepdims=True)
    values = values / np.where(size > 0, size, 1.0)  # or the squares of 1e200 were infinite, those of 1e-200 nothing
    values = values - values.mean(-1, keepdims=True)
    spread = np.abs(values).max(-1, initial=0, keepdims=True)
    values = np.where(spread > NO_SPREAD, values / np.where(spread > NO_SPREAD, spread, 1.0), 0.0)
    return values / np.sqrt((values * values).sum(-1, keepdims=True)).clip(min=1e-300)


def floor(train_labels: ArrayLike, labels: ArrayLike, task: Task) -> dict[str, float]:
    """The same metrics for a constant predictor: the train median for mae, the majority class of `labels` for accuracies and F1, corr 0.

    The majority is that of the labels under test, so that it is the share any constant can reach at most: on MOSI's test split .578
    (neg/pos); the majority of its train split is the other class and would reach .422, which is no bar at all.
    """
    train, test = np.asarray(train_labels, float), np.asarray(labels, float)
    train, test = (v[~np.isnan(v) & ((v >= 0) | (task.kind != "classes"))] for v in (train, test))
    if task.kind == "classes":
        truth = test.astype(np.int64)
        return classification_metrics(np.full(len(truth), _majority(truth)), truth)
    known = len(train) and len(test)
    found = {"mae": float(np.abs(test - np.median(train)).mean()) if known else np.nan, "corr": 0.0 if len(test) else np.nan}
    for name, rule in schemes(task.low, task.high).items():
        truth = rule.classes(test[rule.counts(test)])
        found |= _accuracy(name, rule.f1, truth, np.full(len(truth), _majority(truth)))
    return found


def _majority(truth: NDArray[np.int64]) -> int:
    return int(np.bincount(truth, minlength=1).argmax())


def per_example(prediction: ArrayLike, label: ArrayLike, metric: str, task: Task) -> Array:
    """The score of each utterance (last axis; leading axes allowed) whose mean is the metric; NaN where its label does not count, and
    for all utterances where the prediction for one that has a label is not finite (a diverged model scores nothing).

    For mae and the accuracies; corr, F1 and UAR are no means over utterances (ValueError).
    """
    p, y = np.asarray(prediction, float), np.asarray(label, float)
    whole = Scheme(lambda v: v.astype(np.int64), lambda v: v >= 0)
    rules = {"accuracy": whole} if task.kind == "classes" else schemes(task.low, task.high)
    sound = (np.isfinite(p) | np.isnan(y)).all(-1, keepdims=True)
    p = np.where(sound & np.isfinite(p), p, np.nan)
    if metric == "mae" and task.kind == "regression":
        return np.abs(p - y)
    if metric not in rules:
        raise ValueError(f"{metric!r} is no mean over utterances here; these are: {', '.join(['mae', *rules])}")
    counted = ~np.isnan(y) & rules[metric].counts(y) & sound
    right = rules[metric].classes(np.nan_to_num(p)) == rules[metric].classes(np.nan_to_num(y))
    return np.where(counted, right.astype(float), np.nan)


@dataclass(frozen=True)
class Interval:
    """An observed mean and the bounds of its bootstrap interval."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def paired_bootstrap(
    a: ArrayLike,
    b: ArrayLike,
    *,
    label: ArrayLike | None = None,
    metric: Callable[[Array, Array], Array] | None = None,
    relative: bool = False,
    samples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The interval of a's mean minus b's over resampled utterances; percentile method (Efron & Tibshirani 1993, 13.3).

    `a`, `b`: scores of the same utterances on the last axis; leading axes (seeds, rates) are averaged first. NaN scores (a label that does
    not count) are left out. With `metric`, a and b are predictions, and metric(Float[... n], Float[n or k n]) -> Float[...] is applied to
    every resample and every leading entry (`correlation` is one). `relative` gives 100 (a - b) / b, in percent.
    """
    sides = [np.asarray(v, float).reshape(-1, np.shape(v)[-1]) for v in (a, b)]
    if sides[0].shape[-1] != sides[1].shape[-1]:
        raise ValueError(f"paired scores need the same utterances; got {sides[0].shape[-1]} and {sides[1].shape[-1]}")
    if metric is None:
        sides, measure = [v.mean(0, keepdims=True) for v in sides], lambda scores, _: scores.mean(-1)
        known = ~np.isnan(np.concatenate(sides)).any(0)
    else:
        measure, known = metric, ~np.isnan(np.asarray(label, float))
    sides, truth, n = [v[:, known] for v in sides], np.asarray(label, float)[known] if metric else np.zeros(known.sum()), int(known.sum())
    if not n:
        return Interval(np.nan, np.nan, np.nan)

    def gain(rows: NDArray[np.int64]) -> Array:
        one, two = (measure(v[:, rows], truth[rows]).mean(0) for v in sides)
        share = np.divide(100, np.abs(two), out=np.full(np.shape(two), np.nan), where=two != 0)
        return (one - two) * share if relative else one - two

    generator, step = np.random.default_rng(seed), max(1, CHUNK // (n * len(sides[0])))
    drawn = [gain(generator.integers(n, size=(min(step, samples - done), n))) for done in range(0, samples, step)]
    low, high = interval(np.concatenate(drawn), level)  # a percentage of 0 is none
    return Interval(float(gain(np.arange(n))), low, high)


def _accuracy(name: str, f1: str | None, truth: NDArray[np.int64], guess: NDArray[np.int64]) -> dict[str, float]:
    found = {name: float((truth == guess).mean()) if len(truth) else np.nan}
    return {**found, f1: weighted_f1(truth, guess)} if f1 else found


def _pair(prediction: ArrayLike, label: ArrayLike) -> tuple[Array, Array]:
    p, y = np.asarray(prediction, float), np.asarray(label, float)
    if p.shape != y.shape or y.ndim != 1:
        raise ValueError(f"predictions are {p.shape}, labels are {y.shape}; both must be one number an utterance")
    if np.isinf(y).any():
        raise ValueError(f"the label of row {int(np.isinf(y).argmax())} is infinite: no metric is known for that (no label is NaN)")
    return p, y
