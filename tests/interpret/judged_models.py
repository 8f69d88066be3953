"""Linear models, whose attributions are known, and attributions that are made worse on purpose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from msaviz.interpret.attribution import Attribution
from msaviz.interpret.trace import observe
from msaviz.types import Batch, Output, Spec, Task

WIDTHS = {"text": 3, "audio": 2}
LONGEST = {"text": 9, "audio": 6}


class Linear(nn.Module):
    """f = bias + the sum over all steps of w.x, through two parts, and one that the prediction does not read."""

    def __init__(self):
        super().__init__()
        self.read = nn.ModuleDict({m: nn.Linear(width, 4, bias=False) for m, width in WIDTHS.items()})
        self.head = nn.Linear(4, 1)
        self.unused = nn.Linear(4, 4)

    def forward(self, batch: Batch) -> Output:
        sums = [self.read[m](x * batch.mask[m][..., None]).sum(1) for m, x in batch.x.items()]
        fused = torch.stack(sums).sum(0)
        return Output({"sentiment": self.head(fused)[:, 0]}, fused)


class Bent(Linear):
    """The same through a hyperbolic tangent: steps share what they bring."""

    def forward(self, batch: Batch) -> Output:
        output = super().forward(batch)
        return Output({"sentiment": torch.tanh(3 * output.prediction)}, output.fused)


def traced(model: type[nn.Module] = Linear, rows: int = 40, size: int = 16, seed: int = 0):
    """Utterances of random length; a fifth has no audio. `evidence` is every third step from the first."""
    torch.manual_seed(seed)
    lengths = {m: torch.randint(3, longest + 1, (rows,)) for m, longest in LONGEST.items()}
    lengths["audio"][::5] = 0
    mask = {m: torch.arange(LONGEST[m])[None] < lengths[m][:, None] for m in WIDTHS}
    x = {m: torch.randn(rows, LONGEST[m], width) * mask[m][..., None] for m, width in WIDTHS.items()}
    y = torch.zeros(rows)
    whole = [
        Batch(
            {m: v[i : i + size] for m, v in x.items()},
            {m: v[i : i + size] for m, v in mask.items()},
            {"sentiment": y[i : i + size]},
            torch.zeros(rows, dtype=torch.long)[i : i + size],
            torch.arange(rows)[i : i + size],
        )
        for i in range(0, rows, size)
    ]
    trace = observe(model(), whole, spec=Spec(widths=WIDTHS, tasks={"sentiment": Task()}))
    evidence = {m: tuple(np.arange(int(n)) % 3 == 0 for n in lengths[m]) for m in WIDTHS}
    return replace(trace, evidence=evidence)


def changed(one: Attribution, change) -> Attribution:
    """The attribution with the values of each modality's steps replaced by `change(modality, steps)`."""
    steps = {m: replace(s, value=np.asarray(change(m, s), dtype=np.float32)) for m, s in one.steps.items()}
    return replace(one, steps=steps)


def reversed_sizes(one: Attribution) -> Attribution:
    return changed(one, lambda m, s: 1 / (1e-3 + np.abs(s.value)))


def noise(one: Attribution, seed: int = 1) -> Attribution:
    generator = np.random.default_rng(seed)
    return changed(one, lambda m, s: generator.normal(size=len(s.value)))
