"""What do the sequences of the other modalities say to each step of this one, before any model has read them?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from msaviz.nn.encoders import attendable, window_mean, window_stride
from msaviz.types import Batch

ARROW = ">"


class GatedAttention(nn.Module):
    """Every two modalities read each other through one bilinear map, and a gate says how much of it is taken.

    `S = A(x_a) W B(x_b)^T` for the steps of a receiver and the windows of a sender, softmax over the sender's valid windows; the same W
    serves both ways. `x_a <- x_a + O(sigmoid(G[q; c]) * c)`, c what is read and O = 0 at the start, so that training begins at x_a. What
    is absent neither sends nor receives; a sender has at most `frames` windows, so that long sequences cost what they are long.
    """

    reads_complete = False

    def __init__(self, widths: Mapping[str, int], *, dim: int = 32, frames: int = 64):
        super().__init__()
        self.frames, self.dim = frames, dim
        self.down = nn.ModuleDict({m: nn.Sequential(nn.Linear(width, dim), nn.LayerNorm(dim)) for m, width in widths.items()})
        self.value = nn.ModuleDict({m: nn.Linear(dim, dim) for m in widths})
        both = list(combinations(widths, 2))
        self.bilinear = nn.ParameterDict({ARROW.join(pair): nn.Parameter(torch.randn(dim, dim) / dim**0.5) for pair in both})
        ways = [way for a, b in both for way in ((a, b), (b, a))]
        self.gate = nn.ModuleDict({ARROW.join(way): nn.Linear(2 * dim, dim) for way in ways})
        self.out = nn.ModuleDict({ARROW.join(way): _silent(nn.Linear(dim, widths[way[1]])) for way in ways})

    def forward(self, batch: Batch) -> tuple[Batch, dict[str, Tensor]]:
        """(the batch whose steps know of the others, no losses); its complete twin goes the same way, without gradient."""
        complete = batch.complete
        if complete is not None:
            with torch.no_grad():
                complete = complete.with_x(**self.mixed(complete))
        return replace(batch, x={**batch.x, **self.mixed(batch)}, complete=complete), {}

    def mixed(self, batch: Batch) -> dict[str, Float[Tensor, "b t w"]]:
        """What every modality's steps become."""
        queries, keys = {}, {}
        for m, down in self.down.items():
            x, mask = batch.x[m].masked_fill(~batch.mask[m][..., None], 0), batch.mask[m]
            queries[m] = down(x)
            windows, valid = window_mean(x, mask, window_stride(mask, self.frames), self.frames)
            keys[m] = down(windows), valid
        found = dict(batch.x)
        for way, out in self.out.items():
            sender, receiver = way.split(ARROW)
            message = out(self.message(way, queries[receiver], *keys[sender]))
            heard = batch.mask[receiver] & batch.present(sender)[:, None]
            found[receiver] = torch.where(heard[..., None], found[receiver] + message.to(found[receiver].dtype), found[receiver])
        return found

    def message(
        self, way: str, query: Float[Tensor, "b t d"], key: Float[Tensor, "b windows d"], valid: Bool[Tensor, "b windows"]
    ) -> Float[Tensor, "b t d"]:
        """What the receiver's steps take from the sender's windows."""
        sender, receiver = way.split(ARROW)
        known = f"{receiver}{ARROW}{sender}"
        bilinear = self.bilinear[known] if known in self.bilinear else self.bilinear[way].T
        mask = attendable(valid)[:, None]
        read = F.scaled_dot_product_attention(query @ bilinear, key, self.value[sender](key), attn_mask=mask)
        return self.gate[way](torch.cat([query, read], -1)).sigmoid() * read


def _silent(layer: nn.Linear) -> nn.Linear:
    """The layer with all weights 0: it adds nothing until it has learnt to."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
