"""Domain-adversarial training: can a second network tell the domain from the fused vector, while the model tries to hide it?"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from msaviz.nn.invariance import gradient_reversal
from msaviz.options import searchable
from msaviz.training.objective import Objective
from msaviz.types import Batch, Output, Spec


class Dann(Objective):
    """`task` as in ERM; `domain` is the discriminator's cross entropy, whose gradient reaches the system reversed.

    Ganin et al. 2016: the reversed gradient is multiplied by `weight` (2 / (1 + exp(-10 progress)) - 1), so that the discriminator
    learns first. It is made by `prepare`, which the trainer calls once it knows how wide `output.fused` is.
    """

    class Config(Objective.Config):
        weight: float = searchable(1.0, low=1e-2, high=1e2, log=True, ge=0)
        hidden: int = searchable(64, low=16, high=256, log=True, ge=1)
        """Width of the discriminator's hidden layer."""

    config: Config

    def __init__(self, spec: Spec, config: Config):
        super().__init__(spec, config)
        self.discriminator: nn.Sequential | None = None

    def prepare(self, sample: Callable[[], Output]) -> None:
        width = sample().fused.shape[-1]
        self.discriminator = nn.Sequential(
            nn.Linear(width, self.config.hidden), nn.ReLU(), nn.Linear(self.config.hidden, len(self.spec.domains))
        )

    def terms(self, output: Output, batch: Batch, progress: float) -> dict[str, Tensor]:
        if self.discriminator is None:
            raise ValueError("this objective has no discriminator yet: call prepare(lambda: system(batch)) before the first step")
        guess = self.discriminator(gradient_reversal(output.fused, self.strength(progress)))
        several = (batch.domain != batch.domain[0]).any()
        return {"task": self.risk(output, batch), "domain": F.cross_entropy(guess, batch.domain) * several}

    def strength(self, progress: float) -> float:
        """The factor of the reversed gradient: 0 at the start, `weight` in the end."""
        return self.config.weight * (2 / (1 + math.exp(-10 * progress)) - 1)


OBJECTIVE = Dann
