"""Correlation alignment: have the fused vectors the same mean and covariance in every domain?"""

from __future__ import annotations

from torch import Tensor

from msaviz.nn.invariance import coral
from msaviz.options import searchable
from msaviz.training.objective import Objective
from msaviz.types import Batch, Output


class Coral(Objective):
    """`task` as in ERM; `coral` compares means and covariances of `output.fused` (Sun & Saenko 2016; DomainBed)."""

    class Config(Objective.Config):
        weight: float = searchable(1.0, low=0.1, high=1e3, log=True, ge=0)

    config: Config

    def terms(self, output: Output, batch: Batch, progress: float) -> dict[str, Tensor]:
        return {"task": self.risk(output, batch), "coral": self.config.weight * coral(output.fused, batch.domain, len(self.spec.domains))}


OBJECTIVE = Coral
