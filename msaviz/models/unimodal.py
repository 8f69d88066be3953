"""Unimodal: how far does one modality get alone?"""

from __future__ import annotations

from torch import nn

from msaviz.nn.encoders import SequenceEncoder
from msaviz.nn.heads import Heads
from msaviz.options import Options, searchable
from msaviz.types import Batch, Output, Spec


class Unimodal(nn.Module):
    """Encoder and head of one modality; where it is absent, the head's answer to a zero vector."""

    class Config(Options):
        modality: str = ""
        """Which one; empty = the first of the data."""
        dim: int = searchable(64, choices=(32, 64, 128, 256), ge=8)
        layers: int = searchable(1, low=0, high=4, ge=0)
        heads: int = searchable(4, choices=(1, 2, 4, 8), ge=1)
        frames: int = searchable(64, low=16, high=128, ge=1)
        dropout: float = searchable(0.1, low=0.0, high=0.5, ge=0, lt=1)

    def __init__(self, spec: Spec, config: Config):
        super().__init__()
        c = config
        self.modality = c.modality or spec.modalities[0]
        if self.modality not in spec.modalities:
            raise ValueError(f"model.modality is {c.modality!r}; the data have {', '.join(spec.modalities)}")
        width = spec.widths[self.modality]
        self.encoder = SequenceEncoder(width, c.dim, layers=c.layers, heads=c.heads, summary=0, frames=c.frames, dropout=c.dropout)
        self.head = Heads(c.dim, {spec.target: spec.task}, c.dropout)

    def forward(self, batch: Batch) -> Output:
        encoded = self.encoder(batch.x[self.modality], batch.mask[self.modality])
        z = encoded.pooled
        return Output(predictions=self.head(z), fused=z)


MODEL = Unimodal
