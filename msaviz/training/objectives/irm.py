"""Invariant risk minimisation: is one and the same last step of the prediction best in every domain?"""

from __future__ import annotations

import torch
from torch import Tensor

from msaviz.nn.invariance import irm_of_prediction
from msaviz.options import searchable
from msaviz.training.objective import Annealed
from msaviz.types import Batch, Output


class Irm(Annealed):
    """`task` as in ERM; `irm` is the squared slope of each domain's risk in a scale of the prediction, from two halves of its rows.

    Arjovsky et al. 2019, IRMv1; the mean over the domains of the batch, summed over the heads.
    """

    class Config(Annealed.Config):
        weight: float = searchable(100.0, low=0.1, high=1e5, log=True, ge=0)

    def terms(self, output: Output, batch: Batch, progress: float) -> dict[str, Tensor]:
        domains, loss = len(self.spec.domains), self.config.loss
        penalties = [
            irm_of_prediction(p, batch.labels[t], self.spec.tasks[t], batch.domain, domains, loss) for t, p in output.predictions.items()
        ]
        return {"task": self.risk(output, batch), "irm": self.weight(progress) * torch.stack(penalties).sum()}


OBJECTIVE = Irm
