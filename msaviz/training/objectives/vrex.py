"""Risk extrapolation: is every domain served equally well?"""

from __future__ import annotations

from torch import Tensor

from msaviz.nn.invariance import variance_of_risks
from msaviz.options import searchable
from msaviz.training.objective import Annealed
from msaviz.types import Batch, Output


class Vrex(Annealed):
    """`task` as in ERM; `vrex` is the variance of the risks of the domains in the batch (Krueger et al. 2021)."""

    class Config(Annealed.Config):
        weight: float = searchable(10.0, low=0.1, high=1e5, log=True, ge=0)
        """beta in the paper."""

    def terms(self, output: Output, batch: Batch, progress: float) -> dict[str, Tensor]:
        return {"task": self.risk(output, batch), "vrex": self.weight(progress) * variance_of_risks(*self.risks(output, batch))}


OBJECTIVE = Vrex
