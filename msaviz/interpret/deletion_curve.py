"""Does the prediction change when the steps are hidden that an attribution calls important, and stay when only they are shown?

`deletion`: how far the prediction moves, mean |f(what is left) - f(x)|, when the `fraction` of steps with the largest |value| is hidden: it
should rise quickly. `insertion`: how far it still is from the whole one when only that fraction is shown: it should fall quickly (after
Petsiuk et al. 2018, who follow the score of a class instead). `random`: the same for random orders (the mean over them); bands, as all
others, are 95 % bootstrap intervals over utterances. All modalities compete. What is `hidden` becomes missing, or shows a baseline.

`area` lies under the whole curve, and stands in each of its rows: the mean distance from the whole prediction, in its units. `gain`: the
paired difference to the random orders of the same utterances, > 0 = better than random: more distance by deletion, less by insertion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from einops import rearrange, repeat
from jaxtyping import Bool
from torch import Tensor

from msaviz.interpret.attributed import HEAD, head
from msaviz.interpret.attribution import Attribution
from msaviz.interpret.explained import Explained, chunks, evaluating, references
from msaviz.interpret.judged import apart, beside, dense, part, spread, steps_of, stepwise
from msaviz.interpret.resample import averages
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered
from msaviz.interpret.trace import Trace
from msaviz.types import Batch

AREAS = ("area", "area_low", "area_high", "random_area", "random_area_low", "random_area_high", "gain", "gain_low", "gain_high")
COLUMNS = (*HEAD, "hidden", "kind", "fraction", "value", "low", "high", "random", "random_low", "random_high", *AREAS, "utterances")
KINDS = ("deletion", "insertion")
BETTER = {"deletion": 1, "insertion": -1}
FRACTIONS = tuple(i / 10 for i in range(11))


@dataclass(frozen=True)
class Curves:
    """|f(what is shown) - f(x)| of n utterances at q fractions. `method`, `random`: Float[n q] by kind, random: the mean over orders."""

    fractions: np.ndarray
    method: Mapping[str, np.ndarray]
    random: Mapping[str, np.ndarray]


def answer(
    attributions: Mapping[str, Attribution],
    *,
    fractions: Sequence[float] = FRACTIONS,
    hidden: str = "missing",
    orders: int = 5,
    limit: int | None = 96,
    train: Sequence[Batch] = (),
    resamples: int = 300,
    seed: int = 0,
) -> pd.DataFrame:
    """A row for each method, kind and fraction. Methods over features alone have no steps and are left out.

    `limit`: utterances that are asked, evenly spread; `hidden`: "missing", "zero" or "mean" (of `train`); `orders`: random ones.
    """
    parts = []
    for label, curves in _curves(attributions, fractions, hidden, orders, limit, train, seed).items():
        for kind in KINDS:
            rows = averages(curves.method[kind], resamples, seed).assign(fraction=curves.fractions, kind=kind, hidden=hidden)
            control = averages(curves.random[kind], resamples, seed)[["value", "low", "high"]]
            control = control.rename(columns={"value": "random", "low": "random_low", "high": "random_high"})
            parts.append(rows.join(control).assign(**_areas(curves, kind, resamples, seed), **head(label, attributions[label])))
    return gathered(parts, COLUMNS)


def _areas(curves: Curves, kind: str, resamples: int, seed: int) -> dict[str, float]:
    """AREAS of one kind of curve."""
    method, random = (np.trapezoid(side[kind], curves.fractions, axis=1) for side in (curves.method, curves.random))
    found = averages(np.stack([method, random, BETTER[kind] * (method - random)], 1), resamples, seed)
    return dict(zip(AREAS, found[["value", "low", "high"]].to_numpy().reshape(-1), strict=True))


def _curves(
    attributions: Mapping[str, Attribution],
    fractions: Sequence[float],
    hidden: str,
    orders: int,
    limit: int | None,
    train: Sequence[Batch],
    seed: int,
) -> dict[str, Curves]:
    """The curves of every method, over the same utterances and beside the same random orders.

    Raises ValueError for fractions outside [0, 1], for no random order, and for a `hidden` that stands for several references.
    """
    asked = stepwise(attributions)
    if not asked:
        return {}
    trace, q = next(iter(asked.values())).trace, np.unique(fractions)
    assert trace.model is not None
    if not len(q) or q[0] < 0 or q[-1] > 1:
        raise ValueError(f"fractions lie between 0 and 1; these were given: {list(fractions)}")
    if orders < 1:
        raise ValueError(f"orders={orders}: a curve needs at least one random order beside it")
    if hidden == "train" or (hidden == "mean" and not train):
        raise ValueError(f"hidden={hidden!r}: what is hidden is missing or shows zero or the mean of the train split's batches, `train`")
    positions = spread(len(trace.examples), limit)
    values = [dense(one.steps, positions) for one in asked.values()]
    stands_in = references(hidden, trace.model, train or trace.batches)
    found = _measured(part(trace, positions), values, q, stands_in, orders, [one.routing for one in asked.values()], seed)
    return dict(zip(asked, found, strict=True))


def _measured(
    trace: Trace, values: Sequence, q: np.ndarray, stands_in: Mapping[str, Tensor], orders: int, routings: Sequence[str], seed: int
) -> list[Curves]:
    """Curves of each of `values` (dense, by method), chunk by chunk."""
    assert trace.model is not None
    n, generator = len(trace.examples), torch.Generator().manual_seed(seed)
    moved = np.zeros((len(values), n, len(KINDS), len(q)), np.float32)
    control = np.zeros_like(moved)
    with evaluating(trace):
        for rows, batch in chunks(trace, len(q) * len(KINDS)):
            mask = steps_of(batch)
            chance = torch.rand(orders, *mask.shape, generator=generator)
            for routing in dict.fromkeys(routings):
                explained = Explained(trace.model, batch, routing=routing)
                # the same random orders for every method: their difference is paired
                drawn = np.mean([_moved(explained, mask, order, q, stands_in) for order in chance], axis=0)
                for i in (i for i, one in enumerate(routings) if one == routing):
                    control[i, rows] = drawn
                    moved[i, rows] = _moved(explained, mask, beside(values[i], rows, batch).abs(), q, stands_in)
    by_kind = [[{kind: one[:, k] for k, kind in enumerate(KINDS)} for one in side] for side in (moved, control)]
    return [Curves(q, method, random) for method, random in zip(*by_kind, strict=True)]


@torch.no_grad()
def _moved(explained: Explained, mask: Tensor, size: Tensor, q: np.ndarray, stands_in: Mapping[str, Tensor]) -> np.ndarray:
    """Float[b 2 q]: how far the number moves by deletion and by insertion, in one forward pass; `size`: Float[b T], large goes first."""
    top = topped(size, mask, torch.from_numpy(q))
    kept = torch.stack([mask & ~top, mask & top], 2)  # q b 2 T
    kept = rearrange(kept, "q b kinds steps -> (b kinds q) steps")
    rows = repeat(explained.rows, "b -> (b copies)", copies=len(kept) // len(explained.rows))
    keep = {m: one.float().to(rows.device) for m, one in apart(kept, explained.batch).items()}
    moved = (explained.hidden(keep, rows, stands_in) - explained.value[rows]).abs().float().cpu()
    return rearrange(moved, "(b kinds q) -> b kinds q", kinds=len(KINDS), q=len(q)).numpy()


def topped(size: Tensor, mask: Bool[Tensor, "b T"], fractions: Tensor) -> Bool[Tensor, "q b T"]:
    """Which steps are among the given fractions (rounded to whole steps) of largest size of their row."""
    rank = torch.where(mask, -size, 1.0).argsort(dim=1, stable=True).argsort(1)
    count = (fractions[:, None] * mask.sum(1)).round()  # q b
    return (rank < count[..., None]) & mask


TABLE = Table(COLUMNS, answer, of="attributions")
