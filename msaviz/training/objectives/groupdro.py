"""Group distributionally robust optimisation: what if every domain is weighted by how badly it is served so far?"""

from __future__ import annotations

import torch
from torch import Tensor

from msaviz.options import searchable
from msaviz.training.objective import Objective
from msaviz.types import Batch, Output, Spec


class GroupDro(Objective):
    """`task` is sum_d q_d risk_d, where q_d grows by the factor exp(eta risk_d) at every step and sums to 1.

    Sagawa et al. 2020, algorithm 1. For a batch that lacks a domain (a small one, or one that is never learnt from) the weights of the
    others are taken to sum to 1, and the risks are measured from their mean, so that a domain's absence moves no weight to or from it.
    """

    class Config(Objective.Config):
        eta: float = searchable(0.01, low=1e-3, high=1e-1, log=True, ge=0)
        """Step size of the weights."""

    config: Config
    q: Tensor

    def __init__(self, spec: Spec, config: Config):
        super().__init__(spec, config)
        self.register_buffer("q", torch.full((len(spec.domains),), 1 / len(spec.domains)))

    def terms(self, output: Output, batch: Batch, progress: float) -> dict[str, Tensor]:
        risks, seen = self.risks(output, batch)
        if self.training:
            self.learn_weights(risks.detach().to(self.q.dtype), seen)
        weights = self.q * seen
        return {"task": (weights * risks).sum() / weights.sum().clamp(min=1e-12)}

    @torch.no_grad()
    def learn_weights(self, risks: Tensor, seen: Tensor) -> None:
        """q_d *= exp(eta risk_d) for the domains seen; normalised."""
        apart = torch.where(seen, risks - risks[seen].mean(), 0) if bool(seen.any()) else torch.zeros_like(risks)
        self.q.copy_((self.q.clamp(min=1e-12).log() + self.config.eta * apart).softmax(0))


OBJECTIVE = GroupDro
