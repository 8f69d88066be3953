"""How little of the fused vector is enough for the task?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from msaviz.nn.heads import Heads
from msaviz.nn.penalties import full, mean_where
from msaviz.types import Output, Task


class Bottleneck(nn.Module):
    """z = mu(fused) + eps sigma(fused), eps ~ N(0, 1): the deep variational information bottleneck (Alemi et al. 2017).

    z takes the place of `fused` and new heads on it that of the predictions; the loss "bottleneck" is KL(N(mu, sigma) | N(0, 1)) in nats,
    the mean over rows. In eval mode z is mu. sigma is about 0.3 at the start, so that the task is learnt before it is compressed.
    """

    def __init__(self, width: int, tasks: Mapping[str, Task], *, dropout: float = 0.1):
        super().__init__()
        self.mean, self.spread = nn.Linear(width, width), nn.Linear(width, width)
        nn.init.constant_(self.spread.bias, -1.0)  # softplus(-1) = 0.31
        self.heads = Heads(width, tasks, dropout)

    def forward(self, output: Output) -> Output:
        """The same output with z, its predictions and, in training, the divergence."""
        mean, spread = self.parameters_of(output.fused)
        z = mean + torch.randn_like(mean) * spread if self.training else mean
        output = replace(output, fused=z, predictions={**output.predictions, **self.heads(z)})
        if not self.training:
            return output
        every = torch.ones(len(z), dtype=torch.bool, device=z.device)
        return replace(output, losses={**output.losses, "bottleneck": mean_where(divergence(mean, spread), every)})

    def parameters_of(self, fused: Float[Tensor, "b d"]) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]:
        """(mu, sigma) of every row."""
        return self.mean(fused), F.softplus(self.spread(fused)) + 1e-4


def divergence(mean: Float[Tensor, "b d"], spread: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
    """KL(N(mean, spread) | N(0, 1)) of every row, in nats, summed over the coordinates."""
    mean, spread = full(mean), full(spread)
    return 0.5 * (mean.square() + spread.square() - 1 - 2 * spread.log()).sum(1)
