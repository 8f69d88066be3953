"""Early fusion: how far does one transformer over all modalities' tokens get, without experts?"""

from __future__ import annotations

import torch
from torch import nn

from msaviz.nn.encoders import Block, SequenceEncoder, attendable, masked_mean
from msaviz.nn.heads import Heads
from msaviz.options import Options, searchable
from msaviz.types import Batch, Output, Spec


class EarlyFusion(nn.Module):
    """Tokens of all modalities, each with its modality's embedding, in one transformer; mean of the valid tokens; head."""

    class Config(Options):
        dim: int = searchable(64, choices=(32, 64, 128, 256), ge=8)
        layers: int = searchable(1, low=0, high=4, ge=0)
        fusion_layers: int = searchable(1, low=1, high=4, ge=1)
        heads: int = searchable(4, choices=(1, 2, 4, 8), ge=1)
        frames: int = searchable(64, low=16, high=128, ge=1)
        dropout: float = searchable(0.1, low=0.0, high=0.5, ge=0, lt=1)

    def __init__(self, spec: Spec, config: Config):
        super().__init__()
        c = config
        self.encoders = nn.ModuleDict(
            {
                m: SequenceEncoder(w, c.dim, layers=c.layers, heads=c.heads, summary=0, frames=c.frames, dropout=c.dropout)
                for m, w in spec.widths.items()
            }
        )
        self.kind = nn.ParameterDict({m: nn.Parameter(0.02 * torch.randn(c.dim)) for m in spec.widths})
        self.fusion = nn.ModuleList(Block(c.dim, c.heads, c.dropout) for _ in range(c.fusion_layers))
        self.norm = nn.LayerNorm(c.dim)
        self.head = Heads(c.dim, {spec.target: spec.task}, c.dropout)

    def forward(self, batch: Batch) -> Output:
        encoded = {m: encoder(batch.x[m], batch.mask[m]) for m, encoder in self.encoders.items()}
        tokens = torch.cat([e.tokens + self.kind[m] for m, e in encoded.items()], 1)
        mask = torch.cat([e.mask for e in encoded.values()], 1)
        keys = attendable(mask)
        for block in self.fusion:
            tokens = block(tokens, keys)
        z = masked_mean(self.norm(tokens), mask)
        return Output(predictions=self.head(z), fused=z)


MODEL = EarlyFusion
