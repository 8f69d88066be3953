"""LMF: does the tensor of all modalities' products need more than a few terms?

After Low-rank Multimodal Fusion (Liu et al., ACL 2018, arXiv 1806.00064).
"""

from __future__ import annotations

from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from msaviz.nn.dropout import Dropout
from msaviz.nn.heads import Heads
from msaviz.nn.recurrent import Factors, utterance_encoders
from msaviz.options import Options, searchable
from msaviz.types import Batch, Output, Spec


class LowRankFusion(nn.Module):
    """z = b + sum_r w_r prod_m W_m^r [1; h_m] (elementwise product over m), never the tensor of all products.

    The full weight that it stands for is sum_r w_r (outer product over m of W_m^r). The terms' weights w_r are those of the
    authors' code. Cost grows with the sum of the modalities' widths, not their product.
    """

    def __init__(self, modalities: int, factor: int, dim: int, rank: int):
        super().__init__()
        self.factors = nn.Parameter(torch.empty(modalities, factor + 1, rank, dim).normal_(std=(factor + 1) ** -0.5))
        self.weight = nn.Parameter(torch.empty(rank).normal_(std=rank**-0.5))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, vectors: Float[Tensor, "m b f"]) -> Float[Tensor, "b d"]:
        modalities, rows, _ = vectors.shape
        ones = vectors.new_ones(modalities, rows, 1)
        each = torch.bmm(torch.cat([ones, vectors], 2), rearrange(self.factors, "m f r d -> m f (r d)"))
        terms = rearrange(each.prod(0), "b (r d) -> b r d", r=len(self.weight))
        return torch.einsum("brd,r->bd", terms, self.weight) + self.bias


class Lmf(nn.Module):
    """Utterance vectors -> low-rank product -> head. An absent modality's vector is 0: only its constant is a factor then."""

    class Config(Options):
        dim: int = searchable(64, choices=(32, 64, 128, 256), ge=8)
        factor: int = searchable(32, choices=(8, 16, 32, 64), ge=1)
        """Width of each modality's vector in the product."""
        rank: int = searchable(4, low=1, high=16, ge=1)
        encoder: Literal["paper", "lstm", "transformer", "pooled"] = searchable("paper", choices=("paper", "lstm", "transformer", "pooled"))
        """"paper": an LSTM for the first modality (text), the mean over time and an MLP for the others."""
        layers: int = searchable(1, low=1, high=4, when={"encoder": ("paper", "lstm", "transformer")}, ge=1)
        heads: int = searchable(4, choices=(1, 2, 4, 8), when={"encoder": ("transformer",)}, ge=1)
        frames: int = searchable(64, low=16, high=128, when={"encoder": ("paper", "lstm", "transformer")}, ge=1)
        dropout: float = searchable(0.1, low=0.0, high=0.5, ge=0, lt=1)

    def __init__(self, spec: Spec, config: Config):
        super().__init__()
        c = config
        widths = {m: spec.widths[m] for m in spec.modalities}
        options = {"layers": c.layers, "heads": c.heads, "frames": c.frames, "dropout": c.dropout}
        self.factors = Factors(utterance_encoders(c.encoder, widths, c.dim, ("lstm", "pooled"), **options), c.dim, c.factor)
        self.fusion = LowRankFusion(len(widths), c.factor, c.dim, c.rank)
        self.dropout = Dropout(c.dropout)
        self.head = Heads(c.dim, {spec.target: spec.task}, c.dropout)

    def forward(self, batch: Batch) -> Output:
        vectors = self.factors(batch)
        z = self.fusion(self.dropout(torch.stack(list(vectors.values()))))
        return Output(predictions=self.head(z), fused=z, private=vectors)


MODEL = Lmf
