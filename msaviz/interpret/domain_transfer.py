"""Does what a representation says of the label in one domain hold in another?

`value` is the correlation, in `other`, of a ridge regression learnt on the rows of `domain` alone (features standardised there; strength by
cross-validation there); for `other` = `domain` it is cross-validated. `floor` is what 95 % of the rules that say nothing stay below,
1.645 / sqrt(n - 1). Near the diagonal's value a rule carries over; at 0 it is of use at home only; below 0 it misleads.
"input/m" is the mean of modality m's frames: what the data say before any model.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from msaviz.interpret.groups import grouping
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered
from msaviz.interpret.trace import Trace

COLUMNS = ("run", "split", "representation", "domain", "other", "value", "floor", "learnt", "tested")
ALPHAS = tuple(10.0**power for power in range(6))
FEWEST = 20
"""Labelled rows that a domain must have of a representation, to learn a rule or to test one."""


def answer(trace: Trace, *, limit: int = 2000, folds: int = 5, seed: int = 0) -> pd.DataFrame:
    """Transfer between all ordered pairs of domains, on at most `limit` rows of each; `learnt` and `tested` count rows."""
    label, domain = trace.examples["label"].to_numpy(float), grouping(trace, "domain").codes
    known = np.isfinite(label) & ((label >= 0) | (trace.spec.task.kind != "classes"))
    target = np.eye(len(trace.spec.task.classes))[label.clip(0).astype(int)] if trace.spec.task.kind == "classes" else label[:, None]
    generator, rows = np.random.default_rng(seed), []
    for name, x in {**inputs(trace), **trace.representations}.items():
        there = known & np.isfinite(x).all(1)
        places = {d: np.flatnonzero(there & (domain == code)) for code, d in enumerate(trace.spec.domains)}
        places = {d: np.sort(generator.permutation(place)[:limit]) for d, place in places.items() if len(place) >= FEWEST}
        if len(places) > 1:
            rows += [(name, *row) for row in _pairs(x, target, places, folds)]
    return gathered([pd.DataFrame(rows, columns=list(COLUMNS[2:]))], COLUMNS, run=trace.run, split=trace.split)


def inputs(trace: Trace) -> dict[str, np.ndarray]:
    """Float[n w] by "input/m": the mean over the valid steps of every modality of frames; NaN where it is absent."""
    found = {}
    for m in trace.spec.widths:
        parts = [b.x[m].masked_fill(~b.mask[m][..., None], 0).sum(1) / b.mask[m].sum(1, keepdim=True) for b in trace.batches]
        found[f"input/{m}"] = torch.cat(parts).numpy()
    return found


def _pairs(x: np.ndarray, y: np.ndarray, places: dict[str, np.ndarray], folds: int) -> Iterator[tuple[str, str, float, float, int, int]]:
    for home, rows in places.items():
        rule = learn(x[rows], y[rows])
        for other, tested in places.items():
            value = _within(x[rows], y[rows], folds) if other == home else agreement(rule(x[tested]), y[tested])
            yield home, other, value, 1.645 / np.sqrt(len(tested) - 1), len(rows), len(tested)


def learn(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n k"]):
    """The ridge rule of these rows, as a function Float[m d] -> Float[m k]; its features are clipped to 5 deviations of the rows."""
    from sklearn.linear_model import RidgeCV

    mean, spread = x.mean(0), x.std(0)
    scale = np.where(spread > 1e-6, 1 / np.maximum(spread, 1e-6), 0)

    def standard(values: np.ndarray) -> np.ndarray:
        return ((values - mean) * scale).clip(-5, 5)

    model = RidgeCV(ALPHAS).fit(standard(x), y)
    return lambda values: model.predict(standard(values)).reshape(len(values), -1)


def agreement(guess: Float[np.ndarray, "n k"], y: Float[np.ndarray, "n k"]) -> float:
    """Pearson correlation of each column with its own, averaged; 0 for a guess or a label that does not vary."""
    guess, y = guess - guess.mean(0), y - y.mean(0)
    norm = np.sqrt((guess**2).sum(0) * (y**2).sum(0))
    return float(np.where(norm > 1e-9, (guess * y).sum(0) / np.maximum(norm, 1e-9), 0).mean())


def _within(x: np.ndarray, y: np.ndarray, folds: int) -> float:
    # folds of neighbours: clips of one video stand side by side, and a speaker must not be in both parts
    guess, fold = np.zeros_like(y, dtype=float), np.arange(len(x)) * folds // len(x)
    for k in range(folds):
        guess[fold == k] = learn(x[fold != k], y[fold != k])(x[fold == k])
    return agreement(guess, y)


TABLE = Table(COLUMNS, answer)
