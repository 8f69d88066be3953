"""TFN: what does a head make of every product of one number from each modality?

After Tensor Fusion Network (Zadeh et al., EMNLP 2017, arXiv 1707.07250).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from msaviz.nn.dropout import Dropout
from msaviz.nn.heads import Heads
from msaviz.nn.recurrent import Factors, utterance_encoders
from msaviz.options import Options, searchable
from msaviz.types import Batch, Output, Spec

LARGEST = 40_000
"""Most numbers that the product may have: the first layer after it has `dim` times as many weights."""


class ProductLayer(nn.Module):
    """A linear map of the product of all [1; h_m], which is never formed whole.

    The product of all but the last meets the weight, and what comes out the last: 1.3 to 2 times as fast as a map of the whole (width 16
    or 32, three modalities). One modality after the other, the weight first, is 2 to 6 times slower than the whole.
    """

    def __init__(self, modalities: int, factor: int, dim: int):
        super().__init__()
        rest = (factor + 1) ** (modalities - 1)
        reach = (rest * (factor + 1)) ** -0.5
        self.weight = nn.Parameter(torch.empty(rest, dim * (factor + 1)).uniform_(-reach, reach))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, vectors: Sequence[Float[Tensor, "b f"]]) -> Float[Tensor, "b d"]:
        *rest, last = vectors
        some = product(rest) if rest else last.new_ones(len(last), 1)
        each = rearrange(some @ self.weight, "b (d f) -> b d f", d=len(self.bias))
        return torch.einsum("bdf,bf->bd", each, with_one(last)) + self.bias


class Tfn(nn.Module):
    """Utterance vectors h_m -> the outer product of all [1; h_m] (its tensor fusion layer) -> two-layer network -> head.

    An absent modality's vector is 0, so that its factor is [1; 0] and the product is that of the others alone.
    """

    class Config(Options):
        dim: int = searchable(64, choices=(32, 64, 128, 256), ge=8)
        """Width of the encoders."""
        hidden: int = searchable(64, choices=(32, 64, 128, 256), ge=1)
        """Width after the product."""
        factor: int = searchable(16, choices=(8, 16, 32), ge=1)
        """Width of each modality's vector in the product; fewer where more modalities would make that larger than 40,000 numbers."""
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
        factor = factor_of(c.factor, len(widths))
        self.factors = Factors(utterance_encoders(c.encoder, widths, c.dim, ("lstm", "pooled"), **options), c.dim, factor)
        self.first = ProductLayer(len(widths), factor, c.hidden)
        self.second = nn.Linear(c.hidden, c.hidden)
        self.dropout = Dropout(c.dropout)
        self.head = Heads(c.hidden, {spec.target: spec.task}, c.dropout)

    def forward(self, batch: Batch) -> Output:
        vectors = self.factors(batch)
        hidden = self.dropout(F.relu(self.first([self.dropout(h) for h in vectors.values()])))
        z = F.relu(self.second(hidden))
        return Output(predictions=self.head(z), fused=z, private=vectors)


def factor_of(wanted: int, modalities: int) -> int:
    """The largest width of at most `wanted` whose product over all modalities stays within `LARGEST` numbers; at least 1."""
    return next((f for f in range(wanted, 1, -1) if (f + 1) ** modalities <= LARGEST), 1)


def with_one(h: Float[Tensor, "b f"]) -> Float[Tensor, "b f1"]:
    """[1; h]"""
    return F.pad(h, (1, 0), value=1.0)


def product(vectors: Sequence[Float[Tensor, "b f"]]) -> Float[Tensor, "b p"]:
    """The outer product of all [1; h_m], flattened, the last modality's index running fastest."""
    whole, *rest = (with_one(h) for h in vectors)
    for h in rest:
        whole = rearrange(rearrange(whole, "b p -> b p 1") * rearrange(h, "b f -> b 1 f"), "b p f -> b (p f)")
    return whole


MODEL = Tfn
