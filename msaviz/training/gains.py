"""Which model and objective is better in unseen domains, by how much, and is it more than chance?

From the predictions of many runs to one row a model, objective, target and metric. Utterances are resampled within each domain; the same
resamples serve all runs, so that a gain is a paired comparison, and the worst domain is found anew in every resample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from msaviz.interpret.domain_comparison import COLUMNS
from msaviz.training.bootstrap import draws, interval, resampled_metrics
from msaviz.training.domains import SUMMARIES, summarised
from msaviz.training.metrics import higher_is_better
from msaviz.types import Task

SAMPLES = 1000
Values = Mapping[str, Float[np.ndarray, " k"]]
"""Metric -> its value as observed (first), then in every resample."""
Pair = tuple[str, str]
"""(model, objective)."""


@dataclass(frozen=True)
class Trial:
    """What one run predicted in one domain: `target` names the row that it counts for ("meal", or "film->meal")."""

    model: str
    objective: str
    seed: int
    target: str
    domain: str
    prediction: Float[np.ndarray, " n"]
    label: Float[np.ndarray, " n"]
    floor: Mapping[str, float]

    @property
    def pair(self) -> Pair:
        return self.model, self.objective


def comparison(
    tested: Sequence[Trial], targets: Sequence[str], task: Task, protocol: str, *, against: str = "erm", samples: int = SAMPLES
) -> pd.DataFrame:
    """The columns of the table `domain_comparison`; `against`: an objective (of the same model) or "model/objective".

    "mean" and "worst" are over all `targets`, computed in each seed first (a seed that lacks one, because its run failed, is left out
    there). Raises ValueError where runs were not tested on the same utterances.
    """
    values = resampled_values(tested, task, samples)
    pairs: list[Pair] = list(dict.fromkeys(t.pair for t in tested))
    floors = {(t.pair, t.target): t.floor for t in tested}
    metrics = list(next(iter(values.values()))) if values else []
    stacks = {
        (pair, target, metric): stack
        for pair in pairs
        for metric in metrics
        for target, stack in _stacks({key: v[metric] for key, v in values.items() if key[0] == pair}, targets, metric).items()
    }
    rows = []
    for (pair, target, metric), stack in stacks.items():
        reference = reference_of(pair, against)
        other = stacks.get((reference, target, metric)) if reference != pair else None
        named = {"model": pair[0], "objective": pair[1], "protocol": protocol, "target": target, "metric": metric}
        rows.append({**named, **_row(stack, other, metric), "floor": _floor(floors, pair, target, targets, metric)})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def resampled_values(tested: Sequence[Trial], task: Task, samples: int) -> dict[tuple[Pair, str, int], Values]:
    """(pair, target, seed) -> values; one set of resamples for each domain, whoever was tested there."""
    found = {}
    for number, domain in enumerate(sorted({t.domain for t in tested})):
        group = [t for t in tested if t.domain == domain]
        label = group[0].label
        if not all(np.array_equal(label, t.label, equal_nan=True) for t in group):
            raise ValueError(f"the runs were tested on other utterances or labels of the domain {domain!r}; have the data changed?")
        weights = draws(len(label), samples, seed=number)
        values = resampled_metrics(weights, np.stack([t.prediction for t in group]).astype(float), label.astype(float), task)
        for i, t in enumerate(group):
            found[t.pair, t.target, t.seed] = {metric: v[:, i] for metric, v in values.items()}
    return found


def reference_of(pair: Pair, against: str) -> Pair:
    """What a pair is measured against."""
    model, slash, objective = against.partition("/")
    return (model, objective) if slash else (pair[0], against)


def _stacks(values: Mapping[tuple[Pair, str, int], np.ndarray], targets: Sequence[str], metric: str) -> dict[str, np.ndarray]:
    """Target -> Float[seeds k], then "mean" and "worst" over the targets within each seed that has them all."""
    seeds = sorted({seed for _, _, seed in values})
    by = {(target, seed): v for (_, target, seed), v in values.items()}
    found = {t: np.stack([by[t, s] for s in seeds if (t, s) in by]) for t in targets if any((t, s) in by for s in seeds)}
    whole = [s for s in seeds if all((t, s) in by for t in targets)]
    if whole:
        cube = np.stack([[by[t, s] for t in targets] for s in whole])  # [seeds targets k]
        found |= {name: summarised(cube, metric, name, axis=1) for name in SUMMARIES}
    return found


def _row(stack: np.ndarray, other: np.ndarray | None, metric: str) -> dict[str, float]:
    """Numbers of one row from Float[seeds k]; `other` is the reference's stack."""
    curve = stack.mean(0)
    low, high = interval(curve)
    sd = float(stack[:, 0].std(ddof=1)) if len(stack) > 1 else np.nan
    found = {"mean": float(curve[0]), "sd": sd, "low": low, "high": high, "runs": len(stack)}
    gain = np.full(2, np.nan) if other is None else improvement(curve, other.mean(0), metric)
    gain_low, gain_high = interval(gain)
    return {**found, "gain": float(gain[0]), "gain_low": gain_low, "gain_high": gain_high}


def improvement(value: np.ndarray, reference: np.ndarray, metric: str) -> np.ndarray:
    """How much better in percent of the reference (NaN where that is 0); of a correlation, which may be 0 or negative, in points of .01."""
    sign = 1 if higher_is_better(metric) else -1
    if metric == "corr":
        return 100 * (value - reference)
    size = np.abs(reference)
    return np.divide(sign * 100 * (value - reference), size, out=np.full(np.shape(value), np.nan), where=size > 0)


def _floor(floors: Mapping[tuple[Pair, str], Mapping[str, float]], pair: Pair, target: str, targets: Sequence[str], metric: str) -> float:
    """The constant predictor's value in a target, or the same summary of it."""
    if target not in SUMMARIES:
        return floors[pair, target][metric]
    return float(summarised(np.array([floors[pair, t][metric] for t in targets]), metric, target))
