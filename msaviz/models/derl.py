"""DERL: do private and shared experts, told how complete each modality is, survive missing input?

After DERL (arXiv 2602.01833; only its abstract is readable): orthogonal private and shared expert spaces, multi-level
reconstruction, importance-aware fusion. The formulas are ours, each from a published relative (MISA, LNLN, EMT-DLFR).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from msaviz.nn.encoders import Encoded, SequenceEncoder, masked_mean, window_mean
from msaviz.nn.fusion import ImportanceFusion
from msaviz.nn.heads import Heads, example_losses
from msaviz.nn.moe import Mixture, Pool
from msaviz.nn.penalties import cmd, hsic, load_balance, mean_where, orthogonality_cosine, orthogonality_misa
from msaviz.nn.routers import SPARSE
from msaviz.options import Options, searchable
from msaviz.types import Batch, Output, Routing, Spec

ORTHOGONALITY = {"misa": orthogonality_misa, "cosine": orthogonality_cosine, "hsic": hsic}


@dataclass(frozen=True)
class Spaces:
    """What the hybrid experts make of one modality: token vectors Float[b n d], their means Float[b d], the routing."""

    encoded: Encoded
    completeness: Float[Tensor, " b"]
    private: Float[Tensor, "b n d"]
    shared: Float[Tensor, "b n d"]
    private_mean: Float[Tensor, "b d"]
    shared_mean: Float[Tensor, "b d"]
    routing: Mapping[str, Routing]


class Derl(nn.Module):
    """Encoders -> completeness -> private and shared expert pools -> importance-aware fusion -> head."""

    class Config(Options):
        dim: int = searchable(64, choices=(32, 64, 128, 256), ge=8)
        layers: int = searchable(1, low=0, high=4, ge=0)
        heads: int = searchable(4, choices=(1, 2, 4, 8), ge=1)
        summary: int = searchable(4, low=0, high=8, ge=0)
        """Learned summary tokens prepended to each sequence (LNLN)."""
        frames: int = searchable(64, low=16, high=128, ge=1)
        """Longer sequences are averaged in at most so many windows."""
        experts: int = searchable(4, low=1, high=8, ge=1)
        """Experts in each pool; 1 = ablation "one expert instead of a pool"."""
        hidden: int = searchable(128, choices=(64, 128, 256, 512), ge=8)
        router: Literal["soft", "top_k", "noisy_top_k", "dense"] = searchable("soft", choices=("soft", "top_k", "noisy_top_k"))
        k: int = searchable(2, low=1, high=4, when={"router": SPARSE}, ge=1)
        dropout: float = searchable(0.1, low=0.0, high=0.5, ge=0, lt=1)
        split: bool = True
        """False = ablation "no private/shared split": one pool per modality, no orthogonality, no similarity."""
        uniform_fusion: bool = False
        temperature: float = searchable(1.0, low=0.3, high=3.0, gt=0)
        orthogonality: Literal["misa", "cosine", "hsic"] = "misa"
        feature_reconstruction: bool = True
        token_reconstruction: bool = True
        representation_reconstruction: bool = True
        cross_reconstruction: bool = True
        reconstruction_weight: float = searchable(0.7, low=0.0, high=2.0, ge=0)
        orthogonality_weight: float = searchable(0.3, low=0.0, high=2.0, ge=0)
        similarity_weight: float = searchable(0.2, low=0.0, high=2.0, ge=0)
        completeness_weight: float = searchable(0.5, low=0.0, high=2.0, ge=0)
        balance_weight: float = searchable(0.01, low=0.0, high=0.1, ge=0)
        auxiliary_weight: float = searchable(0.0, low=0.0, high=1.0, ge=0)
        """Weight of one extra head per fused expert (0 = none)."""

    reads_complete = True
    """Reconstruction needs the complete twin of a corrupted batch (in training, detached)."""

    def __init__(self, spec: Spec, config: Config):
        super().__init__()
        self.spec, self.config, c = spec, config, config
        self.modalities = spec.modalities
        self.encoders = nn.ModuleDict(
            {
                m: SequenceEncoder(
                    spec.widths[m], c.dim, layers=c.layers, heads=c.heads, summary=c.summary, frames=c.frames, dropout=c.dropout
                )
                for m in self.modalities
            }
        )
        self.completeness = nn.ModuleDict(
            {m: nn.Sequential(nn.Linear(c.dim, c.dim), nn.GELU(), nn.Linear(c.dim, 1)) for m in self.modalities}
        )

        mixture = {"kind": c.router, "k": c.k, "context": 1, "dropout": c.dropout}
        self.private = nn.ModuleDict({m: Mixture(c.dim, c.experts, c.hidden, **mixture) for m in self.modalities})
        self.shared = Pool(c.dim, c.experts, c.hidden, **mixture) if c.split else None
        names = [f"private/{m}" for m in self.modalities] + ([f"shared/{m}" for m in self.modalities] if c.split else [])
        self.contributors = tuple(names)
        self.fusion = ImportanceFusion(
            c.dim, len(names), heads=c.heads, temperature=c.temperature, dropout=c.dropout, uniform=c.uniform_fusion
        )
        self.head = Heads(c.dim, {spec.target: spec.task}, c.dropout)
        self.auxiliary = nn.ModuleList(Heads(c.dim, {spec.target: spec.task}, c.dropout) for _ in names) if c.auxiliary_weight else None
        both = 2 * c.dim if c.split else c.dim
        self.to_feature = nn.ModuleDict({m: nn.Linear(both, spec.widths[m]) for m in self.modalities})
        self.to_token = nn.ModuleDict(
            {m: nn.Sequential(nn.Linear(c.dim, c.dim), nn.GELU(), nn.Linear(c.dim, c.dim)) for m in self.modalities}
        )

    def forward(self, batch: Batch) -> Output:
        spaces = self.disentangle(batch)
        present = torch.stack([batch.present(m) for m in self.modalities], 1)
        features = [spaces[m].private_mean for m in self.modalities]
        if self.shared is not None:
            features += [spaces[m].shared_mean for m in self.modalities]
        repeats = len(features) // len(self.modalities)
        completeness = torch.stack([spaces[m].completeness for m in self.modalities], 1)
        stacked = torch.stack(features, 1)
        z, importance = self.fusion(stacked, present.repeat(1, repeats), completeness.repeat(1, repeats))
        predictions = self.head(z)
        losses = self.losses(batch, spaces, present) if self.training else {}
        if self.auxiliary is not None and self.training:
            losses["auxiliary"] = self.auxiliary_loss(batch, stacked, present.repeat(1, repeats))
        return Output(
            predictions=predictions,
            fused=z,
            routing={name: routing for s in spaces.values() for name, routing in s.routing.items()},
            private={m: s.private_mean for m, s in spaces.items()},
            shared={m: s.shared_mean for m, s in spaces.items()} if self.shared is not None else {},
            importance=importance,
            contributors=self.contributors,
            completeness={m: s.completeness for m, s in spaces.items()},
            losses=losses,
            weights={name: getattr(self.config, f"{name.split('/')[0]}_weight") for name in losses},
        )

    def disentangle(self, batch: Batch) -> dict[str, Spaces]:
        """h = encoder(x); q = completeness(h); p = private pool(h, q); s = shared pool(h, q); token by token."""
        encoded = {m: self.encoders[m](batch.x[m], batch.mask[m]) for m in self.modalities}
        score = {m: torch.sigmoid(self.completeness[m](e.pooled)) * rearrange(e.present, "b -> b 1") for m, e in encoded.items()}
        steered = {m: {pool: batch.steered.get(f"{pool}/{m}") for pool in ("private", "shared")} for m in encoded}
        private = {
            m: self.private[m](e.tokens, e.mask, score[m], modality=m, time=e.time, steer=steered[m]["private"]) for m, e in encoded.items()
        }
        shared = self.shared(encoded, score, {m: steers["shared"] for m, steers in steered.items()}) if self.shared is not None else {}
        spaces = {}
        for m, e in encoded.items():
            p, routing = private[m][0], {f"private/{m}": private[m][1]}
            s = torch.zeros_like(p)
            if m in shared:
                s, routing[f"shared/{m}"] = shared[m]
            q = rearrange(score[m], "b 1 -> b")
            spaces[m] = Spaces(e, q, p, s, masked_mean(p, e.mask), masked_mean(s, e.mask), routing)
        return spaces

    # -- losses, in training only -----------------------------------------------------------------------------------

    def losses(self, batch: Batch, spaces: Mapping[str, Spaces], present: Bool[Tensor, "b m"]) -> dict[str, Tensor]:
        found = {"balance": torch.stack([load_balance(r.gates, r.mask) for s in spaces.values() for r in s.routing.values()]).mean()}
        if batch.dropped:
            every = torch.ones_like(batch.example, dtype=torch.bool)
            errors = [(s.completeness - batch.kept(m)).square() for m, s in spaces.items()]
            found["completeness"] = torch.stack([mean_where(error, every) for error in errors]).mean()
        if self.shared is not None:
            found["orthogonality"] = self.orthogonality(spaces, present)
            if len(self.modalities) > 1:
                pairs = combinations(range(len(self.modalities)), 2)
                means = [torch.sigmoid(s.shared_mean) for s in spaces.values()]  # CMD is for values in [0, 1]
                found["similarity"] = torch.stack([cmd(means[i], means[j], present=present[:, i] & present[:, j]) for i, j in pairs]).mean()
        if batch.complete is not None:
            found |= self.reconstruction(batch, batch.complete, spaces)
        return found

    def orthogonality(self, spaces: Mapping[str, Spaces], present: Bool[Tensor, "b m"]) -> Tensor:
        """L_ort = sum over m of overlap(p_m, s_m) + sum over m < n of overlap(p_m, p_n) (MISA)."""
        overlap = ORTHOGONALITY[self.config.orthogonality]
        s = list(spaces.values())
        within = [overlap(a.private_mean, a.shared_mean, present=present[:, i]) for i, a in enumerate(s)]
        pairs = combinations(range(len(s)), 2)
        between = [overlap(s[i].private_mean, s[j].private_mean, present=present[:, i] & present[:, j]) for i, j in pairs]
        return torch.stack([*within, *between]).sum()

    def reconstruction(self, batch: Batch, complete: Batch, spaces: Mapping[str, Spaces]) -> dict[str, Tensor]:
        """The levels of L_rec, averaged over modalities; every target is detached."""
        c = self.config
        with torch.no_grad():
            target = self.disentangle(complete)
        found: dict[str, list[Tensor]] = {}
        for m in self.modalities:
            here, there, seen = spaces[m], target[m], batch.present(m)
            if c.token_reconstruction:
                error = (self.to_token[m](here.private + here.shared) - there.encoded.tokens).square().mean(-1)
                found.setdefault("token", []).append(mean_where(error, here.encoded.mask & there.encoded.mask))
            if c.feature_reconstruction:
                found.setdefault("feature", []).append(self.feature_error(batch, m, here, there))
            if c.representation_reconstruction:
                angles = [1 - F.cosine_similarity(here.private_mean, there.private_mean, dim=-1)]
                if self.shared is not None:
                    angles.append(1 - F.cosine_similarity(here.shared_mean, there.shared_mean, dim=-1))
                found.setdefault("representation", []).append(mean_where(torch.stack(angles).mean(0), seen))
            if c.cross_reconstruction and self.shared is not None and len(self.modalities) > 1:
                found.setdefault("cross", []).append(self.cross_error(batch, complete, m, spaces, there))
        return {f"reconstruction/{level}": torch.stack(errors).mean() for level, errors in found.items()}

    def feature_error(self, batch: Batch, m: str, here: Spaces, there: Spaces) -> Tensor:
        """SmoothL1 from [p; s] back to the (window-averaged) input, only where steps were dropped (EMT-DLFR)."""
        parts = [here.private, here.shared] if self.shared is not None else [here.private]
        guess = self.to_feature[m](torch.cat(parts, -1)[:, here.encoded.summary :])
        lost, _ = window_mean(rearrange(batch.dropped[m].float(), "b t -> b t 1"), batch.mask[m], here.encoded.stride, self.config.frames)
        where = rearrange(lost > 0, "b n 1 -> b n") & here.encoded.frame_mask
        return mean_where(F.smooth_l1_loss(guess, there.encoded.frames, reduction="none").mean(-1), where)

    def cross_error(self, batch: Batch, complete: Batch, m: str, spaces: Mapping[str, Spaces], there: Spaces) -> Tensor:
        """D_m(p_m + mean over the other present n of s_n) -> the mean complete token of m; works for an absent m too."""
        others = [n for n in self.modalities if n != m]
        weight = torch.stack([batch.present(n) for n in others], 1).to(there.private.dtype)
        stacked = torch.stack([spaces[n].shared_mean for n in others], 1)
        mean = (stacked * rearrange(weight, "b n -> b n 1")).sum(1) / weight.sum(1, keepdim=True).clamp(min=1)
        guess = self.to_token[m](spaces[m].private_mean + mean)
        error = (guess - masked_mean(there.encoded.tokens, there.encoded.mask)).square().mean(-1)
        return mean_where(error, complete.present(m) & (weight.sum(1) > 0))

    def auxiliary_loss(self, batch: Batch, features: Float[Tensor, "b k d"], present: Bool[Tensor, "b k"]) -> Tensor:
        """Mean task error of one head per expert, over the rows where it has input and the label exists."""
        assert self.auxiliary is not None
        errors = []
        for i, head in enumerate(self.auxiliary):
            error, known = example_losses(head(features[:, i])[self.spec.target], batch.y, self.spec.task)
            errors.append(mean_where(error, known & present[:, i]))
        return torch.stack(errors).mean()


MODEL = Derl
