"""What do the tables that judge attributions share: which utterances are asked, values beside steps, ranks and intervals?

n utterances, b rows of a chunk, t steps of a modality, T steps of all modalities after each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from msaviz.interpret.attributed import checked
from msaviz.interpret.attribution import Attribution, Steps
from msaviz.interpret.explained import references, trimmed
from msaviz.interpret.trace import Trace
from msaviz.types import Batch, Output

ALL = "all"


def stepwise(attributions: Mapping[str, Attribution]) -> dict[str, Attribution]:
    """Those that say what each step brought; an attribution over features alone does not."""
    return {label: one for label, one in checked(attributions).items() if one.steps}


def spread(count: int, limit: int | None) -> np.ndarray:
    """Positions of at most `limit` of `count` utterances, evenly spread; all of them for None. Raises ValueError for a limit below 1."""
    if limit is not None and limit < 1:
        raise ValueError(f"a limit of {limit} leaves no utterance; give 1 or more, or None for all {count}")
    return np.arange(count) if limit is None or limit >= count else np.linspace(0, count - 1, limit).round().astype(int)


def part(trace: Trace, positions: np.ndarray) -> Trace:
    """The trace of these utterances alone, in the order of their positions (which must rise); of its outputs the predictions remain."""
    batches, outputs, start = [], [], 0
    for batch, output in zip(trace.batches, trace.outputs, strict=True):
        rows = torch.from_numpy(positions[(positions >= start) & (positions < start + len(batch))] - start)
        if len(rows):
            batches.append(trimmed(batch, rows))
            outputs.append(Output({name: y[rows] for name, y in output.predictions.items()}, output.fused[rows]))
        start += len(batch)
    return Trace(trace.spec, tuple(batches), tuple(outputs), trace.model, trace.run, trace.split)


def own_references(attribution: Attribution, train: Sequence[Batch], *, single: bool = True) -> dict[str, Tensor]:
    """Modality -> Float[s w]: the method's own baseline again ({} for "missing"); `single` takes the mean of draws from the train split.

    Raises ValueError where the baseline is made of the train split and its batches are not given.
    """
    kind = "mean" if single and attribution.baseline == "train" else attribution.baseline
    if kind in ("mean", "train") and not train:
        raise ValueError(f"the baseline {attribution.baseline!r} is made of the train split: give its batches as `train`")
    assert attribution.trace.model is not None
    return references(kind, attribution.trace.model, train or attribution.trace.batches)


def again(attribution: Attribution) -> dict[str, Any]:
    """What `attribute` must be told to run this method again."""
    return {"baseline": attribution.baseline, "routing": attribution.routing, **attribution.options}


def dense(steps: Mapping[str, Steps], positions: np.ndarray) -> dict[str, np.ndarray]:
    """Modality -> Float[n t]: what each step of the utterances at these positions brought, at its place in time; 0 where there is none."""
    found = {}
    for m, s in steps.items():
        size = 1 + max(positions.max(initial=0), s.row.max(initial=0)), 1 + s.time.max(initial=0)
        whole = np.zeros(size, np.float32)
        whole[s.row, s.time] = s.value
        found[m] = whole[positions]
    return found


def beside(values: Mapping[str, np.ndarray], rows: np.ndarray, batch: Batch) -> Float[Tensor, "b T"]:
    """Dense values of these utterances beside the steps of their batch, all modalities after each other."""
    parts = []
    for m, x in batch.x.items():
        found = torch.from_numpy(values[m][rows, : x.shape[1]])
        parts.append(torch.nn.functional.pad(found, (0, x.shape[1] - found.shape[1])))
    return torch.cat(parts, 1)


def steps_of(batch: Batch) -> Bool[Tensor, "b T"]:
    """Which steps are there, all modalities after each other, on the CPU."""
    return torch.cat([batch.mask[m] for m in batch.modalities], 1).cpu()


def apart(values: Tensor, batch: Batch) -> dict[str, Tensor]:
    """The last axis T taken apart into the modalities again."""
    return dict(zip(batch.modalities, values.split([x.shape[1] for x in batch.x.values()], -1), strict=True))


def shuffled(values: Float[Tensor, "b T"], mask: Bool[Tensor, "b T"], generator: torch.Generator) -> Float[Tensor, "b T"]:
    """The values of the steps that are there change places within each row."""
    source = torch.where(mask, torch.rand(mask.shape, generator=generator), 2.0).argsort(1)  # those that are there first, in a random order
    target = (~mask).int().argsort(dim=1, stable=True)  # the same, in their own order
    return torch.zeros_like(values).scatter(1, target, values.gather(1, source)) * mask


@dataclass(frozen=True)
class Flat:
    """Values of steps with the utterances that they belong to. N = steps."""

    value: np.ndarray  # Float[N]
    row: np.ndarray  # Int[N]

    @property
    def ranks(self) -> np.ndarray:
        """Float[N]: the rank of each step within its utterance, from 1; ties share their mean."""
        return pd.Series(self.value).groupby(self.row).rank().to_numpy()


def flat(attribution: Attribution, modality: str = ALL) -> Flat:
    """The steps of one modality, or of all of them together."""
    chosen = list(attribution.steps.values()) if modality == ALL else [attribution.steps[modality]]
    return Flat(np.concatenate([s.value for s in chosen]), np.concatenate([s.row for s in chosen]))


def spearman(a: Flat, b: Flat, utterances: int) -> np.ndarray:
    """Float[n]: rank correlation over the steps of each utterance; NaN where a side is the same everywhere (or there are no two steps)."""
    assert np.array_equal(a.row, b.row)

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(a.row, weights=values, minlength=utterances)

    middle = (np.bincount(a.row, minlength=utterances) + 1) / 2
    one, other = (side.ranks - middle[side.row] for side in (a, b))
    size = np.sqrt(total(one**2) * total(other**2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(size > 1e-9, total(one * other) / size, np.nan)
