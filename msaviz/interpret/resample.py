"""How sure is a number: bootstrap intervals over utterances, all resamples in one matrix product. (B resamples, n rows)"""

from __future__ import annotations

import numpy as np
import pandas as pd


def resamples(groups: np.ndarray, count: int = 300, seed: int = 0) -> np.ndarray:
    """Float[B n]: how often each row occurs in each bootstrap sample; rows of one group (an utterance) are drawn together."""
    names, group = np.unique(groups, return_inverse=True)
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=count)
    return drawn.astype(np.float32)[:, group]


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The central `level` of the resampled values; NaN where fewer than half of the resamples gave a number."""
    known = values[np.isfinite(values)]
    if not len(known) or 2 * len(known) < len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def mean(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Float[B]: weighted means of `values`, one for each row of weights."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return weights @ values / weights.sum(1)


def _centred(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    """The values less the mean of `like`, in units of its largest deviation: offsets and units cost no digits when squares are taken."""
    size = np.abs(like - like.mean()).max(initial=0)
    return (values - like.mean()) / (size if size > 1e-12 * np.abs(like).max(initial=0) else 1.0)


def correlation(weights: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Float[B]: weighted Pearson correlations; NaN where one side does not vary."""
    a, b = _centred(a, a), _centred(b, b)
    covariance = mean(weights, a * b) - mean(weights, a) * mean(weights, b)
    spread = (mean(weights, a * a) - mean(weights, a) ** 2) * (mean(weights, b * b) - mean(weights, b) ** 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread > 1e-12, covariance / np.sqrt(spread.clip(1e-12)), np.nan)


def explained(weights: np.ndarray, prediction: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Float[B]: weighted R², 1 - squared error / variance; 0 is what the mean label reaches."""
    label, prediction = _centred(label, label), _centred(prediction, label)
    variance = mean(weights, label * label) - mean(weights, label) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(variance > 1e-12, 1 - mean(weights, (prediction - label) ** 2) / variance.clip(1e-12), np.nan)


def balanced_accuracy(weights: np.ndarray, prediction: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Float[B]: mean over classes of the weighted share that was predicted right; classes without weight are left out."""
    member = (label[:, None] == np.unique(label)).astype(np.float32)
    right = member * (prediction == label)[:, None]
    size = weights @ member
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nanmean(np.where(size > 0, (weights @ right) / size, np.nan), axis=1)


def averages(values: np.ndarray, count: int, seed: int) -> pd.DataFrame:
    """value, low, high, utterances of each column of Float[n k]: the mean of the known ones and its 95 % bootstrap interval."""
    known = np.isfinite(values)
    weights, filled = resamples(np.arange(len(values)), count, seed), np.where(known, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, drawn = filled.sum(0) / known.sum(0), (weights @ filled) / (weights @ known)
    bounds = np.array([interval(column) for column in drawn.T]).reshape(-1, 2)
    return pd.DataFrame({"value": mean, "low": bounds[:, 0], "high": bounds[:, 1], "utterances": known.sum(0)})
