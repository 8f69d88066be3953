"""What would every metric have been on other test utterances? All resamples and all runs at once, as matrix products.

A resample is a row of weights: how often each utterance was drawn. So a mean is `weights @ scores`, a correlation comes from five such
products, an F1 from those of the classes' indicators, and no resample is ever looped over. (k resamples, r runs, n utterances)
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from msaviz.interpret.resample import resamples
from msaviz.training.metrics import Scheme, per_example, schemes, standardised
from msaviz.types import Task

TINY = 1e-7
"""Share of its size below which the spread of a resampled column is rounding."""


def draws(rows: int, samples: int, seed: int) -> Float[np.ndarray, "k n"]:
    """Weights of k = 1 + samples resamples of n rows; the first row is all ones: the rows as they were observed."""
    drawn = resamples(np.arange(rows), samples, seed) if rows else np.zeros((samples, 0))
    return np.concatenate([np.ones((1, rows)), drawn])


def resampled_metrics(
    weights: Float[np.ndarray, "k n"], prediction: Float[np.ndarray, "r n"], label: Float[np.ndarray, " n"], task: Task
) -> dict[str, Float[np.ndarray, "k r"]]:
    """Every metric of `metrics(prediction, label, task)`, in each resample and for each run; row 0 is what `metrics` gives.

    Classes come as their numbers (-1 = none). NaN where no label counts in a resample, and for a run with a prediction that is no number.
    """
    classes = task.kind == "classes"
    known = np.flatnonzero(label >= 0 if classes else ~np.isnan(label))
    weights, prediction, label = weights[:, known], prediction[:, known], label[known]
    sound = ~(~np.isfinite(prediction) | (classes & (prediction < 0))).any(axis=1, keepdims=True)
    prediction = np.where(sound, prediction, 0.0)
    if classes:
        truth, guess = label.astype(np.int64), prediction.astype(np.int64)
        found = {"accuracy": _mean(weights, guess == truth), **_by_class(weights, guess, truth, f1="weighted_f1", recall="uar")}
    else:
        found = {"mae": _mean(weights, np.abs(prediction - label)), "corr": _correlation(weights, prediction, label)}
        for name, rule in schemes(task.low, task.high).items():
            found[name] = _mean(weights, per_example(prediction, label, name, task))
            found |= _scheme_f1(weights, prediction, label, rule)
    some = weights.sum(1, keepdims=True) > 0
    return {name: np.where(sound.T & some, values, np.nan) for name, values in found.items()}


def interval(values: Float[np.ndarray, " k"], level: float = 0.95) -> tuple[float, float]:
    """The central `level` of the resamples (row 0, the observed value, is none of them); NaN where fewer than half gave a number."""
    drawn = values[1:][np.isfinite(values[1:])]
    if 2 * len(drawn) < len(values) - 1 or not len(drawn):
        return np.nan, np.nan
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _divided(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.full(np.broadcast_shapes(a.shape, b.shape), np.nan), where=b > 0)


def _mean(weights: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Float[k r]: weighted means over the rows that count; which those are (not NaN) depends on the labels alone."""
    scores = scores.astype(float)
    counted = ~np.isnan(scores).any(0)
    return _divided(weights[:, counted] @ scores[:, counted].T, weights[:, counted].sum(1, keepdims=True))


def _correlation(weights: np.ndarray, p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Float[k r]: weighted Pearson correlations; 0 where a side does not vary."""
    if not len(y):
        return np.full((len(weights), len(p)), np.nan)
    p, y = standardised(p), standardised(y)  # before squaring: a large offset costs no digits, and no size is too large or too small
    size = np.abs(p).max(1) * np.abs(y).max()
    one, two = _mean(weights, p), _mean(weights, y[None])
    spread = (_mean(weights, p * p) - one**2) * (_mean(weights, (y * y)[None]) - two**2)
    scale = np.sqrt(np.nan_to_num(spread).clip(0))
    varies = (scale > TINY * size) & (size > 0)
    return np.where(varies, (_mean(weights, p * y) - one * two) / np.where(varies, scale, 1.0), 0.0).clip(-1, 1)


def _scheme_f1(weights: np.ndarray, p: np.ndarray, y: np.ndarray, rule: Scheme) -> dict[str, np.ndarray]:
    if rule.f1 is None:
        return {}
    counted = rule.counts(y)
    return _by_class(weights[:, counted], rule.classes(p[:, counted]), rule.classes(y[counted]), f1=rule.f1)


def _by_class(weights: np.ndarray, guess: np.ndarray, truth: np.ndarray, *, f1: str, recall: str = "") -> dict[str, np.ndarray]:
    """Float[k r] each: F1 weighted by the classes' share of the truth, and recall averaged over the classes that occur."""
    total, zero = weights.sum(1, keepdims=True), np.zeros((len(weights), len(guess)))
    score, recalled, occurring = zero, zero, np.zeros((len(weights), 1))
    for c in np.unique(truth):
        of, called = truth == c, guess == c
        support = weights[:, of].sum(1, keepdims=True)
        hit = weights[:, of] @ called[:, of].T.astype(float)
        score = score + np.nan_to_num(_divided(2 * hit * support, support + weights @ called.T.astype(float)))
        recalled = recalled + np.nan_to_num(_divided(hit, support))
        occurring = occurring + (support > 0)
    return {f1: _divided(score, total), **({recall: _divided(recalled, occurring)} if recall else {})}
