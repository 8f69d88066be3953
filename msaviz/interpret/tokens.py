"""What did a router do with each token of a trace, as flat arrays? (N routed tokens, n utterances, e experts)"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from msaviz.interpret.trace import Trace
from msaviz.types import Routing

TENTHS = ("summary", *(f"{10 * i}–{10 * i + 10} %" for i in range(10)))
"""Names of the parts of an utterance: learned summary tokens, then its tenths."""


@dataclass(frozen=True)
class Routed:
    """The tokens that one router saw, padding left out. `row` is the utterance's position in the trace."""

    router: str
    modality: str
    gates: np.ndarray  # Float[N e]
    row: np.ndarray  # Int[N]
    time: np.ndarray | None  # Int[N], -1 for a summary token; None for an utterance-level router
    utterances: int

    @property
    def experts(self) -> int:
        return self.gates.shape[1]

    @cached_property
    def load(self) -> np.ndarray:
        """Float[e], sums to 1: share of the work. A sparse router's tokens count 1/k for each chosen expert, a dense one's their gates."""
        chosen = self.gates > 0
        if chosen.all():
            return self.gates.mean(0, dtype=np.float64)
        return (chosen / chosen.sum(1, keepdims=True).clip(1)).mean(0)

    @cached_property
    def by_utterance(self) -> np.ndarray:
        """Float[n e]: mean gate of each utterance; NaN rows where nothing was routed (the modality is absent)."""
        sums, counts = summed(self.gates, self.row, self.utterances)
        with np.errstate(invalid="ignore"):
            return np.where(counts[:, None] > 0, sums / counts[:, None].clip(1), np.nan)

    @cached_property
    def tenth(self) -> np.ndarray:
        """Int[N], a position in TENTHS: relative to the last routed step of the token's own utterance; -1 without times."""
        if self.time is None:
            return np.full(len(self.row), -1)
        last = np.zeros(self.utterances, dtype=np.int64)
        np.maximum.at(last, self.row, self.time)
        relative = (10 * self.time) // (last[self.row] + 1)
        return np.where(self.time < 0, 0, 1 + relative.clip(0, 9))


def summed(values: np.ndarray, codes: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums Float[g d] and counts Float[g] of the rows of `values` by code; rows with code -1 are left out."""
    keep = torch.as_tensor(codes >= 0)
    index = torch.as_tensor(codes)[keep]
    rows = torch.as_tensor(values)[keep].double()
    sums = torch.zeros(groups, values.shape[1], dtype=torch.float64).index_add_(0, index, rows)
    return sums.numpy(), torch.bincount(index, minlength=groups).double().numpy()


def routed(trace: Trace) -> list[Routed]:
    """Every router of the trace, as flat arrays over its valid tokens; a router that saw no token is left out."""
    found = [_flat(trace, key) for key in trace.routers]
    return [tokens for tokens in found if len(tokens.row)]


def _flat(trace: Trace, key: str) -> Routed:
    steps = trace.routing(key)
    starts = np.cumsum([0, *(len(batch) for batch in trace.batches)])
    modality = steps[0].modality
    return Routed(
        router=key.removesuffix(f"/{modality}"),
        modality=modality,
        gates=torch.cat([step.gates[step.mask] for step in steps]).float().numpy(),
        row=torch.cat([step.mask.nonzero()[:, 0] + int(start) for step, start in zip(steps, starts, strict=False)]).numpy(),
        time=None if steps[0].time is None else torch.cat([_times(step) for step in steps]).long().numpy(),
        utterances=int(starts[-1]),
    )


def _times(step: Routing) -> torch.Tensor:
    """Int[N of this batch]; times may be given per utterance, Int[b t], or once for the whole batch, Int[t]."""
    assert step.time is not None
    return step.time.expand(step.mask.shape)[step.mask]
