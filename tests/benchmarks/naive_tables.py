"""What would a first script write to answer the questions of some tables, utterance by utterance and draw by draw?

Each function returns {key of a row: its numbers}: keys in the columns KEYS, numbers in the columns VALUES of the table of its name. The
random draws are those of the table, so that the numbers can be compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import replace
from itertools import combinations, permutations
from math import factorial

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score

from msaviz.interpret import similarity
from msaviz.interpret.groups import grouping
from msaviz.interpret.leakage import ALPHAS, folded
from msaviz.interpret.resample import resamples
from msaviz.interpret.tokens import TENTHS
from msaviz.interpret.trace import Trace
from msaviz.types import Batch

Found = dict[Hashable, tuple[float, ...]]
KEYS = {
    "expert_usage": ("router", "modality", "by", "group", "metric", "expert"),
    "gate_by_domain": ("router", "modality", "domain", "expert"),
    "space_overlap": ("representation", "other", "metric"),
    "leakage": ("representation", "target", "metric"),
    "modality_shapley": ("domain", "part", "kind"),
}
VALUES = {
    "expert_usage": ("value",),
    "gate_by_domain": ("gate", "low", "high", "divergence", "floor"),
    "space_overlap": ("value", "floor"),
    "leakage": ("value", "low", "high", "floor"),
    "modality_shapley": ("value",),
}
FEW = 64
"""Utterances on which coalitions are run one by one."""


def utterances(trace: Trace) -> Iterator[tuple[int, str, str, np.ndarray, np.ndarray | None]]:
    """(position, router, modality, gates Float[t e], times Int[t]) of each utterance under each router that saw it."""
    start = 0
    for batch, output in zip(trace.batches, trace.outputs, strict=True):
        for key, step in output.routing.items():
            for i in range(len(batch)):
                there = step.mask[i]
                if there.any():
                    time = None if step.time is None else step.time.expand(step.mask.shape)[i][there].numpy()
                    yield start + i, key.removesuffix(f"/{step.modality}"), step.modality, step.gates[i][there].numpy(), time
        start += len(batch)


def expert_usage(trace: Trace) -> Found:
    sums, counts = defaultdict(float), defaultdict(int)
    groups = {kind: grouping(trace, kind) for kind in ("all", "domain", "label")}
    for row, router, modality, gates, time in utterances(trace):
        own = {kind: group.names[group.codes[row]] for kind, group in groups.items() if group.codes[row] >= 0}
        for t, gate in enumerate(gates):
            if time is not None:
                own["time"] = TENTHS[0] if time[t] < 0 else TENTHS[1 + min(9, 10 * int(time[t]) // (max(int(time.max()), 0) + 1))]
            for by, group in own.items():
                counts[router, modality, by, group] += 1
                for e, value in enumerate(gate):
                    sums[router, modality, by, group, "gate", e] += float(value)
                    sums[router, modality, by, group, "selected", e] += float(value > 0)
                    sums[router, modality, by, group, "top", e] += float(gate.argmax() == e)
    return {key: (value / counts[key[:4]],) for key, value in sums.items()}


def gate_by_domain(trace: Trace, draws: int = 300, shuffles: int = 200) -> Found:
    rows, domain = defaultdict(list), grouping(trace, "domain")
    for row, router, modality, gates, _ in utterances(trace):
        rows[router, modality].append((domain.codes[row], gates.mean(0, dtype=np.float64)))
    found: Found = {}
    for (router, modality), seen in rows.items():
        code, gates = np.array([c for c, _ in seen]), np.array([g for _, g in seen])
        orders = np.random.default_rng(0).permuted(np.tile(np.arange(len(gates)), (shuffles, 1)), axis=1)
        for d in np.unique(code):
            mine = gates[code == d]
            chance = [_divergence(gates[code[order] == d].mean(0), gates.mean(0)) for order in orders]
            means = np.array([np.average(mine, axis=0, weights=w) for w in resamples(np.arange(len(mine)), draws)])
            told = _divergence(mine.mean(0), gates.mean(0)), float(np.quantile(chance, 0.95))
            for e in range(gates.shape[1]):
                low, high = np.quantile(means[:, e], [0.025, 0.975])
                found[router, modality, domain.names[d], e] = (mine[:, e].mean(), low, high, *told)
    return found


def _divergence(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a / a.sum(), b / b.sum()
    return max(0.0, sum(float(p * np.log(max(p, 1e-12) / max(q, 1e-12))) for p, q in zip(a, b, strict=True)))


def space_overlap(trace: Trace, draws: int = 20, limit: int = 1000, kernel: int = 400) -> Found:
    spaces = {name: x for name, x in trace.representations.items() if name != "fused"}
    found: Found = {}
    for one, other in combinations(spaces, 2):
        generator = np.random.default_rng(0)
        rows = np.flatnonzero(np.isfinite(spaces[one]).all(1) & np.isfinite(spaces[other]).all(1))
        rows = np.sort(generator.choice(rows, limit, replace=False)) if len(rows) > limit else rows
        x, y = spaces[one][rows].astype(np.float64), spaces[other][rows].astype(np.float64)
        orders = generator.permuted(np.tile(np.arange(len(x)), (draws, 1)), axis=1)
        found[one, other, "cosine"] = _cosine(x, y), _floor([_cosine(x, y[order]) for order in orders])
        found[one, other, "cka"] = _cka(x, y), _floor([_cka(x, y[order]) for order in orders])
        a, b = x[:kernel], y[:kernel]
        found[one, other, "hsic"] = _hsic(a, b), _floor([_hsic(a, b[order[order < len(a)]]) for order in orders])
    return found


def _floor(values: list[float]) -> float:
    return float(np.quantile(values, 0.95))


def _cosine(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(0), y - y.mean(0)
    return float(np.mean([np.dot(a, b) ** 2 / (np.dot(a, a) * np.dot(b, b)) for a, b in zip(x, y, strict=True)]))


def _cka(x: np.ndarray, y: np.ndarray) -> float:
    """From the n x n kernels with their diagonals left out (Song et al. 2012)."""

    def inner(k: np.ndarray, l: np.ndarray) -> float:
        n = len(k)
        return np.sum(k * l.T) + k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k.sum(0) @ l.sum(0))

    x, y = x - x.mean(0), y - y.mean(0)
    k, l = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0)
    np.fill_diagonal(l, 0)
    return float(inner(k, l) / np.sqrt(inner(k, k) * inner(l, l)))


def _hsic(x: np.ndarray, y: np.ndarray) -> float:
    return float(similarity.normalised_hsic(similarity.gram(x), similarity.gram(y)))


def leakage(trace: Trace, folds: int = 5, shuffles: int = 20, limit: int = 2000) -> Found:
    """The label alone (r2): each permuted target has probes of its own, each resample a score of its own."""
    rows = np.arange(len(trace.examples))
    if len(rows) > limit:
        rows = np.sort(np.random.default_rng(0).choice(rows, limit, replace=False))
    label, found = trace.examples["label"].to_numpy()[rows], {}
    for name, values in trace.representations.items():
        known = np.isfinite(values[rows]).all(1) & np.isfinite(label)
        x, y, group, generator = values[rows][known], label[known], rows[known], np.random.default_rng(0)
        targets = [y.astype(np.float64), *(generator.permutation(y).astype(np.float64) for _ in range(shuffles))]
        fold = folded(group, np.zeros(len(y)), folds, generator)
        guesses = [_guess(x, target, fold) for target in targets]
        scores = [r2_score(targets[0], guesses[0], sample_weight=w) for w in resamples(group)]
        floor = _floor([float(r2_score(a, b)) for a, b in zip(targets[1:], guesses[1:], strict=True)])
        found[name, "label", "r2"] = (r2_score(targets[0], guesses[0]), *np.quantile(scores, [0.025, 0.975]), floor)
    return found


def _guess(x: np.ndarray, y: np.ndarray, fold: np.ndarray) -> np.ndarray:
    guess = np.zeros_like(y)
    for i in np.unique(fold):
        train, test = x[fold != i], x[fold == i]
        mean, scale = train.mean(0, dtype=np.float64), train.std(0, dtype=np.float64)
        inverse = np.where(scale > 1e-8, 1 / scale.clip(1e-8), 0)
        guess[fold == i] = RidgeCV(ALPHAS).fit((train - mean) * inverse, y[fold != i]).predict((test - mean) * inverse)
    return guess


def few(trace: Trace, count: int = FEW) -> Trace:
    """The first utterances of a trace, of one batch."""
    batch, output = trace.batches[0], trace.outputs[0]
    assert len(batch) >= count
    return replace(trace, batches=(batch.map(lambda v: v[:count]),), outputs=(output.map(lambda v: v[:count] if v.ndim else v),))


def modality_shapley(trace: Trace) -> Found:
    """Each utterance and each set of modalities in a forward pass of its own; Shapley values over all orders of the modalities."""
    assert trace.model is not None
    modalities, worth = trace.batches[0].modalities, defaultdict(list)
    for batch in trace.batches:
        for i in range(len(batch)):
            one = batch.map(lambda v: v[i : i + 1])  # noqa: B023
            value = {s: _explained(trace.model, one, s) for n in range(len(modalities) + 1) for s in combinations(modalities, n)}
            for order in permutations(modalities):
                for place, m in enumerate(order):
                    with_it = tuple(k for k in modalities if k in order[: place + 1])
                    without = tuple(k for k in with_it if k != m)
                    worth[m].append((value[with_it] - value[without]) / factorial(len(modalities)))
    return {("all", m, "value"): (sum(values) / len(trace.examples),) for m, values in worth.items()}


def _explained(model: torch.nn.Module, one: Batch, kept: tuple[str, ...]) -> float:
    with torch.inference_mode():
        return float(model(replace(one, mask={m: mask & (m in kept) for m, mask in one.mask.items()})).prediction[0])
