"""How much does each contributor count in the whole, when some of them are absent?"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from msaviz.nn.encoders import Block, attendable


class ImportanceFusion(nn.Module):
    """z = sum_i w_i Transformer(features)_i with w = softmax(MLP([feature_i + role_i; completeness_i]) / temperature).

    After DERL's importance-aware fusion. The weight of an absent contributor is exactly 0 and it is attended to by nobody.
    `uniform` is the ablation: equal weights over those present.
    """

    def __init__(
        self,
        dim: int,
        contributors: int,
        *,
        heads: int = 4,
        layers: int = 1,
        temperature: float = 1.0,
        dropout: float = 0.1,
        uniform: bool = False,
    ):
        super().__init__()
        self.temperature = temperature
        self.role = nn.Parameter(torch.randn(contributors, dim) * 0.02)
        self.blocks = nn.ModuleList(Block(dim, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        self.score = None if uniform else nn.Sequential(nn.Linear(dim + 1, dim), nn.GELU(), nn.Linear(dim, 1))

    def forward(
        self, features: Float[Tensor, "b k d"], present: Bool[Tensor, "b k"], completeness: Float[Tensor, "b k"]
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b k"]]:
        """(fused, importance). Importance sums to 1; a row where nothing is present gives zeros for both."""
        x = (features + self.role).masked_fill(~present[..., None], 0)
        importance = self._importance(x, present, completeness)
        keys = attendable(present)
        for block in self.blocks:
            x = block(x, keys)
        x = self.norm(x).masked_fill(~present[..., None], 0)
        return torch.einsum("bk,bkd->bd", importance, x), importance

    def _importance(self, x: Tensor, present: Tensor, completeness: Tensor) -> Tensor:
        if self.score is None:
            return (present / present.sum(1, keepdim=True).clamp(min=1)).to(x.dtype)
        score = rearrange(self.score(torch.cat([x, completeness[..., None].to(x.dtype)], -1)), "b k 1 -> b k")
        # the lowest number instead of -inf: a row without anything present must not become NaN
        score = (score / self.temperature).masked_fill(~present, torch.finfo(score.dtype).min)
        return score.softmax(1) * present
