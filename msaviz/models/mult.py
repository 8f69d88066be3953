"""MulT: what does each modality's sequence learn from reading every other one, step by step and unaligned?

After the Multimodal Transformer (Tsai et al., ACL 2019, arXiv 1906.00295). Long sequences are averaged in windows first.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from msaviz.nn.crossmodal import CrossmodalTransformer
from msaviz.nn.dropout import Dropout
from msaviz.nn.encoders import Block, attendable, masked_mean, sinusoids, window_mean, window_stride
from msaviz.nn.heads import Heads
from msaviz.options import Options, searchable
from msaviz.types import Batch, Output, Spec


@dataclass(frozen=True)
class Tokens:
    """A modality's low-level tokens, zero where `mask` is False."""

    values: Float[Tensor, "b n d"]
    mask: Bool[Tensor, "b n"]


class TemporalProjection(nn.Module):
    """Windows -> a convolution over time -> positions. What is not valid counts as 0 in the convolution."""

    def __init__(self, width: int, dim: int, *, kernel: int = 3, frames: int = 64, dropout: float = 0.1):
        super().__init__()
        if dim % 2 or not kernel % 2:
            raise ValueError(f"an even width and an odd kernel are needed, not {dim} and {kernel}")
        self.frames = frames
        self.convolution = nn.Conv1d(width, dim, kernel, padding=kernel // 2)
        self.norm, self.dropout = nn.LayerNorm(dim), Dropout(dropout)

    def forward(self, x: Float[Tensor, "b t w"], mask: Bool[Tensor, "b t"]) -> Tokens:
        stride = window_stride(mask, self.frames)
        windows, valid = window_mean(x, mask, stride, self.frames)
        time = torch.arange(windows.shape[1], device=x.device) * stride[:, None]
        found = rearrange(self.convolution(rearrange(windows, "b n w -> b w n")), "b d n -> b n d")
        found = self.norm(found) + sinusoids(time, found.shape[-1]).to(found.dtype)
        return Tokens(self.dropout(found).masked_fill(~valid[..., None], 0), valid)


class Mult(nn.Module):
    """For every target: cross-modal transformers from each other modality, side by side; self-attention; one vector. Residual head.

    A pair hears nothing from an absent source (the target's own tokens pass on), and gives zeros for an absent target. With one
    modality in the data there is no pair, and its own tokens are attended to.
    """

    class Config(Options):
        dim: int = searchable(64, choices=(32, 64, 128, 256), ge=8)
        """Width of one cross-modal transformer."""
        layers: int = searchable(2, low=1, high=5, ge=1)
        """Layers of each cross-modal transformer (the paper: 4)."""
        self_layers: int = searchable(1, low=1, high=3, ge=1)
        heads: int = searchable(4, choices=(1, 2, 4, 8), ge=1)
        kernel: int = searchable(3, choices=(1, 3, 5), ge=1)
        """Windows that the temporal convolution reads."""
        frames: int = searchable(64, low=16, high=128, ge=1)
        pooling: Literal["last", "mean"] = searchable("last", choices=("last", "mean"))
        """What stands for a sequence: its last valid token (the paper) or the mean of all."""
        dropout: float = searchable(0.1, low=0.0, high=0.5, ge=0, lt=1)

    def __init__(self, spec: Spec, config: Config):
        super().__init__()
        self.config, c = config, config
        self.modalities = spec.modalities
        projection = {"kernel": c.kernel, "frames": c.frames, "dropout": c.dropout}
        self.project = nn.ModuleDict({m: TemporalProjection(spec.widths[m], c.dim, **projection) for m in self.modalities})
        self.sources = {m: [n for n in self.modalities if n != m] for m in self.modalities}
        pairs = permutations(range(len(self.modalities)), 2)
        cross = {"layers": c.layers, "heads": c.heads, "dropout": c.dropout}
        self.cross = nn.ModuleDict({f"{i}_{j}": CrossmodalTransformer(c.dim, **cross) for i, j in pairs})  # a name may hold a dot
        width = max(1, len(self.modalities) - 1) * c.dim
        self.mix = nn.ModuleDict(
            {m: nn.ModuleList(Block(width, c.heads, c.dropout) for _ in range(c.self_layers)) for m in self.modalities}
        )
        self.norm = nn.ModuleDict({m: nn.LayerNorm(width) for m in self.modalities})
        whole = width * len(self.modalities)
        self.up, self.down, self.dropout = nn.Linear(whole, whole), nn.Linear(whole, whole), Dropout(c.dropout)
        self.head = Heads(whole, {spec.target: spec.task}, c.dropout)

    def forward(self, batch: Batch) -> Output:
        tokens = {m: self.project[m](batch.x[m], batch.mask[m]) for m in self.modalities}
        told = {m: self.told(m, tokens) for m in self.modalities}
        joined = torch.cat(list(told.values()), 1)
        z = joined + self.down(self.dropout(F.relu(self.up(joined))))
        return Output(predictions=self.head(z), fused=z, shared=told)

    def told(self, target: str, tokens: dict[str, Tokens]) -> Float[Tensor, "b d"]:
        """What one target knows after reading all others: one vector, zero where it is absent."""
        own, number = tokens[target], self.modalities.index
        cross = [
            self.cross[f"{number(n)}_{number(target)}"](own.values, tokens[n].values, own.mask, tokens[n].mask)
            for n in self.sources[target]
        ]
        x, keys = torch.cat(cross, -1) if cross else own.values, attendable(own.mask)
        blocks = self.mix[target]
        assert isinstance(blocks, nn.ModuleList)
        for block in blocks:
            x = block(x, keys)
        x = self.norm[target](x)
        return masked_mean(x, own.mask) if self.config.pooling == "mean" else last_valid(x, own.mask)


def last_valid(x: Float[Tensor, "b n d"], mask: Bool[Tensor, "b n"]) -> Float[Tensor, "b d"]:
    """The last valid token of each row; zero where there is none."""
    last = (mask * torch.arange(mask.shape[1], device=mask.device)).amax(1)
    return x[torch.arange(len(x), device=x.device), last] * mask.any(1, keepdim=True)


MODEL = Mult
