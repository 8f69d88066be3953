"""What do a model and a dataset say to each other?

The legend of axis letters: b batch (utterances), t time (steps, frames or tokens), d feature, e expert, c class.
Every noun here is a frozen value. Nothing here computes more than a check or a copy.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def subsets(modalities: Sequence[str]) -> list[tuple[str, ...]]:
    """All 2^M - 1 sets of modalities, small ones first; the full set is last. ValueError for more than 16 modalities."""
    if len(modalities) > 16:
        raise ValueError(f"{len(modalities)} modalities have 2^{len(modalities)} - 1 sets, too many to look at each; choose at most 16")
    return [s for size in range(1, len(modalities) + 1) for s in combinations(modalities, size)]


GRADE = "_grade"
"""What the name of a derived head ends in: the whole-number grade of a real label."""

JOINT = "joint"
"""The `modality` of a router or a representation that belongs to no single modality."""


@dataclass(frozen=True)
class Task:
    """One head's target: a real number between `low` and `high`, or one of `classes` (integers from 0; -1 = no label)."""

    kind: Literal["regression", "classes"] = "regression"
    low: float = -3.0
    high: float = 3.0
    classes: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Numbers that a head must put out for one utterance."""
        return len(self.classes) if self.kind == "classes" else 1

    @property
    def middle(self) -> float:
        """The neutral value of a real number: the middle of its scale."""
        return (self.low + self.high) / 2


@dataclass(frozen=True)
class Spec:
    """All that a model may know of the data: widths, vocabularies, domains and tasks.

    `widths[m]` is the feature width of modality m; for a modality of token ids it is absent there and
    `vocabularies[m]` holds the number of ids instead. The first task is the main one.
    """

    widths: Mapping[str, int]
    tasks: Mapping[str, Task]
    vocabularies: Mapping[str, int] = field(default_factory=dict)
    domains: tuple[str, ...] = ("all",)
    modalities: tuple[str, ...] = ()
    """The order of the modalities everywhere (a text modality first, by custom)."""

    def __post_init__(self) -> None:
        known = (*self.vocabularies, *self.widths)
        if not self.modalities:
            object.__setattr__(self, "modalities", known)
        if set(self.modalities) != set(known) or len(known) != len(set(known)):
            raise ValueError(f"modalities {list(self.modalities)} disagree with widths and vocabularies {list(known)}")
        if not self.tasks:
            raise ValueError("a Spec needs at least one task")
        if strange := [task for task in self.tasks if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", task)]:  # they name modules and files
            raise ValueError(f"a task's name is letters, digits and _ -; got {strange[0]!r}")

    @property
    def target(self) -> str:
        """Name of the main task."""
        return next(iter(self.tasks))

    @property
    def task(self) -> Task:
        return self.tasks[self.target]


def graded(task: Task) -> Task:
    """The class task of a real label's whole numbers: "-3" to "3"."""
    return Task("classes", classes=tuple(f"{grade}" for grade in range(math.ceil(task.low), math.floor(task.high) + 1)))


def heads_of(spec: Spec) -> dict[str, Task]:
    """All that a multi-task model may predict: the data's tasks, and the grade of a real main label ("sentiment_grade")."""
    derived = {f"{spec.target}{GRADE}": graded(spec.task)} if spec.task.kind == "regression" else {}
    return {**spec.tasks, **{name: task for name, task in derived.items() if name not in spec.tasks}}


def label_of(labels: Mapping[str, Tensor], head: str, spec: Spec) -> Tensor:
    """The labels of a head of `heads_of(spec)`: Float[n] or Int[n] (-1 = none); a grade is the label clipped and rounded."""
    if head in labels:
        return labels[head]
    task, y = spec.task, labels[spec.target]
    grade = y.clamp(math.ceil(task.low), math.floor(task.high)).round() - math.ceil(task.low)
    return torch.where(torch.isnan(y), -1, grade).long()


@dataclass(frozen=True)
class Steer:
    """How a router is steered from outside: whom it may call, or what it decides. t may be 1: the same at every step.

    An expert that is not `allowed` gets a gate of exactly 0, and the others are chosen and share as if it did not exist. `gates` stand in
    for the router's own, whatever they sum to; where they are NaN the router decides.
    """

    allowed: Bool[Tensor, "b t e"] | None = None
    gates: Float[Tensor, "b t e"] | None = None

    def map(self, function: Callable[[Tensor], Tensor]) -> Steer:
        return Steer(*(None if tensor is None else function(tensor) for tensor in (self.allowed, self.gates)))


@dataclass(frozen=True)
class Batch:
    """Some utterances: sequences, their masks, labels, domains and row numbers.

    `mask[m]` is True on valid steps; a row that is all False says that the modality is missing: there is no second flag.
    `labels[task]` holds NaN (regression) or -1 (classes) where no label exists.
    `example` is the row number in the dataset's split: the key of every table and of every random mask.
    A corrupted batch made for training carries the untouched one as `complete`; models may use that as a detached
    target only, and never read it in eval mode.
    """

    x: Mapping[str, Tensor]  # Float[b t d], or Int[b t] token ids
    mask: Mapping[str, Bool[Tensor, "b t"]]
    labels: Mapping[str, Tensor]  # Float[b] or Int[b]
    domain: Int[Tensor, " b"]
    example: Int[Tensor, " b"]
    complete: Batch | None = None
    dropped: Mapping[str, Bool[Tensor, "b t"]] = field(default_factory=dict)
    """True on steps that `complete` has and that were removed from this batch (empty when nothing was corrupted)."""
    steered: Mapping[str, Steer] = field(default_factory=dict)
    """By routing key: what a router is told from outside (nothing, outside of analyses)."""

    def __post_init__(self) -> None:
        if set(self.x) != set(self.mask):
            raise ValueError(f"x holds {sorted(self.x)} but mask holds {sorted(self.mask)}")
        rows = len(self.example)
        for m, x in self.x.items():
            if x.shape[:2] != self.mask[m].shape:
                raise ValueError(f"x[{m!r}] is {tuple(x.shape)} but its mask is {tuple(self.mask[m].shape)}")
            if len(x) != rows:
                raise ValueError(f"x[{m!r}] has {len(x)} rows, `example` has {rows}")
        for name, y in {**self.labels, "domain": self.domain}.items():
            if len(y) != rows:
                raise ValueError(f"{name!r} has {len(y)} rows, `example` has {rows}")

    def __len__(self) -> int:
        return len(self.example)

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.x)

    @property
    def y(self) -> Tensor:
        """Labels of the main task: the first one."""
        return next(iter(self.labels.values()))

    def present(self, modality: str) -> Bool[Tensor, " b"]:
        """Which utterances have any valid step of this modality."""
        return self.mask[modality].any(1)

    def kept(self, modality: str) -> Float[Tensor, " b"]:
        """Share of the complete steps that corruption left (1 where nothing was dropped, 0 where nothing exists)."""
        mask = self.mask[modality]
        if not self.dropped:
            return mask.any(1).float()
        full = self.complete.mask[modality] if self.complete is not None else mask | self.dropped[modality]
        return (full & ~self.dropped[modality]).sum(1) / full.sum(1).clamp(min=1)

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """The same batch with `function` applied to every tensor (and to those of `complete`)."""

        def each(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {k: function(v) for k, v in tensors.items()}

        return Batch(
            each(self.x),
            each(self.mask),
            each(self.labels),
            function(self.domain),
            function(self.example),
            self.complete and self.complete.map(function),
            each(self.dropped),
            {key: steer.map(function) for key, steer in self.steered.items()},
        )

    @staticmethod
    def join(batches: Sequence[Batch]) -> Batch:
        """Batches of equal time axes, one after the other; none of them steered."""
        assert not any(b.steered for b in batches)

        def each(parts: list[Mapping[str, Tensor]]) -> dict[str, Tensor]:
            return {k: torch.cat([part[k] for part in parts]) for k in parts[0]}

        complete = [b.complete for b in batches if b.complete is not None]
        return Batch(
            each([b.x for b in batches]),
            each([b.mask for b in batches]),
            each([b.labels for b in batches]),
            torch.cat([b.domain for b in batches]),
            torch.cat([b.example for b in batches]),
            Batch.join(complete) if complete else None,
            each([b.dropped for b in batches]),
        )

    def to(self, device: torch.device | str) -> Batch:
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))

    def with_x(self, **x: Tensor) -> Batch:
        """The same batch with other sequences in place (equal batch and time axes)."""
        return replace(self, x={**self.x, **x})


@dataclass(frozen=True)
class Routing:
    """What one router decided: `gates` sum to 1 over the experts; `mask` is True on steps that were really routed."""

    logits: Float[Tensor, "b t e"]
    gates: Float[Tensor, "b t e"]
    mask: Bool[Tensor, "b t"]
    modality: str = JOINT
    time: Int[Tensor, "b t"] | None = None
    """First source step of each routed position, by utterance (long sequences are pooled to windows whose width depends
    on the utterance's own length); -1 for a summary token; None for an utterance-level router (t = 1)."""
    wrote: Float[Tensor, "b s d"] | None = None
    """The gated sums of the experts, as they go on from here: what flows through an expert is read from it. A trace does not keep it."""


@dataclass(frozen=True)
class Output:
    """What a model returns: predictions and everything that one may want to look at. Never stored on the model.

    `predictions[task]`: Float[b] (regression) or Float[b c] (class logits), the main task first.
    `routing` is keyed "router/modality" (or "router" when it is joint); `private`, `shared` by modality: Float[b d],
    averaged over the valid steps, zero where the modality is absent. `importance`: Float[b k] over the names in
    `contributors` (rows sum to 1; exactly 0 for what is absent). `losses` are unweighted scalars; `weights` are the
    factors that the model's options give them; before the share `starts[name]` of the training is done a loss does not
    count. `uncertainty[task]`: log sigma^2 of a head, by which the objective weighs its loss (`L / 2 sigma^2 + log sigma`; one that
    is not named counts once). `masks` by modality: which of the modality's d coordinates each expert reads (the same for every
    utterance).
    """

    predictions: Mapping[str, Tensor]
    fused: Float[Tensor, "b d"]
    routing: Mapping[str, Routing] = field(default_factory=dict)
    private: Mapping[str, Float[Tensor, "b d"]] = field(default_factory=dict)
    shared: Mapping[str, Float[Tensor, "b d"]] = field(default_factory=dict)
    importance: Float[Tensor, "b k"] | None = None
    contributors: tuple[str, ...] = ()
    uncertainty: Mapping[str, Float[Tensor, ""]] = field(default_factory=dict)
    completeness: Mapping[str, Float[Tensor, " b"]] = field(default_factory=dict)
    losses: Mapping[str, Float[Tensor, ""]] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    starts: Mapping[str, float] = field(default_factory=dict)
    masks: Mapping[str, Bool[Tensor, "e d"]] = field(default_factory=dict)

    @property
    def prediction(self) -> Tensor:
        return next(iter(self.predictions.values()))

    def map(self, function: Callable[[Tensor], Tensor]) -> Output:
        """The same output with `function` applied to every tensor."""

        def each(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {k: function(v) for k, v in tensors.items()}

        def route(r: Routing) -> Routing:
            time = None if r.time is None else function(r.time)
            wrote = None if r.wrote is None else function(r.wrote)
            return replace(r, logits=function(r.logits), gates=function(r.gates), mask=function(r.mask), time=time, wrote=wrote)

        return replace(
            self,
            predictions=each(self.predictions),
            fused=function(self.fused),
            routing={k: route(r) for k, r in self.routing.items()},
            private=each(self.private),
            shared=each(self.shared),
            importance=None if self.importance is None else function(self.importance),
            uncertainty=each(self.uncertainty),
            completeness=each(self.completeness),
            losses=each(self.losses),
            masks=each(self.masks),
        )
