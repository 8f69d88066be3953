"""What is each modality worth, alone and with others: exact Shapley values and interactions from all sets of modalities at once?

v(S) is the explained number when only the modalities of S are there, and v of the empty set what the model says of nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import factorial

import numpy as np
import torch
from einops import rearrange, repeat

from msaviz.interpret.explained import Explained, chunks, evaluating, references
from msaviz.interpret.trace import Trace
from msaviz.types import Batch, subsets


@dataclass(frozen=True)
class Coalitions:
    """`values`: Float[n 2^M], the explained number of each utterance for each of `sets` (the empty one first, the full one last)."""

    trace: Trace
    baseline: str
    modalities: tuple[str, ...]
    sets: tuple[tuple[str, ...], ...]
    values: np.ndarray
    present: np.ndarray  # Bool[n M]

    @cached_property
    def shapley(self) -> dict[str, np.ndarray]:
        """Modality -> Float[n]: its Shapley value; exactly 0 where the utterance lacks it. They sum to v(all) - v(nothing)."""
        return {m: self._index((m,)) for m in self.modalities}

    @cached_property
    def interactions(self) -> dict[tuple[str, ...], np.ndarray]:
        """Every set of two or more -> Float[n]: its Shapley interaction index (Grabisch & Roubens 1999).

        0 where the members add up, above 0 where they bring more together than apart (synergy), below 0 where they say the same
        (redundancy), for a positive number; the signs turn with its sign.
        """
        return {part: self._index(part) for part in subsets(self.modalities) if len(part) > 1}

    @cached_property
    def gap(self) -> np.ndarray:
        """Float[n]: v(all) - v(nothing) - the sum of the Shapley values: rounding."""
        return self.values[:, -1] - self.values[:, 0] - np.sum(list(self.shapley.values()), axis=0)

    def _index(self, part: tuple[str, ...]) -> np.ndarray:
        there = self.present[:, [self.modalities.index(m) for m in part]].all(1)
        return np.where(there, self.values @ weights(self.modalities, self.sets, part), 0.0)


def weights(modalities: Sequence[str], sets: Sequence[tuple[str, ...]], part: tuple[str, ...]) -> np.ndarray:
    """Float[2^M]: by which v of each set enters the interaction index of `part` (its Shapley value for one modality).

    I(S) = sum over T outside S of (n - t - s)! t! / (n - s + 1)! times the sum over L in S of (-1)^(s - l) v(L and T).
    """
    n, s = len(modalities), len(part)
    found = []
    for one in sets:
        outside = sum(m not in part for m in one)
        sign = (-1) ** (s - (len(one) - outside))
        found.append(sign * factorial(n - outside - s) * factorial(outside) / factorial(n - s + 1))
    return np.array(found)


def coalitions(trace: Trace, *, baseline: str = "missing", routing: str = "live", train: Sequence[Batch] = ()) -> Coalitions:
    """All sets of modalities of all utterances, as many in one forward pass as fit.

    What is outside a set is missing, or shows the `baseline` ("zero", "mean" of the batches `train`). Routers decide anew for every set
    (`routing` "live"): without a modality other experts may be all that can be called. Raises ValueError for a trace without a model.
    """
    if baseline == "train" or (baseline == "mean" and not train):
        raise ValueError("a set is completed by one value: baseline missing, zero, or mean (which needs the batches `train`)")
    modalities = trace.batches[0].modalities
    sets = ((), *subsets(modalities))
    member = torch.tensor([[m in one for m in modalities] for one in sets])
    values = np.zeros((len(trace.examples), len(sets)))
    with evaluating(trace) as model:
        stands_in = references(baseline, model, train or trace.batches)
        for rows, batch in chunks(trace, len(sets)):
            explained = Explained(model, batch, routing=routing)
            copies = repeat(explained.rows, "b -> (b c)", c=len(sets))
            keep = {m: repeat(member[:, i].float().to(copies.device), "c -> (b c) 1", b=len(rows)) for i, m in enumerate(modalities)}
            with torch.no_grad():
                found = explained.hidden(keep, copies, stands_in)
            values[rows] = rearrange(found.double().cpu().numpy(), "(b c) -> b c", c=len(sets))
    present = np.stack([trace.present(m) for m in modalities], 1)
    return Coalitions(trace, baseline, modalities, sets, values, present)
