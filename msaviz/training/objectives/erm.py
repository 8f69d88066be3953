"""Empirical risk minimisation: the mean loss over the batch, whatever the domain, plus the model's own weighted losses."""

from __future__ import annotations

from torch import Tensor

from msaviz.training.objective import Objective
from msaviz.types import Batch, Output


class Erm(Objective):
    """`task` is the mean loss, summed over the heads that the model predicts (Vapnik 1998)."""

    class Config(Objective.Config):
        pass

    compares_domains = False

    def terms(self, output: Output, batch: Batch, progress: float) -> dict[str, Tensor]:
        return {"task": self.risk(output, batch)}


OBJECTIVE = Erm
