"""How does one modality's representation take up what the other modalities know?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from msaviz.nn.encoders import Block, Encoded, attendable

KINDS = ("cross", "own")


class CrossModalAdapter(nn.Module):
    """One layer of bottleneck adapters, one a modality, each attending to the *other* modalities in the bottleneck.

    `z = W_down h_m; c = MHA(z, keys = values = concat_{n != m} W_down,n h_n); k_m = h_m + W_up TE(z + tanh(g) c)`, with g = 0 and
    W_up = 0 at the start, so that training begins at h_m. KuDA's adapter (Feng et al. 2024) with cross-attention and the zero-initialised
    gate of LLaMA-Adapter (Zhang et al. 2023). Where no other modality is present c is 0. `kind` "own" is the ablation without c.
    """

    def __init__(self, modalities: Sequence[str], dim: int, *, width: int = 16, heads: int = 2, dropout: float = 0.1, kind: str = "cross"):
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"no adapter is called {kind!r}; these exist: {', '.join(KINDS)}")
        if width % heads:
            raise ValueError(f"a bottleneck of {width} cannot be split over {heads} heads")
        self.heads, self.cross = heads, kind == "cross" and len(modalities) > 1
        self.down = nn.ModuleDict({m: nn.Linear(dim, width) for m in modalities})
        self.up = nn.ModuleDict({m: _silent(nn.Linear(width, dim)) for m in modalities})
        self.mix = nn.ModuleDict({m: Block(width, heads, dropout) for m in modalities})
        if self.cross:
            self.query = nn.ModuleDict({m: nn.Linear(width, width) for m in modalities})
            self.key_value = nn.ModuleDict({m: nn.Linear(width, 2 * width) for m in modalities})
            self.gate = nn.ParameterDict({m: nn.Parameter(torch.zeros(())) for m in modalities})

    def forward(
        self, tokens: Mapping[str, Float[Tensor, "b n d"]], masks: Mapping[str, Bool[Tensor, "b n"]]
    ) -> dict[str, Float[Tensor, "b n d"]]:
        """k_m for every modality; zero where its mask is False."""
        low = {m: self.down[m](tokens[m]) for m in self.down}
        found = {}
        for m, z in low.items():
            if self.cross:
                z = z + self.gate[m].tanh() * self._attended(m, low, masks)
            wrote = self.up[m](self.mix[m](z, attendable(masks[m])))
            found[m] = (tokens[m] + wrote).masked_fill(~masks[m][..., None], 0)
        return found

    def _attended(self, modality: str, low: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Float[Tensor, "b n r"]:
        """What the tokens of one modality read from those of the others."""
        others = [n for n in low if n != modality]
        keys = torch.cat([masks[n] for n in others], 1)
        q = rearrange(self.query[modality](low[modality]), "b n (h r) -> b h n r", h=self.heads)
        pairs = torch.cat([self.key_value[n](low[n]) for n in others], 1)
        k, v = rearrange(pairs, "b n (two h r) -> two b h n r", two=2, h=self.heads).unbind(0)
        read = F.scaled_dot_product_attention(q, k, v, attn_mask=attendable(keys)[:, None, None, :])
        return rearrange(read, "b h n r -> b n (h r)") * keys.any(1)[:, None, None]


class Adapters(nn.Module):
    """`layers` cross-modal adapters, one after the other, and `u_m = Linear([h_m; k_m])` at the end."""

    def __init__(self, modalities: Sequence[str], dim: int, *, layers: int = 1, **options):
        super().__init__()
        self.layers = nn.ModuleList(CrossModalAdapter(modalities, dim, **options) for _ in range(layers))
        self.out = nn.ModuleDict({m: nn.Linear(2 * dim, dim) for m in modalities})

    def forward(self, encoded: Mapping[str, Encoded]) -> dict[str, Float[Tensor, "b n d"]]:
        """u_m for every modality; zero where its mask is False."""
        masks = {m: e.mask for m, e in encoded.items()}
        tokens = {m: e.tokens for m, e in encoded.items()}
        for layer in self.layers:
            tokens = layer(tokens, masks)
        joined = {m: torch.cat([e.tokens, tokens[m]], -1) for m, e in encoded.items()}
        return {m: self.out[m](x).masked_fill(~masks[m][..., None], 0) for m, x in joined.items()}


def _silent(layer: nn.Linear) -> nn.Linear:
    """The layer with all weights 0: it adds nothing until it has learnt to."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
