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
        found = {name: head(z) for name, head in self.heads.items()}
        for name, task in self.tasks.items():
            if task.kind == "regression":
                found[name] = rearrange(found[name], "b 1 -> b") + task.middle
        return found


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
