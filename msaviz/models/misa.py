"""MISA: what do the modalities share, and what has each for itself?

After MISA (Hazarika et al., ACM Multimedia 2020, arXiv 2005.03545).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from msaviz.nn.dropout import Dropout
from msaviz.nn.encoders import Block, attendable
from msaviz.nn.heads import Heads
from msaviz.nn.penalties import cmd, mean_where, orthogonality_misa
from msaviz.nn.recurrent import utterance_encoders
from msaviz.options import Options, searchable
from msaviz.types import Batch, Output, Spec

Vectors = Float[Tensor, "m b d"]


class Misa(nn.Module):
    """Utterance vectors u_m -> private p_m and shared s_m -> a transformer over these 2M vectors -> head.

    The vectors of an absent modality are 0, are not attended to and take no part in the losses. Reconstruction targets are detached.
    """

    class Config(Options):
        dim: int = searchable(64, choices=(32, 64, 128, 256), ge=8)
        encoder: Literal["paper", "lstm", "transformer", "pooled"] = searchable("paper", choices=("paper", "lstm", "transformer", "pooled"))
        """"paper": the mean over time for the first modality (text vectors of BERT), an LSTM for each other one."""
        layers: int = searchable(1, low=1, high=4, when={"encoder": ("paper", "lstm", "transformer")}, ge=1)
        heads: int = searchable(2, choices=(1, 2, 4, 8), ge=1)
        frames: int = searchable(64, low=16, high=128, when={"encoder": ("paper", "lstm", "transformer")}, ge=1)
        dropout: float = searchable(0.1, low=0.0, high=0.5, ge=0, lt=1)
        difference_weight: float = searchable(0.3, low=0.0, high=2.0, ge=0)
        """This and the next two: as in the authors' code."""
        similarity_weight: float = searchable(1.0, low=0.0, high=2.0, ge=0)
        reconstruction_weight: float = searchable(1.0, low=0.0, high=2.0, ge=0)

    def __init__(self, spec: Spec, config: Config):
        super().__init__()
        self.config, c = config, config
        self.modalities = spec.modalities
        widths = {m: spec.widths[m] for m in spec.modalities}
        options = {"layers": c.layers, "heads": c.heads, "frames": c.frames, "dropout": c.dropout}
        self.encoders = utterance_encoders(c.encoder, widths, c.dim, ("pooled", "lstm"), **options)
        self.project = nn.ModuleDict({m: nn.Sequential(nn.Linear(c.dim, c.dim), nn.GELU(), nn.LayerNorm(c.dim)) for m in widths})
        self.private = nn.ModuleDict({m: nn.Sequential(nn.Linear(c.dim, c.dim), nn.Sigmoid()) for m in widths})
        self.shared = nn.Sequential(nn.Linear(c.dim, c.dim), nn.Sigmoid())
        self.decoder = nn.ModuleDict({m: nn.Linear(c.dim, c.dim) for m in widths})
        self.block, self.norm = Block(c.dim, c.heads, c.dropout), nn.LayerNorm(c.dim)
        self.join = nn.Sequential(nn.Linear(2 * len(widths) * c.dim, c.dim), nn.GELU(), Dropout(c.dropout))
        self.head = Heads(c.dim, {spec.target: spec.task}, c.dropout)

    def forward(self, batch: Batch) -> Output:
        present = torch.stack([batch.present(m) for m in self.modalities])
        u = torch.stack([self.project[m](self.encoders[m](batch.x[m], batch.mask[m])) for m in self.modalities])
        there = rearrange(present, "m b -> m b 1")
        p = torch.stack([self.private[m](u[i]) for i, m in enumerate(self.modalities)]) * there
        s = self.shared(u) * there
        z = self.fused(torch.cat([p, s]), torch.cat([present, present]))
        losses = self.losses(u, p, s, present) if self.training else {}
        return Output(
            predictions=self.head(z),
            fused=z,
            private=self.by_name(p),
            shared=self.by_name(s),
            losses=losses,
            weights={name: getattr(self.config, f"{name}_weight") for name in losses},
        )

    def by_name(self, vectors: Vectors) -> Mapping[str, Float[Tensor, "b d"]]:
        return dict(zip(self.modalities, vectors, strict=True))

    def fused(self, vectors: Float[Tensor, "n b d"], present: Bool[Tensor, "n b"]) -> Float[Tensor, "b d"]:
        """All vectors, after they have read each other, side by side and made narrow."""
        mask = rearrange(present, "n b -> b n")
        tokens = self.norm(self.block(rearrange(vectors, "n b d -> b n d"), attendable(mask))).masked_fill(~mask[..., None], 0)
        return self.join(rearrange(tokens, "b n d -> b (n d)"))

    def losses(self, u: Vectors, p: Vectors, s: Vectors, present: Bool[Tensor, "m b"]) -> dict[str, Tensor]:
        """Difference, similarity of the shared vectors (the mean over pairs) and reconstruction."""
        count = len(self.modalities)
        pairs = [(i, j, present[i] & present[j]) for i, j in combinations(range(count), 2)]
        within = [orthogonality_misa(p[i], s[i], present[i]) for i in range(count)]
        between = [orthogonality_misa(p[i], p[j], both) for i, j, both in pairs]
        decoded = torch.stack([self.decoder[m](p[i] + s[i]) for i, m in enumerate(self.modalities)])
        errors = F.mse_loss(decoded, u.detach(), reduction="none").mean(-1)
        found = {
            "difference": torch.stack([*within, *between]).sum(),
            "reconstruction": torch.stack([mean_where(error, where) for error, where in zip(errors, present, strict=True)]).mean(),
        }
        if pairs:
            found["similarity"] = torch.stack([cmd(s[i], s[j], both) for i, j, both in pairs]).mean()
        return found


MODEL = Misa
