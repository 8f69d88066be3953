"""Late fusion: what do separate models of each modality say when they only vote at the end?"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import nn

from msaviz.nn.encoders import SequenceEncoder
from msaviz.nn.heads import Heads
from msaviz.options import Options, searchable
from msaviz.types import Batch, Output, Spec


class LateFusion(nn.Module):
    """One encoder and head per modality; the prediction is their mean, weighted by learned votes of those present."""

    class Config(Options):
        dim: int = searchable(64, choices=(32, 64, 128, 256), ge=8)
        layers: int = searchable(1, low=0, high=4, ge=0)
        heads: int = searchable(4, choices=(1, 2, 4, 8), ge=1)
        frames: int = searchable(64, low=16, high=128, ge=1)
        dropout: float = searchable(0.1, low=0.0, high=0.5, ge=0, lt=1)

    def __init__(self, spec: Spec, config: Config):
        super().__init__()
        c = config
        self.target, self.modalities = spec.target, spec.modalities
        self.encoders = nn.ModuleDict(
            {
                m: SequenceEncoder(w, c.dim, layers=c.layers, heads=c.heads, summary=0, frames=c.frames, dropout=c.dropout)
                for m, w in spec.widths.items()
            }
        )
        self.head = nn.ModuleDict({m: Heads(c.dim, {spec.target: spec.task}, c.dropout) for m in spec.widths})
        self.votes = nn.Parameter(torch.zeros(len(self.modalities)))

    def forward(self, batch: Batch) -> Output:
        encoded = {m: self.encoders[m](batch.x[m], batch.mask[m]) for m in self.modalities}
        means = torch.stack([encoded[m].pooled for m in self.modalities], 1)
        each = torch.stack([self.head[m](means[:, i])[self.target] for i, m in enumerate(self.modalities)], 1)
        present = torch.stack([batch.present(m) for m in self.modalities], 1)
        weight = self.votes.exp() * present
        weight = weight / weight.sum(1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny)
        shape = "b m -> b m 1" if each.ndim == 3 else "b m -> b m"
        return Output(
            predictions={self.target: (each * rearrange(weight, shape)).sum(1)},
            fused=(means * rearrange(weight, "b m -> b m 1")).sum(1),
            importance=weight,
            contributors=self.modalities,
        )


MODEL = LateFusion
