"""What stands in the place of a modality that is absent: a learned step, or one that is imagined from what is there?

Both read and write batches of vectors, so that any model may stand behind them. A row that lacks nothing passes unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from msaviz.nn.encoders import PooledEncoder, masked_mean
from msaviz.nn.penalties import mean_where
from msaviz.types import Batch


def filled(batch: Batch, steps: Mapping[str, Float[Tensor, "b w"]]) -> Batch:
    """The batch in which every absent modality has one valid step, the first, that holds `steps`; `dropped` and `complete` stay."""
    x, mask = {}, {}
    for m, step in steps.items():
        before = batch.mask[m]
        first = ~before.any(1, keepdim=True) & (torch.arange(before.shape[1], device=before.device) == 0)
        x[m] = torch.where(first[..., None], rearrange(step, "b w -> b 1 w").to(batch.x[m].dtype), batch.x[m])
        mask[m] = before | first
    return replace(batch, x={**batch.x, **x}, mask={**batch.mask, **mask})


class AbsentTokens(nn.Module):
    """One learned step for each modality, which stands where the modality is absent."""

    reads_complete = False

    def __init__(self, widths: Mapping[str, int]):
        super().__init__()
        self.token = nn.ParameterDict({m: nn.Parameter(0.02 * torch.randn(width)) for m, width in widths.items()})

    def forward(self, batch: Batch) -> tuple[Batch, dict[str, Tensor]]:
        return filled(batch, {m: token.expand(len(batch), -1) for m, token in self.token.items()}), {}


class Imagination(nn.Module):
    """What is absent is imagined from what is there: IF-MMIN (Zuo et al. 2023), with one step in the place of an embedding.

    `e_m = PooledEncoder_m(x_m)`, 0 where absent; `h = mean over those present of I(e_m)`, I shared by all; a cascade of residual blocks
    `e <- e + block_k([e; h])` over all the embeddings side by side; the step is `D_m(e_m)` after the last. The paper takes its encoders
    from a model trained before; here the decoders, which must also give back the mean step of each complete modality, keep the
    embeddings from collapsing.
    """

    reads_complete = True

    def __init__(self, widths: Mapping[str, int], *, dim: int = 64, blocks: int = 3):
        super().__init__()
        self.modalities, count = tuple(widths), len(widths)
        self.embed = nn.ModuleDict({m: PooledEncoder(width, dim, dropout=0.0) for m, width in widths.items()})
        self.invariant = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))
        self.cascade = nn.ModuleList(
            nn.Sequential(nn.Linear((count + 1) * dim, dim), nn.GELU(), nn.Linear(dim, count * dim)) for _ in range(blocks)
        )
        self.decode = nn.ModuleDict({m: nn.Linear(dim, width) for m, width in widths.items()})

    def forward(self, batch: Batch) -> tuple[Batch, dict[str, Tensor]]:
        """(the batch without gaps, the losses of a training batch that knows its complete twin)."""
        embedding, present = self.embedded(batch)
        common = self.common(embedding, present)
        imagined = self.imagined(embedding, common)
        steps = {m: self.decode[m](imagined[:, i]) for i, m in enumerate(self.modalities)}
        losses = {}
        if self.training and batch.complete is not None:
            losses = self.losses(batch, batch.complete, imagined, common)
        return filled(batch, steps), losses

    def embedded(self, batch: Batch) -> tuple[Float[Tensor, "b m d"], Bool[Tensor, "b m"]]:
        """(e, which modalities are there)."""
        every = [self.embed[m](batch.x[m], batch.mask[m]) for m in self.modalities]
        return torch.stack(every, 1), torch.stack([batch.present(m) for m in self.modalities], 1)

    def common(self, embedding: Float[Tensor, "b m d"], present: Bool[Tensor, "b m"]) -> Float[Tensor, "b d"]:
        """h: what the modalities that are there say alike; 0 where none is."""
        return masked_mean(self.invariant(embedding), present)

    def imagined(self, embedding: Float[Tensor, "b m d"], common: Float[Tensor, "b d"]) -> Float[Tensor, "b m d"]:
        """The embeddings after the cascade."""
        for block in self.cascade:
            told = torch.cat([rearrange(embedding, "b m d -> b (m d)"), common], 1)
            embedding = embedding + rearrange(block(told), "b (m d) -> b m d", m=len(self.modalities))
        return embedding

    def losses(
        self, batch: Batch, complete: Batch, imagined: Float[Tensor, "b m d"], common: Float[Tensor, "b d"]
    ) -> dict[str, Float[Tensor, ""]]:
        """`embedding`: of what was removed; `invariant`: of rows that lost anything; `step`: D_m(e_m) of what is complete. All MSE."""
        with torch.no_grad():
            truth, there = self.embedded(complete)
            whole = self.common(truth, there)
        here = torch.stack([batch.present(m) for m in self.modalities], 1)
        lost = torch.stack([gone.any(1) for gone in batch.dropped.values()], 1).any(1)
        errors = []
        for i, m in enumerate(self.modalities):
            mean = masked_mean(complete.x[m], complete.mask[m])
            again = self.decode[m](self.embed[m](complete.x[m], complete.mask[m]))
            errors.append(mean_where(F.mse_loss(again, mean.to(again.dtype), reduction="none").mean(-1), there[:, i]))
        return {
            "imagination/embedding": mean_where((imagined - truth).square().mean(-1), there & ~here),
            "imagination/invariant": mean_where((common - whole).square().mean(-1), lost),
            "imagination/step": torch.stack(errors).mean(),
        }
