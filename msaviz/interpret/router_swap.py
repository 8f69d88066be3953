"""Does it matter what a router decides: how much worse are the predictions with other gates in place of its own?

* "uniform": the same weight for every expert, 1/e.
* "mean": its mean gates over the split, for every token of every utterance: what is lost is that it looks at the input.
* "shuffled": the mean gates of another utterance, the change of the error averaged over several random orders.
* "other modality: audio": the mean gates that it has there, for a router that serves several modalities with the same experts.

`value` is the mean error with the other gates minus that with its own: positive = worse, so that its decision matters. Only utterances
in which it decides anything count. `low`, `high`: 95 % paired bootstrap interval over them. The metric is `mae` (units of the label), or
`error` for classes (share of wrong ones). Where experts can be called only if all their modalities are there, the others share the gates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from msaviz.interpret.counterfactual import SEPARATE, Steered, change, metric, steerable, told
from msaviz.interpret.resample import averages
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered
from msaviz.interpret.tokens import routed
from msaviz.interpret.trace import Trace
from msaviz.types import JOINT

COLUMNS = ("run", "split", "router", "modality", "swap", "metric", "value", "low", "high", "utterances")
OTHER = "other modality: "


def answer(trace: Trace, *, shuffles: int = 5, resamples: int = 300, seed: int = 0, separate: Sequence[str] = SEPARATE) -> pd.DataFrame:
    """Each router with several experts, in each modality; reads the trace's batches once for each swap and each of the `shuffles`."""
    if trace.model is None:
        return pd.DataFrame()
    own = {(r.router, r.modality): r.by_utterance for r in routed(trace)}
    several = {one.router for one in steerable(trace, separate) if one.modality == JOINT and len(one.keys) > 1}
    parts = []
    for one in steerable(trace, separate):
        if len(one.keys) > 1 or (one.router, one.modality) not in own:
            continue
        decided = np.isfinite(own[one.router, one.modality][:, 0])
        others = {m: gates for (router, m), gates in own.items() if router == one.router and m != one.modality}
        names, swaps = zip(*_swaps(own[one.router, one.modality], others if one.router in several else {}, shuffles, seed), strict=True)
        able = callable_experts(trace, one)
        changes = np.stack([np.mean([_changed(trace, one, gates, able) for gates in swap], axis=0) for swap in swaps], 1)
        chosen = decided & np.isfinite(changes).all(1)
        if chosen.any():
            part = averages(changes[chosen], resamples, seed).assign(swap=names, metric=metric(trace), utterances=int(chosen.sum()))
            parts.append(part.assign(router=one.router, modality=one.modality))
    return gathered(parts, COLUMNS, run=trace.run, split=trace.split)


def _swaps(gates: np.ndarray, others: dict[str, np.ndarray], shuffles: int, seed: int) -> Iterator[tuple[str, list[np.ndarray]]]:
    """(name, one or several gates Float[n e]) in place of the mean gates of the utterances, Float[n e] with NaN rows."""
    decided, mean = np.isfinite(gates[:, 0]), np.nanmean(gates, axis=0)
    yield "uniform", [np.full_like(gates, 1 / gates.shape[1])]
    yield "mean", [np.broadcast_to(mean, gates.shape)]
    rows, generator = np.flatnonzero(decided), np.random.default_rng(seed)
    if len(rows) > 1:
        yield "shuffled", [_of_another(gates, generator.permutation(rows)) for _ in range(shuffles)]
    for modality, there in others.items():
        yield OTHER + modality, [np.broadcast_to(np.nanmean(there, axis=0), gates.shape)]


def _of_another(gates: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Everybody has the gates of who comes next in a random circle, so that nobody keeps its own."""
    moved = gates.copy()
    moved[order] = gates[np.roll(order, -1)]
    return moved


def callable_experts(trace: Trace, one: Steered) -> np.ndarray | None:
    """Bool[n e]: whose modalities are all there, where the experts are sets of modalities ("text+audio"); None where all can be called."""
    names = trace.outputs[0].contributors
    sets = [name.split("+") for name in names]
    if one.modality != JOINT or len(sets) != one.experts or not {m for members in sets for m in members} <= set(trace.spec.modalities):
        return None
    there = {m: trace.present(m) for m in trace.spec.modalities}
    return np.stack([np.all([there[m] for m in members], axis=0) for members in sets], 1)


def _changed(trace: Trace, one: Steered, gates: np.ndarray, able: np.ndarray | None) -> np.ndarray:
    """Float[n]: the change of the error with these gates, shared by the experts that can be called."""
    if able is not None:
        kept = np.where(able, gates, 0.0)
        total = kept.sum(1, keepdims=True)
        even = able / able.sum(1, keepdims=True).clip(1)  # none of the swapped gates falls on who can be called
        gates = np.where(total > 1e-9, kept / total.clip(1e-9), even)
    return change(trace, told(trace, dict.fromkeys(one.keys, gates)))


TABLE = Table(COLUMNS, answer)
