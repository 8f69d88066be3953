"""Does an attribution tell what happens when steps are hidden, and does it hold still when the input hardly moves? (Yeh et al. 2019)

`infidelity`: random sets of steps are hidden, and the sum of what was given to them is compared with how far the prediction moves: the mean
squared miss (captum's `infidelity`) as a share of the mean squared movement. 0: all is told; 1: no better than giving nothing to anyone; it
may be worse. `infidelity_scaled`: the same after the best scale for each utterance, so that only the proportions count (and not the sign of
the whole). What is hidden shows the method's own baseline, or is missing; for draws from the train split, their mean.

`sensitivity`: the largest relative change of the attribution over a few inputs that differ by uniform noise of at most `radius` standard
deviations (captum's `sensitivity_max`). The method is run again, hence on few utterances. Lower is better for all three. `chance`: the same
for what was given to the steps of an utterance, in a random order. Steps carry the values: methods over features alone are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from msaviz.interpret import resample
from msaviz.interpret.attributed import HEAD, head
from msaviz.interpret.attribution import Attribution
from msaviz.interpret.explained import Explained, chunks, evaluating
from msaviz.interpret.judged import apart, beside, dense, own_references, part, shuffled, spread, steps_of, stepwise
from msaviz.interpret.methods import METHODS, seeded
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered
from msaviz.types import Batch

COLUMNS = (*HEAD, "metric", "value", "low", "high", "chance", "utterances")


def answer(
    attributions: Mapping[str, Attribution],
    *,
    samples: int = 16,
    limit: int | None = 128,
    draws: int = 3,
    few: int | None = 32,
    radius: float = 0.1,
    steps: int = 16,
    train: Sequence[Batch] = (),
    resamples: int = 300,
    seed: int = 0,
) -> pd.DataFrame:
    """Every method and metric: `samples` sets of steps on `limit` utterances, `draws` moved inputs on `few`.

    `steps`: points of a path; `train`: batches of the train split, for methods whose baseline is made of it.
    """
    parts = []
    for label, one in stepwise(attributions).items():
        with evaluating(one.trace):
            hidden = _infidelity(one, samples, limit, train, seed)
            moved = _sensitivity(one, draws, few, radius, steps, train, seed)
        rows = [{"metric": name, **_share(*sides, resamples, seed)} for name, sides in {**hidden, **moved}.items()]
        parts.append(pd.DataFrame(rows).assign(**head(label, one)))
    return gathered(parts, COLUMNS)


def _share(found: np.ndarray, chance: np.ndarray, unit: np.ndarray, resamples: int, seed: int) -> dict[str, float]:
    """The mean of `found`, Float[n], over that of `unit`, its 95 % bootstrap interval, and the same of `chance`."""
    weights = resample.resamples(np.arange(len(found)), resamples, seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        low, high = resample.interval(weights @ found / (weights @ unit))
        value, control = found.mean() / unit.mean(), chance.mean() / unit.mean()
    return {"value": value, "low": low, "high": high, "chance": control, "utterances": len(found)}


Sides = tuple[np.ndarray, np.ndarray, np.ndarray]
"""found, chance, unit: Float[n] each."""


@dataclass
class Hiding:
    """Random sets of steps that are hidden, always the same ones; what the model says of them is asked once."""

    explained: Explained
    stands_in: Mapping[str, Tensor]
    samples: int
    seed: int
    said: list[Tensor] = field(default_factory=list)

    def miss(self, values: Tensor, **options: bool) -> np.ndarray:
        """Float[b]: captum's infidelity of values Float[b T]."""
        from captum.metrics import infidelity

        self.asked, batch = 0, self.explained.batch
        mask = steps_of(batch)
        keep, given = (tuple(apart(one.to(self.explained.value), batch).values()) for one in (mask, values))
        about = {"additional_forward_args": (self.explained.rows,), "n_perturb_samples": self.samples, **options}
        with seeded(self.seed):
            return infidelity(self.forward, hide, keep, given, **about).float().cpu().numpy()

    def forward(self, *given: Tensor) -> Tensor:
        """From what is kept of each modality, Float[n t], and at last the rows."""
        *keep, rows = given
        if self.asked == len(self.said):
            self.said.append(self.explained.hidden(dict(zip(self.explained.modalities, keep, strict=True)), rows, self.stands_in))
        self.asked += 1
        return self.said[self.asked - 1]


def hide(keep: tuple[Tensor, ...] | Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """(what is hidden, what is kept), 1 or 0: of each row a random share of the steps of all modalities."""
    keep = keep if isinstance(keep, tuple) else (keep,)
    share = torch.rand(len(keep[0]), 1).to(keep[0])
    left = tuple(one * (torch.rand(one.shape).to(one) > share) for one in keep)
    return tuple(one - here for one, here in zip(keep, left, strict=True)), left


def _infidelity(one: Attribution, samples: int, limit: int | None, train: Sequence[Batch], seed: int) -> dict[str, Sides]:
    """Metric -> its sides; the unit is the mean squared movement."""
    positions, stands_in = spread(len(one.explained), limit), own_references(one, train)
    trace, values = part(one.trace, positions), dense(one.steps, positions)
    generator, found = torch.Generator().manual_seed(seed), np.zeros((5, len(positions)))
    for i, (rows, batch) in enumerate(chunks(trace, samples)):
        hiding = Hiding(Explained(trace.model, batch, routing=one.routing), stands_in, samples, seed + i)  # type: ignore[arg-type]
        given = beside(values, rows, batch)
        mixed = shuffled(given, steps_of(batch), generator)
        plain = [hiding.miss(given), hiding.miss(mixed), hiding.miss(torch.zeros_like(given))]
        found[:, rows] = [*plain, hiding.miss(given, normalize=True), hiding.miss(mixed, normalize=True)]
    told, chance, unit, scaled, scaled_chance = found
    return {"infidelity": (told, chance, unit), "infidelity_scaled": (scaled, scaled_chance, unit)}


@dataclass
class Moving:
    """A method that is run again on inputs that differ a little."""

    explained: Explained
    one: Attribution
    stands_in: Mapping[str, Tensor]
    steps: int
    seed: int

    def run(self, x: tuple[Tensor, ...] | Tensor, additional_forward_args: tuple[Tensor]) -> tuple[Tensor]:
        """Float[n T] alone: what each step brings to the inputs `x`, which belong to the rows of the batch (the only further argument)."""
        (rows,) = additional_forward_args
        x, batch = x if isinstance(x, tuple) else (x,), self.explained.batch
        moved = Batch(
            dict(zip(batch.modalities, x, strict=True)),
            {m: mask[rows] for m, mask in batch.mask.items()},
            {name: y[rows] for name, y in batch.labels.items()},
            batch.domain[rows],
            batch.example[rows],
        )
        method = METHODS[self.one.method]
        found = method.run(
            Explained(self.explained.model, moved, routing=self.one.routing),
            self.stands_in,
            steps=self.steps,
            seed=self.seed,
            **self.one.options,
        )
        return (torch.cat([v.detach().sum(-1) if v.ndim == 3 else v for v in found.values()], 1),)

    def nudge(self, x: tuple[Tensor, ...] | Tensor, radius: float) -> tuple[Tensor, ...]:
        """Uniform noise of at most `radius` standard deviations of the modality on every step that is there (the others are all zero)."""
        x, batch = x if isinstance(x, tuple) else (x,), self.explained.batch
        there = [batch.x[m][batch.mask[m]] for m in batch.modalities]
        scale = [values.std() if values.numel() > 1 else values.new_zeros(()) for values in there]
        noise = [radius * s * (2 * torch.rand(v.shape).to(v) - 1) for v, s in zip(x, scale, strict=True)]
        return tuple(v + more * (v != 0).any(-1, keepdim=True) for v, more in zip(x, noise, strict=True))


def _sensitivity(
    one: Attribution, draws: int, few: int | None, radius: float, steps: int, train: Sequence[Batch], seed: int
) -> dict[str, Sides]:
    """The metric -> its sides; the unit is 1."""
    from captum.metrics import sensitivity_max

    positions, stands_in = spread(len(one.explained), few), own_references(one, train, single=False)
    trace, values = part(one.trace, positions), dense(one.steps, positions)
    found, generator = np.zeros((2, len(positions))), torch.Generator().manual_seed(seed)
    for i, (rows, batch) in enumerate(chunks(trace, METHODS[one.method].copies(steps) * draws)):
        moving = Moving(Explained(trace.model, batch, routing=one.routing), one, stands_in, steps, seed)  # type: ignore[arg-type]
        given, mask = beside(values, rows, batch), steps_of(batch)
        x = tuple(moving.explained.batch.x.values())

        def mixed(_: object, additional_forward_args: tuple[Tensor], given: Tensor = given, mask: Tensor = mask) -> tuple[Tensor]:
            rows = additional_forward_args[0].cpu()
            return (shuffled(given[rows], mask[rows], generator),)

        asked = {"perturb_func": moving.nudge, "perturb_radius": radius, "n_perturb_samples": draws}
        asked["additional_forward_args"] = (moving.explained.rows,)
        with seeded(seed + i):
            found[:, rows] = [sensitivity_max(f, x, **asked).float().cpu() for f in (moving.run, mixed)]
    return {"sensitivity": (found[0], found[1], np.ones(len(positions)))}


TABLE = Table(COLUMNS, answer, of="attributions")
