"""MIDG: do experts that may only read what is alike in all domains serve an unseen domain better?

After MIDG (arXiv 2512.07430; only its abstract is readable): a mixture of invariant experts over a cross-modal adapter. The formulas are
ours, each from a published relative: KuDA's adapter, S2LIF's masks, the invariance penalties of DomainBed, COMEN's pseudo-domains.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from msaviz.interpret.domain_transfer import FEWEST, agreement, learn
from msaviz.nn.adapter import Adapters
from msaviz.nn.encoders import SequenceEncoder, masked_mean
from msaviz.nn.heads import Heads, example_losses, labelled
from msaviz.nn.invariance import coral, disagreement, gate_divergence, irm_of_prediction, mmd, variance_of_risks
from msaviz.nn.invariant import InvariantExperts
from msaviz.nn.penalties import info_nce, load_balance
from msaviz.nn.routers import SPARSE
from msaviz.options import Options, searchable
from msaviz.types import Batch, Output, Routing, Spec, Task

ROUTER = "mixture"


@dataclass(frozen=True)
class Views:
    """What the losses look at: u_m pooled, the experts' own answers and the gates."""

    adapted: Mapping[str, Float[Tensor, "b d"]]
    answers: Float[Tensor, "b e d"]
    routing: Routing


class Midg(nn.Module):
    """Encoders -> cross-modal adapters -> mixture of invariant experts -> head."""

    class Config(Options):
        dim: int = searchable(64, choices=(32, 64, 128, 256), ge=8)
        layers: int = searchable(1, low=0, high=4, ge=0)
        """Transformer layers of each encoder."""
        heads: int = searchable(4, choices=(1, 2, 4, 8), ge=1)
        frames: int = searchable(64, low=16, high=128, ge=1)
        dropout: float = searchable(0.1, low=0.0, high=0.5, ge=0, lt=1)
        screen: bool = True
        """Treat as missing a modality whose rule, learnt in one source domain, says nothing in the other sources (False = ablation)."""
        adapter: Literal["cross", "own", "none"] = searchable("cross", choices=("cross", "own", "none"))
        """"own": ablation, no other modality is read; "none": ablation, no adapter."""
        adapter_layers: int = searchable(1, low=1, high=3, when={"adapter": ("cross", "own")}, ge=1)
        bottleneck: int = searchable(16, choices=(8, 16, 32, 64), when={"adapter": ("cross", "own")}, ge=2)
        stage_one: float = searchable(0.0, low=0.0, high=0.5, ge=0, lt=1)
        """Share of the epochs in which only encoders and adapters learn, each modality with a head of its own; then the adapters freeze."""
        experts: int = searchable(4, low=1, high=8, ge=1)
        """1 = ablation "one MLP for the mixture"."""
        hidden: int = searchable(64, choices=(32, 64, 128, 256), ge=8)
        router: Literal["soft", "top_k", "noisy_top_k", "dense"] = searchable("noisy_top_k", choices=("soft", "top_k", "noisy_top_k"))
        k: int = searchable(2, low=1, high=4, when={"router": SPARSE}, ge=1)
        masks: bool = True
        """False = ablation: every expert reads the whole joint vector."""
        threshold: float = searchable(0.5, low=0.3, high=0.7, gt=0, lt=1)
        invariance: Literal["coral", "mmd", "vrex", "irm", "correlation", "none"] = searchable(
            "coral", choices=("coral", "mmd", "vrex", "irm", "correlation", "none")
        )
        """What is asked between the source domains of every expert's answer and of their mixture; "none" = ablation."""
        invariance_weight: float = searchable(1.0, low=1e-1, high=1e3, log=True, ge=0)
        invariance_start: float = searchable(0.2, low=0.0, high=0.5, ge=0, lt=1)
        """Share of the training before the invariance counts."""
        price_weight: float = searchable(1.0, low=1e-2, high=1e2, log=True, ge=0)
        """What reading a coordinate costs for each unit by which the domains disagree about what it says of the label; 0 = ablation."""
        gate_weight: float = searchable(0.1, low=0.0, high=1.0, ge=0)
        sparsity_weight: float = searchable(1e-2, low=0.0, high=1e-1, ge=0)
        diversity_weight: float = searchable(1e-2, low=0.0, high=1e-1, ge=0)
        balance_weight: float = searchable(1e-2, low=0.0, high=1e-1, ge=0)
        contrast_weight: float = searchable(0.0, low=0.0, high=0.5, ge=0)
        """InfoNCE between the fused vector and every modality's; 0 = off."""

    compares_domains = True
    """With one source domain the trainer makes pseudo-domains."""

    def __init__(self, spec: Spec, config: Config):
        super().__init__()
        self.spec, self.config, c = spec, config, config
        self.modalities = spec.modalities
        self.encoders = nn.ModuleDict(
            {
                m: SequenceEncoder(spec.widths[m], c.dim, layers=c.layers, heads=c.heads, summary=0, frames=c.frames, dropout=c.dropout)
                for m in self.modalities
            }
        )
        wide = {"layers": c.adapter_layers, "width": c.bottleneck, "heads": 2, "dropout": c.dropout, "kind": c.adapter}
        self.adapters = Adapters(self.modalities, c.dim, **wide) if c.adapter != "none" else None
        self.mixture = InvariantExperts(
            c.dim * len(self.modalities),
            c.dim,
            c.experts,
            c.hidden,
            kind=c.router,
            k=c.k,
            masked=c.masks,
            threshold=c.threshold,
            dropout=c.dropout,
        )
        task = {spec.target: spec.task}
        self.head = Heads(c.dim, task, c.dropout)
        self.own_heads = nn.ModuleDict({m: Heads(c.dim, task, c.dropout) for m in self.modalities}) if c.stage_one else None
        self.stage = 2
        self.readable: Tensor
        self.register_buffer("readable", torch.ones(len(self.modalities), dtype=torch.bool))
        self.typical: Tensor
        self.register_buffer("typical", torch.zeros(spec.task.width))

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Called by the trainer once, with the train split: what is typical, and which modalities carry over between the sources?"""
        rows: dict[str, list[Tensor]] = {}
        for b in batches:  # one number a feature is kept of each utterance, never its steps
            found = {"y": b.y, "domain": b.domain}
            found |= {f"mean/{m}": masked_mean(b.x[m], b.mask[m]) for m in self.modalities}
            found |= {f"there/{m}": b.present(m) for m in self.modalities}
            for name, value in found.items():
                rows.setdefault(name, []).append(value)
        whole = {name: torch.cat(values) for name, values in rows.items()}
        label, domain = whole["y"], whole["domain"]
        self.typical.copy_(typical_prediction(label, domain, self.spec.task))
        if self.config.screen:
            value = transfer({m: (whole[f"mean/{m}"], whole[f"there/{m}"]) for m in self.modalities}, label, domain, self.spec.task)
            worst = {m for m, r in value.items() if r <= 0 and r < max(value.values())}
            self.readable.copy_(torch.tensor([m not in worst for m in self.modalities]))

    def begin(self, progress: float) -> None:
        """Called by the trainer before every epoch: which of the two stages is it, and what learns in it?"""
        self.stage = 1 if progress < self.config.stage_one else 2
        if not self.config.stage_one:
            return
        for stage, modules in {1: [self.mixture, self.head], 2: [self.adapters, self.own_heads]}.items():
            for module in modules:
                if isinstance(module, nn.Module):
                    module.requires_grad_(stage != self.stage)

    def forward(self, batch: Batch) -> Output:
        seen = {m: batch.mask[m] & readable for m, readable in zip(self.modalities, self.readable, strict=True)}
        batch = replace(batch, mask={**batch.mask, **seen})
        encoded = {m: encoder(batch.x[m], batch.mask[m]) for m, encoder in self.encoders.items()}
        tokens = self.adapters(encoded) if self.adapters is not None else {m: e.tokens for m, e in encoded.items()}
        adapted = {m: masked_mean(tokens[m], e.mask) for m, e in encoded.items()}
        u = torch.cat(list(adapted.values()), 1)
        z, answers, routing = self.mixture(u.detach() if self.training and self.stage == 1 else u, batch.steered.get(ROUTER))
        views = Views(adapted, answers, routing)
        losses = self.losses(batch, views, z) if self.training else {}
        return Output(
            predictions=self.predict(batch, z),
            fused=z,
            routing={ROUTER: routing},
            private={m: e.pooled for m, e in encoded.items()},
            shared=adapted,
            losses=losses,
            weights={name: 1.0 if name == "stage_one" else getattr(self.config, f"{name}_weight") for name in losses},
            starts=dict.fromkeys(self.late, max(self.config.invariance_start, self.config.stage_one)),
            masks=self.read_masks(),
        )

    @property
    def late(self) -> list[str]:
        """The losses that count only after the start: what domains are asked to agree on needs something learnt first."""
        c = self.config
        wanted = {"invariance": c.invariance != "none", "price": c.masks and c.price_weight > 0}
        return [name for name, on in wanted.items() if on]

    def predict(self, batch: Batch, z: Tensor) -> dict[str, Tensor]:
        """What the head says; what is typical of the sources where nothing can be read, so that no domain alone decides it."""
        guess = self.head(z)[self.spec.target]
        seen = torch.stack([batch.present(m) for m in self.modalities]).any(0)
        typical = self.typical if self.spec.task.kind == "classes" else self.typical[0]
        return {self.spec.target: torch.where(seen[:, None] if guess.ndim > 1 else seen, guess, typical.to(guess.dtype))}

    def read_masks(self) -> dict[str, Tensor]:
        """Modality -> Bool[e d], the coordinates of u_m that each expert reads; {} without masks."""
        if self.mixture.masks is None:
            return {}
        parts = rearrange(self.mixture.masks().detach() > 0.5, "e (m d) -> m e d", m=len(self.modalities))
        return dict(zip(self.modalities, parts, strict=True))

    def losses(self, batch: Batch, views: Views, z: Tensor) -> dict[str, Tensor]:
        """Everything that is asked beside the task; in stage one only what each modality predicts by itself."""
        c, domains = self.config, int(batch.domain.max()) + 1
        if self.stage == 1:
            return {"stage_one": self.own_risk(batch, views)}
        logits, gates = views.routing.logits[:, 0], views.routing.gates[:, 0]
        found = {"balance": load_balance(gates, logits=logits), "gate": gate_divergence(logits.softmax(-1), batch.domain, domains)}
        if c.invariance != "none":
            # the mixture is asked too: gates can carry what no single answer does
            found["invariance"] = self.invariance(batch, torch.cat([views.answers, z[:, None]], 1), domains)
        masks = self.mixture.masks
        if masks is not None:
            found |= {"sparsity": masks.sparsity(), "diversity": masks.overlap()}
            if c.price_weight:
                found["price"] = self.price(batch, views, domains)
        if c.contrast_weight:
            pairs = [info_nce(z, views.adapted[m], batch.present(m)) for m in self.modalities]
            found["contrast"] = torch.stack(pairs).mean()
        return found

    def price(self, batch: Batch, views: Views, domains: int) -> Float[Tensor, ""]:
        """What an expert's reading costs: the disagreement about each coordinate, summed over those that it reads; mean over experts.

        Only rows that have a modality say something about it, else a modality that one domain lacks would look like a disagreement.
        """
        assert self.mixture.masks is not None
        parts = [self.disagreement(batch, v, domains, batch.present(m)) for m, v in views.adapted.items()]
        return (self.mixture.masks.soft * torch.cat(parts)).sum(1).mean()

    def own_risk(self, batch: Batch, views: Views) -> Float[Tensor, ""]:
        """Mean task loss of each modality's own head over the rows that have the modality and a label."""
        assert self.own_heads is not None
        risks = []
        for m, head in self.own_heads.items():
            each, known = example_losses(head(views.adapted[m])[self.spec.target], batch.y, self.spec.task)
            counted = known & batch.present(m)
            risks.append((each * counted).sum() / counted.sum().clamp(min=1))
        return torch.stack(risks).mean()

    def invariance(self, batch: Batch, answers: Float[Tensor, "b e d"], domains: int) -> Float[Tensor, ""]:
        """How much each answer (coral, mmd), or the risk of predicting from it alone (vrex, irm), differs between the batch's domains."""
        if self.config.invariance == "correlation":
            return self.disagreement(batch, answers, domains, labelled(batch.y, self.spec.task)).mean()
        if self.config.invariance in ("coral", "mmd"):
            return {"coral": coral, "mmd": mmd}[self.config.invariance](answers, batch.domain, domains)
        rows, experts = answers.shape[:2]
        guess = self.head(rearrange(answers, "b e d -> (b e) d"))[self.spec.target]
        label = repeat(batch.y, "b -> (b e)", e=experts)
        # one "domain" for each (answer, domain): each is to be equally right everywhere by itself
        expert = repeat(torch.arange(experts, device=label.device), "e -> (b e)", b=rows)
        place = repeat(batch.domain, "b -> (b e)", e=experts) + domains * expert
        if self.config.invariance == "irm":
            return irm_of_prediction(guess, label, self.spec.task, place, experts * domains)
        each, known = example_losses(guess, label, self.spec.task)
        sums, counts = (each.new_zeros(experts * domains).index_add(0, place, v.to(each.dtype)) for v in (each, known))
        risks = rearrange(sums / counts.clamp(min=1), "(e d) -> e d", e=experts)
        return variance_of_risks(risks, (rearrange(counts, "(e d) -> e d", e=experts) > 0)[0])

    def disagreement(self, batch: Batch, x: Float[Tensor, "b *e d"], domains: int, rows: Bool[Tensor, " b"]) -> Float[Tensor, "*e d"]:
        """How much the domains disagree, on these rows, about what each feature says of the label."""
        task = self.spec.task
        y = F.one_hot(batch.y.clamp(min=0), task.width).float() if task.kind == "classes" else batch.y[:, None]
        return disagreement(x, y, batch.domain, domains, labelled(batch.y, task) & rows)


def typical_prediction(label: Tensor, domain: Int[Tensor, " n"], task: Task) -> Float[Tensor, " c"]:
    """The mean over domains of their median label, or the log of the mean over domains of their class shares."""
    known = labelled(label, task)
    parts = [label[known & (domain == d)] for d in domain.unique()]
    parts = [part for part in parts if len(part)] or [label.new_zeros(1)]
    if task.kind == "classes":
        return torch.stack([F.one_hot(part, task.width).float().mean(0) for part in parts]).mean(0).clamp(min=1e-3).log()
    return torch.stack([part.median() for part in parts]).mean(0, keepdim=True)


def transfer(
    inputs: Mapping[str, tuple[Float[Tensor, "n w"], Bool[Tensor, " n"]]], label: Tensor, domain: Int[Tensor, " n"], task: Task
) -> dict[str, float]:
    """Modality -> how well the rule of one domain predicts another's labels: mean correlation over ordered pairs of domains.

    A ridge regression learnt on one domain alone (`interpret.domain_transfer`). `inputs`: each modality's mean over the steps, and which
    rows have it. 1 for a modality that fewer than two domains have: nothing speaks against it.
    """
    known, found = labelled(label, task), {}
    y = F.one_hot(label.clamp(min=0), task.width) if task.kind == "classes" else label[:, None]
    for m, (x, there) in inputs.items():
        rows = [there & known & (domain == d) for d in domain.unique()]
        sides = [(x[r].double().cpu().numpy(), y[r].double().cpu().numpy()) for r in rows if r.sum() >= FEWEST]
        pairs = [agreement(learn(*home)(other[0]), other[1]) for home, other in permutations(sides, 2)]
        found[m] = sum(pairs) / len(pairs) if pairs else 1.0
    return found


MODEL = Midg
