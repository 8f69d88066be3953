"""A regression in which an easy cue can be right in every source and wrong in the unseen domain, and what an objective makes of it.

Of a row with label y ~ N(0, 1) in domain d a model reads two numbers: the true cue y + N(0, 1), which is the same everywhere, and the easy
one, spread_d (cue_d y + N(0, .3)) + shift_d. Where cue_d is about 1 the easy cue is the better; only where it changes can a learner know.
The model is linear, without a constant: one number, which is both what it predicts and its fused vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from msaviz.catalog import OBJECTIVES
from msaviz.types import Batch, Output, Spec, Task

TRUE_NOISE, EASY_NOISE = 1.0, 0.3
FLIPPED = -1.0
STEPS = 300


@dataclass(frozen=True)
class Sources:
    """One entry a source domain."""

    rows: Sequence[int]
    cue: Sequence[float]
    shift: Sequence[float] = (0.0, 0.0, 0.0)
    spread: Sequence[float] = (1.0, 1.0, 1.0)


def spec(domains: int, task: Task | None = None) -> Spec:
    names = tuple("abcd"[:domains])
    return Spec(widths={"cues": 2}, tasks={"y": task or Task()}, domains=names)


def rows_of(count: int, cue: float, shift: float, spread: float, domain: int, generator: torch.Generator) -> Batch:
    y, true, easy = torch.randn(3, count, generator=generator)
    x = torch.stack([y + TRUE_NOISE * true, spread * (cue * y + EASY_NOISE * easy) + shift], 1)
    ones = torch.ones(count, 1, dtype=torch.bool)
    return Batch({"cues": x[:, None]}, {"cues": ones}, {"y": y}, torch.full((count,), domain), torch.arange(count))


def training_batch(sources: Sources, seed: int) -> Batch:
    """All rows of the sources, in random order."""
    generator = torch.Generator().manual_seed(seed)
    every = zip(sources.rows, sources.cue, sources.shift, sources.spread, strict=False)
    whole = Batch.join([rows_of(*one, domain, generator) for domain, one in enumerate(every)])
    order = torch.randperm(len(whole), generator=generator)
    return whole.map(lambda tensor: tensor[order])


class Linear(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor([0.1, 0.1]))

    def forward(self, batch: Batch) -> Output:
        fused = batch.x["cues"][:, 0] @ self.w[:, None]
        return Output({"y": fused.sum(1)}, fused)


def learn(name: str, sources: Sources, seed: int, **options: object) -> Linear:
    """The model that the objective of this name finds, by Adam on all rows."""
    torch.manual_seed(seed)
    batch, model = training_batch(sources, seed), Linear()
    kind = OBJECTIVES[name]
    objective = kind(spec(len(sources.rows)), kind.Config(loss="mse", **options))
    objective.prepare(lambda: model(batch))
    # a discriminator that learns faster than the model keeps up with it, so the two do not chase each other in circles
    parts = [{"params": list(model.parameters()), "lr": 0.01}, {"params": list(objective.parameters()), "lr": 0.05}]
    optimizer = torch.optim.Adam([part for part in parts if part["params"]], betas=(0.5, 0.999))
    for step in range(STEPS):
        optimizer.zero_grad()
        torch.stack(list(objective(model, batch, step / STEPS).values())).sum().backward()
        optimizer.step()
        if objective.restart is not None and step / STEPS < objective.restart <= (step + 1) / STEPS:
            optimizer.state.clear()
    return model


@torch.no_grad()
def error(model: Linear, cue: float, seed: int) -> float:
    """Mean squared error in a domain that was never seen, where the easy cue is worth `cue`."""
    batch = rows_of(4000, cue, 0.0, 1.0, 0, torch.Generator().manual_seed(1000 + seed))
    return float((model(batch).prediction - batch.y).square().mean())
