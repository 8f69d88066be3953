"""How does one modality's sequence read another's?"""

from __future__ import annotations

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from msaviz.nn.dropout import Dropout
from msaviz.nn.encoders import attendable


class CrossmodalBlock(nn.Module):
    """A pre-norm layer whose queries are the target's tokens, whose keys and values are the source's. Letters: q and n their tokens.

    `x = x + A(LN x, LN y); x = x + MLP(LN x)` (MulT, Tsai et al. 2019, section 3). Only valid keys are read; where there is none, A is 0.
    """

    def __init__(self, dim: int, heads: int = 4, dropout: float = 0.1, expand: int = 2):
        super().__init__()
        if dim % heads:
            raise ValueError(f"a width of {dim} cannot be split over {heads} heads")
        self.heads = heads
        self.query_norm, self.key_norm, self.hidden_norm = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.read, self.out = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, expand * dim), nn.Linear(expand * dim, dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "b q d"], y: Float[Tensor, "b n d"], keys: Bool[Tensor, "b n"]) -> Float[Tensor, "b q d"]:
        q = rearrange(self.query(self.query_norm(x)), "b q (h d) -> b h q d", h=self.heads)
        k, v = rearrange(self.read(self.key_norm(y)), "b n (two h d) -> two b h n d", two=2, h=self.heads).unbind(0)
        heard = F.scaled_dot_product_attention(q, k, v, attn_mask=attendable(keys)[:, None, None, :])
        heard = self.out(rearrange(heard, "b h q d -> b q (h d)")) * keys.any(1)[:, None, None]
        x = x + self.dropout(heard)
        return x + self.dropout(self.down(F.gelu(self.up(self.hidden_norm(x)))))


class CrossmodalTransformer(nn.Module):
    """`layers` blocks, all of which read the source's low-level tokens (MulT, section 3.2); a norm at the end.

    Zero where the target's mask is False. Where the source is absent the target's tokens go through the same layers and hear nothing.
    """

    def __init__(self, dim: int, *, layers: int = 2, heads: int = 4, dropout: float = 0.1):
        super().__init__()
        self.blocks = nn.ModuleList(CrossmodalBlock(dim, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, target: Float[Tensor, "b q d"], source: Float[Tensor, "b n d"], valid: Bool[Tensor, "b q"], keys: Bool[Tensor, "b n"]
    ) -> Float[Tensor, "b q d"]:
        for block in self.blocks:
            target = block(target, source, keys)
        return self.norm(target).masked_fill(~valid[..., None], 0)
