"""How does a vector become a prediction?"""

from __future__ import annotations

from collections.abc import Mapping

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from msaviz.types import Task


class Heads(nn.Module):
    """A two-layer GELU head per task: Float[b d] -> {task: Float[b] (regression) or Float[b c] (class logits)}."""

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
        out = {name: head(z) for name, head in self.heads.items()}
        return {name: rearrange(y, "b 1 -> b") if self.tasks[name].kind == "regression" else y for name, y in out.items()}
