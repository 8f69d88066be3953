"""HAEMSA: does a hierarchy of experts, local ones in each modality and global ones over sets of them, serve full and partial input alike?

After HAEMSA (arXiv 2503.22715; only its abstract is readable): hierarchical adaptive experts, evolved architectures and modality
combinations, cross-modal knowledge transfer, multi-task learning. The formulas are ours (`nn/hierarchy.py`); uncertainty weights are those
of Kendall, Gal & Cipolla (2018). `msaviz search haemsa` evolves it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn

from msaviz.nn.encoders import SequenceEncoder
from msaviz.nn.heads import Heads, example_losses
from msaviz.nn.hierarchy import LocalExperts, SetExperts, TopGate, standardised
from msaviz.nn.moe import Experts
from msaviz.nn.penalties import load_balance, mean_where
from msaviz.nn.routers import SPARSE, Router, chosen, picked
from msaviz.options import Options, Some, searchable
from msaviz.types import Batch, Output, Routing, Spec, Steer, heads_of, subsets

GLOBAL = "global"
ARROW = ">"


@dataclass(frozen=True)
class Levels:
    """What the two levels say of a batch: the local means, what the experts over sets answer and hear, who is there."""

    local: Float[Tensor, "b m d"]
    sets: Float[Tensor, "b k d"]
    heard: Float[Tensor, "b m d"]
    present: Bool[Tensor, "b m"]


class Haemsa(nn.Module):
    """Encoders -> local experts -> experts over sets of modalities, with transfer -> a gate that knows what is there -> heads."""

    class Config(Options):
        modalities: Some = searchable("all", subset_of="modalities")
        """The modalities that are read."""
        pairs: Some = searchable("all", subset_of="pairs")
        """Who tells whom, "text>audio"; "none" = ablation "no transfer" between modalities."""
        dim: int = searchable(64, choices=(32, 64, 128), ge=8)
        layers: int = searchable(1, low=0, high=3, ge=0)
        """Transformer layers of each encoder."""
        heads: int = searchable(4, choices=(1, 2, 4, 8), ge=1)
        summary: int = searchable(4, low=0, high=8, ge=0)
        frames: int = searchable(64, choices=(16, 32, 64, 128), ge=1)
        flat: bool = False
        """True = ablation "flat mixture": one gate over one pool of experts that read everything at once."""
        experts: int = searchable(3, low=1, high=6, ge=1)
        """Local experts of each modality."""
        hidden: int = searchable(128, choices=(32, 64, 128, 256), ge=8)
        router: Literal["soft", "top_k", "noisy_top_k", "dense"] = searchable("soft", choices=("soft", "top_k", "noisy_top_k"))
        k: int = searchable(2, low=1, high=4, when={"router": SPARSE}, ge=1)
        set_layers: int = searchable(1, low=1, high=3, ge=1)
        """Layers of every expert over a set of modalities."""
        fusion: Literal["soft", "top_k", "dense"] = searchable("soft", choices=("soft", "top_k", "dense"))
        """How the top gate weighs them; "dense" = ablation: all that can be called count the same."""
        fusion_k: int = searchable(2, low=1, high=4, when={"fusion": SPARSE}, ge=1)
        dropout: float = searchable(0.1, low=0.0, high=0.5, ge=0, lt=1)
        multitask: bool = True
        """Also predict the whole-number grade of a real label and every other task of the data; False = ablation "single task"."""
        uncertainty: bool = True
        """Learn how much every head counts; False: they count the same."""
        distillation_weight: float = searchable(0.1, low=0.0, high=1.0, ge=0)
        """From what the whole input says to what every part of it says; 0 = ablation, with `partial_weight` 0 "no transfer" to parts."""
        partial_weight: float = searchable(0.1, low=0.0, high=1.0, ge=0)
        """The task's loss on every part of the input."""
        balance_weight: float = searchable(0.01, low=0.0, high=0.1, ge=0)

    def __init__(self, spec: Spec, config: Config):
        super().__init__()
        self.spec, self.config, c = spec, config, config
        self.modalities = known(config.modalities, spec.modalities, "modalities")
        wide = {"layers": c.layers, "heads": c.heads, "summary": c.summary, "frames": c.frames, "dropout": c.dropout}
        self.encoders = nn.ModuleDict({m: SequenceEncoder(spec.widths[m], c.dim, **wide) for m in self.modalities})
        self.sets = subsets(self.modalities)
        self.parts = torch.tensor([[m in part for m in self.modalities] for part in self.sets[:-1]], dtype=torch.bool)
        if c.flat:
            self._build_flat()
        else:
            self._build_hierarchy(pairs_of(config.pairs, self.modalities, spec.modalities))
        tasks = heads_of(spec) if c.multitask else {spec.target: spec.task}
        self.head = Heads(c.dim, tasks, c.dropout)
        several = c.uncertainty and len(tasks) > 1
        self.log_variance = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in tasks if several})

    def _build_hierarchy(self, pairs: Sequence[tuple[int, int]]) -> None:
        c, count = self.config, len(self.modalities)
        self.local = nn.ModuleDict(
            {m: LocalExperts(c.dim, c.experts, c.hidden, kind=c.router, k=c.k, dropout=c.dropout) for m in self.modalities}
        )
        number = {m: i for i, m in enumerate(self.modalities)}
        several = [tuple(number[m] for m in one) for one in self.sets if len(one) > 1]
        options = {"heads": c.heads, "layers": c.set_layers, "dropout": c.dropout}
        self.over_sets = SetExperts(count, several, pairs, c.dim, c.hidden, **options) if several else None
        members = torch.tensor([[m in one for m in self.modalities] for one in self.sets], dtype=torch.int64)
        self.top = TopGate(c.dim, members, kind=c.fusion, k=c.fusion_k)
        self.contributors = tuple("+".join(one) for one in self.sets)

    def _build_flat(self) -> None:
        c, count = self.config, len(self.modalities)
        experts = c.experts * count
        self.router = Router(count * (c.dim + 1), experts, kind=c.router, k=min(c.k, experts))
        self.pool = Experts(experts, count * c.dim, c.hidden, out=c.dim, dropout=c.dropout)
        self.contributors = ()

    def forward(self, batch: Batch) -> Output:
        encoded = {m: encoder(batch.x[m], batch.mask[m]) for m, encoder in self.encoders.items()}
        present = torch.stack([e.present for e in encoded.values()], 1)
        routing: dict[str, Routing] = {}
        if self.config.flat:
            local = torch.stack([e.pooled for e in encoded.values()], 1)
            levels = Levels(local, local[:, :0], local, present)
        else:
            told = {m: self.local[m](e, m, batch.steered.get(f"local/{m}")) for m, e in encoded.items()}
            routing = {f"local/{m}": decided for m, (_, decided) in told.items()}
            levels = self.levels(torch.stack([tokens for tokens, _ in told.values()], 1), present)
        called = present.any(1, keepdim=True)
        z, logits, gates = self.fused(levels, present, picked(batch.steered.get(GLOBAL), torch.ones_like(called)))
        logits, wrote = rearrange(logits, "b c -> b 1 c"), rearrange(z, "b d -> b 1 d")
        routing[GLOBAL] = Routing(logits, rearrange(gates, "b c -> b 1 c"), called, wrote=wrote)
        z = wrote[:, 0]  # what goes on is what was written
        predictions = self.head(z)
        losses = self.losses(batch, levels, routing, z, predictions[self.spec.target]) if self.training else {}
        return Output(
            predictions=predictions,
            fused=z,
            routing=routing,
            private={m: levels.local[:, i] for i, m in enumerate(self.modalities)},
            shared={m: levels.heard[:, i] for i, m in enumerate(self.modalities)},
            importance=None if self.config.flat else gates,
            contributors=self.contributors,
            uncertainty=dict(self.log_variance),
            losses=losses,
            weights={name: getattr(self.config, f"{name}_weight") for name in losses},
        )

    def levels(self, tokens: Float[Tensor, "b m s d"], present: Bool[Tensor, "b m"]) -> Levels:
        """From the local tokens to what every set of modalities says."""
        local = tokens.mean(2)
        if self.over_sets is None:
            return Levels(local, local[:, :0], local, present)
        answers, heard = self.over_sets(tokens, present)
        return Levels(local, answers, heard[:, -1], present)

    def fused(
        self, levels: Levels, available: Bool[Tensor, "*v b m"], steer: Steer | None = None
    ) -> tuple[Float[Tensor, "*v b d"], Float[Tensor, "*v b c"], Float[Tensor, "*v b c"]]:
        """(z, logits, gates) for what is available of the batch; several views of it at once in leading axes, then not steered."""
        views = available[None] if available.ndim == 2 else available
        count = len(views)
        local, flags = repeat(levels.local, "b m d -> (v b) m d", v=count), rearrange(views, "v b m -> (v b) m")
        if self.config.flat:
            seen = rearrange(local * flags[..., None], "n m d -> n (m d)")
            logits, gates = self.router(torch.cat([seen, flags.to(seen.dtype)], 1), steer)
            z = standardised(self.pool(seen, gates, chosen(gates) if self.router.sparse else None))
            z, gates = z * flags.any(1, keepdim=True), gates * flags.any(1, keepdim=True)
        else:
            logits, gates = self.top(local, flags, steer)
            said = torch.cat([levels.local, levels.sets], 1)  # contributors: single modalities first, as in `subsets`
            z = torch.einsum("vbc,bcd->vbd", rearrange(gates, "(v b) c -> v b c", v=count), said).flatten(0, 1)
        found = [rearrange(x, "(v b) d -> v b d", v=count) for x in (z, logits, gates)]
        z, logits, gates = (x[0] for x in found) if available.ndim == 2 else found
        return z, logits, gates

    # -- losses, in training only -----------------------------------------------------------------------------------

    def losses(self, batch: Batch, levels: Levels, routing: dict[str, Routing], z: Tensor, prediction: Tensor) -> dict[str, Tensor]:
        c, found = self.config, {}
        if c.balance_weight:
            found["balance"] = torch.stack([load_balance(r.gates, r.mask) for r in routing.values()]).mean()
        if (c.distillation_weight or c.partial_weight) and len(self.parts):
            found |= self.partial_losses(batch, levels, z.detach(), prediction.detach())
        return found

    def partial_losses(self, batch: Batch, levels: Levels, z: Tensor, prediction: Tensor) -> dict[str, Tensor]:
        """Every part c of what is there: |y_c - y|^2 + 1 - cos(z_c, z) to the detached whole, and the task's own loss."""
        available = levels.present & self.parts.to(z.device)[:, None]  # v b m
        partial = rearrange(available.any(-1) & (available != levels.present).any(-1), "v b -> (v b)")
        views = rearrange(self.fused(levels, available)[0], "v b d -> (v b) d")
        guess, whole = self.head.one(self.spec.target, views), prediction.repeat(len(self.parts), *(1 for _ in prediction.shape[1:]))
        error = (guess - whole).square()
        error = error if error.ndim == 1 else error.mean(-1)
        angle = 1 - F.cosine_similarity(views, z.repeat(len(self.parts), 1), dim=-1)
        each, labelled = example_losses(guess, batch.y.repeat(len(self.parts)), self.spec.task)
        return {"distillation": mean_where(error + angle, partial), "partial": mean_where(each, partial & labelled)}


def known(chosen: tuple[str, ...] | str, exist: Sequence[str], what: str) -> tuple[str, ...]:
    """The chosen ones in the data's order; ValueError for a stranger and for none."""
    if chosen == "all":
        return tuple(exist)
    if strange := set(chosen) - set(exist):
        raise ValueError(f"model.{what} names {', '.join(sorted(strange))}; these exist: {', '.join(exist)}")
    if not chosen:
        raise ValueError(f"model.{what} names none; these exist: {', '.join(exist)}")
    return tuple(m for m in exist if m in chosen)


def pairs_of(chosen: tuple[str, ...] | str, active: Sequence[str], exist: Sequence[str]) -> list[tuple[int, int]]:
    """(from, to) for every chosen pair of active modalities, without those of an inactive modality; ValueError for a stranger."""
    names = [f"{a}{ARROW}{b}" for a, b in permutations(exist, 2)]
    wanted = names if chosen == "all" else list(chosen)
    if strange := set(wanted) - set(names):
        raise ValueError(f"model.pairs names {', '.join(sorted(strange))}; these exist: {', '.join(names)}")
    number = {m: i for i, m in enumerate(active)}
    sides = [name.split(ARROW) for name in names if name in wanted]
    return [(number[a], number[b]) for a, b in sides if a in number and b in number]


MODEL = Haemsa
