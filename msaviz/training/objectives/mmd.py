"""Maximum mean discrepancy: are the fused vectors distributed alike in every domain?"""

from __future__ import annotations

from torch import Tensor

from msaviz.nn.invariance import mmd
from msaviz.options import searchable
from msaviz.training.objective import Objective
from msaviz.types import Batch, Output


class Mmd(Objective):
    """`task` as in ERM; `mmd` compares `output.fused` between the domains, with Gaussian kernels (Li et al. 2018; DomainBed)."""

    class Config(Objective.Config):
        weight: float = searchable(1.0, low=0.1, high=1e2, log=True, ge=0)

    config: Config

    def terms(self, output: Output, batch: Batch, progress: float) -> dict[str, Tensor]:
        return {"task": self.risk(output, batch), "mmd": self.config.weight * mmd(output.fused, batch.domain, len(self.spec.domains))}


OBJECTIVE = Mmd
