"""How does a vector become a prediction, and how wrong is that?"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from msaviz.types import Task

LOSSES = {"l1": F.l1_loss, "smooth_l1": F.smooth_l1_loss, "mse": F.mse_loss}


class Heads(nn.Module):
    """A two-layer GELU head per task: Float[b d] -> {task: Float[b] (regression) or Float[b c] (class logits)}.

    A real number is predicted as a distance from the middle of its scale, so that labels from 1 to 5 need not be found from 0.
    """

    def __init__(self, dim: int, tasks: Mapping[str, Task], dropout: float = 0.1):
        super().__init__()
        self.tasks = dict(tasks)
        self.heads = nn.ModuleDict(
            {
                name: nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(dim, task.width))
                for name, task in tasks.items()
            }
        )

    def forward(self, z: Float[Tensor, "b d"]) -> dict[str, Tensor]:
        return {name: self.one(name, z) for name in self.tasks}

    def one(self, name: str, z: Float[Tensor, "b d"]) -> Tensor:
        """What one head predicts: Float[b] or Float[b c]."""
        found, task = self.heads[name](z), self.tasks[name]
        return found if task.kind == "classes" else rearrange(found, "b 1 -> b") + task.middle


def labelled(label: Tensor, task: Task) -> Bool[Tensor, " b"]:
    """Which rows have a label: neither NaN (regression) nor -1 (classes)."""
    return label >= 0 if task.kind == "classes" else ~torch.isnan(label)


def example_losses(prediction: Tensor, label: Tensor, task: Task, loss: str = "l1") -> tuple[Float[Tensor, " b"], Bool[Tensor, " b"]]:
    """(loss of every row, exactly 0 with a gradient path where it has no label; which rows have one)."""
    known = labelled(label, task)
    if task.kind == "classes":
        each = F.cross_entropy(prediction, label.clamp(min=0), reduction="none")
    else:
        each = LOSSES[loss](prediction, torch.where(known, label, prediction.detach()), reduction="none")
    return torch.where(known, each, 0), known


def weighed(loss: Float[Tensor, " b"], known: Bool[Tensor, " b"], uncertainty: Float[Tensor, ""] | None) -> Float[Tensor, " b"]:
    """`loss / 2 sigma^2 + log sigma` for uncertainty = log sigma^2 (Kendall et al. 2018), 0 where there is no label; None: the loss."""
    if uncertainty is None:
        return loss
    return torch.where(known, loss * torch.exp(-uncertainty) / 2 + uncertainty / 2, 0)
