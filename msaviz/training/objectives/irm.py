"""Invariant risk minimisation: is one and the same last step of the prediction best in every domain?"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from msaviz.nn.heads import example_losses
from msaviz.nn.invariance import irm_penalty
from msaviz.options import searchable
from msaviz.training.objective import Annealed
from msaviz.types import Batch, Output, Task


class Irm(Annealed):
    """`task` as in ERM; `irm` is the squared slope of each domain's risk in a scale of the prediction, from two halves of its rows.

    Arjovsky et al. 2019, IRMv1; the mean over the domains of the batch, summed over the heads.
    """

    class Config(Annealed.Config):
        weight: float = searchable(100.0, low=0.1, high=1e5, log=True, ge=0)

    def terms(self, output: Output, batch: Batch, progress: float) -> dict[str, Tensor]:
        penalties = [self.penalty(p, batch.labels[t], self.spec.tasks[t], batch) for t, p in output.predictions.items()]
        return {"task": self.risk(output, batch), "irm": self.weight(progress) * torch.stack(penalties).sum()}

    def penalty(self, prediction: Tensor, label: Tensor, task: Task, batch: Batch) -> Tensor:
        """Of one head: numbers or logits times the scale."""

        def losses_at(scale: Tensor) -> Tensor:
            scaled = prediction * (rearrange(scale, "b -> b 1") if task.kind == "classes" else scale)
            return example_losses(scaled, label, task, self.config.loss)[0]

        known = example_losses(prediction.detach(), label, task, self.config.loss)[1]
        return irm_penalty(losses_at, batch.domain, len(self.spec.domains), known)


OBJECTIVE = Irm
