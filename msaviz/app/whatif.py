"""What would the model say of this utterance if less of it were there, or an expert were switched off?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from msaviz.data.missing import Nothing, RandomFrames, Subset, corrupt
from msaviz.interpret.steering import without
from msaviz.interpret.trace import Trace
from msaviz.training.run import Run
from msaviz.types import Batch, Steer, Task


@dataclass(frozen=True)
class Change:
    """What is changed of an utterance: nothing by default.

    `rates[m]`: share of the steps that are missing; `dropped`: modalities that are not there; `hidden[m]`: single steps that are not;
    `off`: (router, expert) pairs that are switched off; a router by its key, or by the name of all its keys.
    """

    rates: Mapping[str, float] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    hidden: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    off: tuple[tuple[str, int], ...] = ()
    seed: int = 0


def look(run: Run, example: int | Sequence[int], change: Change | None = None, *, split: str = "test") -> Trace:
    """What the model does with row `example` of a split (or with at most 128 rows) after the change: a trace for every table.

    Missing steps become zeros or unknown tokens, as in `msaviz.data.missing`. Raises ValueError for a modality, step, router or expert
    that does not exist, and when every modality is dropped.
    """
    change = change or Change()
    unknown = [m for m in (*change.rates, *change.dropped, *change.hidden) if m not in run.spec.modalities]
    if unknown:
        raise ValueError(f"there is no modality {unknown[0]!r}; the data have {', '.join(run.spec.modalities)}")
    kept = tuple(m for m in run.spec.modalities if m not in change.dropped)
    if not kept:
        raise ValueError(f"one modality must stay; dropped: {', '.join(change.dropped)}")
    (batch,) = run.batches(split, rows=np.atleast_1d(example))
    for m, steps in change.hidden.items():
        batch = hide(batch, m, steps, run.dataset.unknown)
    for less in (RandomFrames(rate=dict(change.rates)) if change.rates else Nothing(), Subset(keep=kept) if change.dropped else Nothing()):
        batch = corrupt(batch, less, seed=change.seed, unknown=run.dataset.unknown)
    if change.off:
        batch = replace(batch, steered=silenced(run.observed(batch, split), change.off))
    return run.observed(batch, split)


def silenced(trace: Trace, off: Sequence[tuple[str, int]]) -> dict[str, Steer]:
    """Steering by which none of these experts is called; ValueError where a router would have none left."""
    steered: dict[str, Steer] = {}
    for router, expert in off:
        for key, steer in without(trace.outputs[0].routing, router, expert).items():
            before = steered.get(key, steer)
            steered[key] = Steer(allowed=steer.allowed & before.allowed)  # type: ignore[operator]
    empty = [key for key, steer in steered.items() if not steer.allowed.any()]  # type: ignore[union-attr]
    if empty:
        raise ValueError(f"{empty[0]}: one expert must stay")
    return steered


def hide(batch: Batch, modality: str, steps: tuple[int, ...], unknown: Mapping[str, int]) -> Batch:
    """The batch with these steps of a modality zero, or the unknown token."""
    length = batch.x[modality].shape[1]
    if wrong := [step for step in steps if not 0 <= step < length]:
        raise ValueError(f"{modality} has steps 0 to {length - 1}; asked to hide {wrong[0]}")
    gone = torch.zeros(length, dtype=torch.bool)
    gone[list(steps)] = True
    x = batch.x[modality]
    return batch.with_x(**{modality: x.masked_fill(gone[:, None], 0) if x.is_floating_point() else x.masked_fill(gone, unknown[modality])})


def said_of(value: float, task: Task) -> str:
    """A label or a prediction in words: a number, or the name of a class."""
    if value != value or (task.classes and value < 0):
        return "none"
    return task.classes[int(value)] if task.classes else f"{value:.2f}"


def mean_of(trace: Trace) -> str:
    """The predictions of several utterances in words, as HTML: their mean, or how many classes are right."""
    examples = trace.examples
    if trace.spec.task.classes:
        return f"{int((examples['error'] == 0).sum())} of {len(examples)} right"
    return f"mean label {examples['label'].mean():.2f}, mean prediction <b>{examples['prediction'].mean():.2f}</b>"
