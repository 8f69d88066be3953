"""How does a sequence of one modality become one vector: what a recurrent network remembers of it, or its mean?"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from msaviz.nn.dropout import Dropout
from msaviz.nn.encoders import PooledEncoder, SequenceEncoder, window_mean, window_stride
from msaviz.types import Batch

KINDS = ("lstm", "transformer", "pooled")
NARROWEST = 16
"""Width of the LSTM of a modality with hardly any features."""


class RecurrentEncoder(nn.Module):
    """Pool to windows, project, norm; the last state of an LSTM that steps from valid window to valid window; projected to `dim`.

    Windows are those of `SequenceEncoder`: a sequence of at most `frames` steps is read step by step. A step dropped whole does not
    exist: time goes on at the next valid one. An absent modality gives zeros; padding and other rows change nothing. The LSTM is as
    wide as its input, at least NARROWEST and at most `dim`. `bidirectional`: half of the numbers each way, each way's at its own last
    step.
    """

    def __init__(self, width: int, dim: int, *, layers: int = 1, bidirectional: bool = False, frames: int = 64, dropout: float = 0.1):
        super().__init__()
        if bidirectional and dim % 2:
            raise ValueError(f"two directions share an even width, not {dim}")
        self.dim, self.frames, self.bidirectional = dim, frames, bidirectional
        inner = min(dim, max(NARROWEST, width + width % 2))
        self.project, self.norm, self.dropout = nn.Linear(width, inner), nn.LayerNorm(inner), Dropout(dropout)
        hidden = inner // 2 if bidirectional else inner
        self.lstm = nn.LSTM(inner, hidden, layers, True, True, dropout if layers > 1 else 0.0, bidirectional)
        self.widen = nn.Linear(inner, dim) if inner < dim else nn.Identity()

    def forward(self, x: Float[Tensor, "b t w"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b d"]:
        if mask.shape[1] > self.frames:
            x, mask = window_mean(x, mask, window_stride(mask, self.frames), self.frames)
        length, row = mask.sum(1), mask.nonzero()[:, 0]
        if not len(row):
            return self.project.weight.new_zeros(len(x), self.dim)
        if len(row) == mask.numel():  # nothing to leave out: nothing to move
            return self.widen(self.last(self.dropout(self.norm(self.project(x))), length))
        read = self.dropout(self.norm(self.project(x[mask])))
        time = (mask.cumsum(1) - 1)[mask]
        steps = read.new_zeros(len(x), int(length.max()), read.shape[-1]).index_put((row, time), read)
        return self.widen(self.last(steps, length.clamp(min=1))) * mask.any(1, keepdim=True)

    def last(self, steps: Float[Tensor, "b n h"], length: Int[Tensor, " b"]) -> Float[Tensor, "b h"]:
        """The state after each row's last step.

        One way, what follows the last step is computed too and not looked at: on a CPU up to 4 times as fast as packed sequences are.
        """
        if self.bidirectional:
            _, (state, _) = self.lstm(pack_padded_sequence(steps, length.cpu(), batch_first=True, enforce_sorted=False))
            return torch.cat(list(state[-2:]), 1)
        states, _ = self.lstm(steps)
        return states[torch.arange(len(steps), device=steps.device), length - 1]


class TransformerMean(nn.Module):
    """The mean of `SequenceEncoder`'s valid tokens."""

    def __init__(self, width: int, dim: int, **options):
        super().__init__()
        self.encoder = SequenceEncoder(width, dim, summary=0, **options)

    def forward(self, x: Float[Tensor, "b t w"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b d"]:
        return self.encoder(x, mask).pooled


def utterance_encoder(
    kind: str, width: int, dim: int, *, layers: int = 1, heads: int = 4, frames: int = 64, dropout: float = 0.1
) -> nn.Module:
    """What makes one vector of an utterance, Float[b t w], Bool[b t] -> Float[b d], zero where the modality is absent.

    "lstm", "transformer" or "pooled" (the mean over time, the fastest).
    """
    if kind == "lstm":
        return RecurrentEncoder(width, dim, layers=max(layers, 1), frames=frames, dropout=dropout)
    if kind == "transformer":
        return TransformerMean(width, dim, layers=layers, heads=heads, frames=frames, dropout=dropout)
    if kind == "pooled":
        return PooledEncoder(width, dim, dropout=dropout)
    raise ValueError(f"no utterance encoder is called {kind!r}; these exist: {', '.join(KINDS)}")


def utterance_encoders(kind: str, widths: Mapping[str, int], dim: int, paper: tuple[str, str], **options) -> nn.ModuleDict:
    """One for each modality; "paper": the first of the kinds in `paper` for the first modality (text, by custom), the second for others."""
    kinds = {m: paper[min(i, 1)] if kind == "paper" else kind for i, m in enumerate(widths)}
    return nn.ModuleDict({m: utterance_encoder(kinds[m], width, dim, **options) for m, width in widths.items()})


class Factors(nn.Module):
    """What the modalities bring into a product of vectors: tanh of each one's utterance vector, made narrow; 0 where it is absent."""

    def __init__(self, encoders: nn.ModuleDict, dim: int, factor: int):
        super().__init__()
        self.encoders = encoders
        self.narrow = nn.ModuleDict({m: nn.Linear(dim, factor) for m in encoders})

    def forward(self, batch: Batch) -> dict[str, Float[Tensor, "b factor"]]:
        found = {m: encoder(batch.x[m], batch.mask[m]) for m, encoder in self.encoders.items()}
        return {m: torch.tanh(self.narrow[m](h)) * batch.present(m)[:, None] for m, h in found.items()}
