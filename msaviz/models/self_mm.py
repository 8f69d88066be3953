"""Self-MM: what would each modality alone have been labelled, and does learning that help all of them together?

After Self-MM (Yu et al., AAAI 2021, arXiv 2102.04830), whose code says what the paper leaves open.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
import torch.distributed as dist
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from msaviz.nn.dropout import Dropout
from msaviz.nn.heads import Heads, example_losses, labelled
from msaviz.nn.parallel import gathered, sharing
from msaviz.nn.penalties import mean_where
from msaviz.nn.recurrent import utterance_encoders
from msaviz.options import Options, searchable
from msaviz.types import Batch, Output, Spec, Task

SMALLEST = 1e-8


class Memory(nn.Module):
    """What is known of every row of the train split; a row's number is its place. Letters: n rows, m modalities, k = 1 + m features.

    The first of the k features is the fused one. `moved` is how far each modality's own label lies from the row's label. All of it is kept
    in checkpoints and weights, and takes the size of what is loaded.
    """

    label: Float[Tensor, " n"]
    moved: Float[Tensor, "n m"]
    features: Float[Tensor, "n k d"]
    seen: Bool[Tensor, "n k"]
    epoch: Int[Tensor, ""]

    def __init__(self, modalities: int, dim: int):
        super().__init__()
        self.register_buffer("label", torch.zeros(0))
        self.register_buffer("moved", torch.zeros(0, modalities))
        self.register_buffer("features", torch.zeros(0, 1 + modalities, dim))
        self.register_buffer("seen", torch.zeros(0, 1 + modalities, dtype=torch.bool))
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))

    def open(self, example: Int[Tensor, " n"], label: Float[Tensor, " n"]) -> None:
        """Make room for these rows and forget all others."""
        rows = int(example.max()) + 1 if len(example) else 0
        for name in ("moved", "features", "seen"):
            old = getattr(self, name)
            setattr(self, name, torch.zeros(rows, *old.shape[1:], dtype=old.dtype, device=label.device))
        self.label = torch.full((rows,), torch.nan, device=label.device).index_copy(0, example, label.float())
        self.epoch.zero_()

    def distance_to(self, example: Int[Tensor, " b"]) -> Float[Tensor, "b m"]:
        """`moved` of these rows; 0 for those that there is no room for."""
        if not len(self.moved):
            return self.moved.new_zeros(len(example), self.moved.shape[1])
        return self.moved[example.clamp(max=len(self.moved) - 1)] * rearrange(example < len(self.moved), "b -> b 1")

    def centres(self, middle: float, neutral: bool) -> tuple[Float[Tensor, "two k d"], Bool[Tensor, " k"]]:
        """(mean feature of the positive rows, then of the negative ones; whether there are both). Each feature by its own labels.

        A row of the `middle` label is positive if `neutral`, else neither.
        """
        fused = rearrange(self.label, "n -> n 1")
        y = torch.cat([fused, fused + self.moved], 1) - middle
        counts = self.seen & ~y.isnan()
        sides = torch.stack([counts & ((y >= 0) if neutral else (y > 0)), counts & (y < 0)]).float()
        number = sides.sum(1)
        sums = torch.einsum("snk,nkd->skd", sides, self.features)
        return sums / rearrange(number, "s k -> s k 1").clamp(min=1), (number > 0).all(0)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        for name, mine in list(self.named_buffers(recurse=False)):
            there = state_dict.get(prefix + name)
            if there is not None and there.shape != mine.shape:
                setattr(self, name, torch.empty(there.shape, dtype=mine.dtype, device=mine.device))
        super()._load_from_state_dict(state_dict, prefix, *rest)  # type: ignore[arg-type]


class SelfMm(nn.Module):
    """Utterance vectors -> fused feature -> head, and beside it a feature and a head for each modality.

    A modality's head learns a label of its own, made from how near its feature stands to the centres of positive and negative rows
    (`own_labels`), with weight tanh(|own label - label|). With classes there are no such centres: it learns the true one.
    """

    class Config(Options):
        dim: int = searchable(64, choices=(32, 64, 128, 256), ge=8)
        encoder: Literal["paper", "lstm", "transformer", "pooled"] = searchable("paper", choices=("paper", "lstm", "transformer", "pooled"))
        """"paper": the mean over time for the first modality (text vectors of BERT), an LSTM for each other one."""
        layers: int = searchable(1, low=1, high=4, when={"encoder": ("paper", "lstm", "transformer")}, ge=1)
        heads: int = searchable(4, choices=(1, 2, 4, 8), when={"encoder": ("transformer",)}, ge=1)
        frames: int = searchable(64, low=16, high=128, when={"encoder": ("paper", "lstm", "transformer")}, ge=1)
        dropout: float = searchable(0.1, low=0.0, high=0.5, ge=0, lt=1)
        unimodal_weight: float = searchable(1.0, low=0.0, high=2.0, ge=0)
        """Of every modality's own loss; 0 = ablation "the fused label only"."""
        neutral: bool = False
        """Count rows with the middle label as positive; False: as neither."""

    def __init__(self, spec: Spec, config: Config):
        super().__init__()
        self.spec, self.config, c = spec, config, config
        self.modalities = spec.modalities
        widths = {m: spec.widths[m] for m in spec.modalities}
        options = {"layers": c.layers, "heads": c.heads, "frames": c.frames, "dropout": c.dropout}
        self.encoders = utterance_encoders(c.encoder, widths, c.dim, ("pooled", "lstm"), **options)
        self.join = _feature(len(widths) * c.dim, c.dim, c.dropout)
        self.own = nn.ModuleDict({m: _feature(c.dim, c.dim, c.dropout) for m in widths})
        task = {spec.target: spec.task}
        self.head = Heads(c.dim, task, c.dropout)
        self.own_head = nn.ModuleDict({m: Heads(c.dim, task, c.dropout) for m in widths})
        self.memory = Memory(len(widths), c.dim)

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Called by the trainer once, with the train split: every row starts with its label as each modality's own."""
        if self.spec.task.kind == "regression":
            example, label = zip(*((b.example, b.y) for b in batches), strict=True)
            self.memory.open(torch.cat(example), torch.cat(label))

    def begin(self, progress: float) -> None:
        """Called by the trainer before every epoch."""
        self.memory.epoch += 1

    @torch.no_grad()
    def remember(self, batch: Batch, output: Output) -> None:
        """Called by the trainer after every training batch: make its rows' own labels (from epoch 2 on), then keep their features."""
        memory = self.memory
        if not len(memory.label):
            return
        features = torch.stack([output.fused, *(output.private[m] for m in self.modalities)], 1)
        present = torch.stack([batch.present(m) for m in self.modalities], 1)
        there = torch.cat([present.any(1, keepdim=True), present], 1)
        with sharing(dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
            features, example, there = gathered(features.float(), batch.example, there)
        if memory.epoch > 1:
            self._relabel(example, features, there)
        memory.features[example] = torch.where(there[..., None], features, memory.features[example])
        memory.seen[example] |= there

    def _relabel(self, example: Int[Tensor, " b"], features: Float[Tensor, "b k d"], there: Bool[Tensor, "b k"]) -> None:
        """moved <- (i - 1) / (i + 1) moved + 2 / (i + 1) new in epoch i, where label, feature and both centres are there."""
        memory, task = self.memory, self.spec.task
        centres, known = memory.centres(task.middle, self.config.neutral)
        label, old, i = memory.label[example], memory.moved[example], memory.epoch
        new = own_labels(label, nearness(features, centres), task) - label[:, None]
        able = (there & known)[:, 1:] & (there & known)[:, :1] & ~label.isnan()[:, None]
        memory.moved[example] = torch.where(able, (i - 1) / (i + 1) * old + 2 / (i + 1) * new, old)

    def forward(self, batch: Batch) -> Output:
        h = {m: encoder(batch.x[m], batch.mask[m]) for m, encoder in self.encoders.items()}
        z = self.join(torch.cat(list(h.values()), 1))
        own = {m: self.own[m](vector) * batch.present(m)[:, None] for m, vector in h.items()}
        losses = self.losses(batch, own) if self.training else {}
        weights = dict.fromkeys(losses, self.config.unimodal_weight)
        return Output(predictions=self.head(z), fused=z, private=own, losses=losses, weights=weights)

    def losses(self, batch: Batch, own: Mapping[str, Float[Tensor, "b d"]]) -> dict[str, Tensor]:
        """Mean of w_m |y^_m - y_m| over the rows that have the modality and a label; cross entropy with the true class."""
        target, task = self.spec.target, self.spec.task
        known, moved = labelled(batch.y, task), self.memory.distance_to(batch.example)
        found = {}
        for i, (m, feature) in enumerate(own.items()):
            shift = moved[:, i] if task.kind == "regression" else torch.zeros_like(batch.y)
            each, _ = example_losses(self.own_head[m](feature)[target], batch.y + shift, task)
            weight = shift.abs().tanh() if task.kind == "regression" else 1.0
            found[f"unimodal/{m}"] = mean_where(each * weight, known & batch.present(m))
        return found


def nearness(features: Float[Tensor, "b k d"], centres: Float[Tensor, "two k d"]) -> Float[Tensor, "b k"]:
    """alpha = (D_n - D_p) / (D_p + eps): how much nearer each feature is to the positive centre; D = ||f - c|| / sqrt(d)."""
    way = rearrange(features, "b k d -> 1 b k d") - rearrange(centres, "s k d -> s 1 k d")
    positive, negative = (torch.linalg.vector_norm(way, dim=-1) / features.shape[-1] ** 0.5).unbind(0)
    return (negative - positive) / (positive + SMALLEST)


def own_labels(label: Float[Tensor, " b"], alpha: Float[Tensor, "b k"], task: Task) -> Float[Tensor, "b m"]:
    """y_m = y alpha_m / 2 alpha_f + (y + alpha_m - alpha_f) / 2, clipped to the task's scale, whose middle counts as 0."""
    y, fused, own = label[:, None] - task.middle, alpha[:, :1], alpha[:, 1:]
    divisor = torch.where(fused.abs() < SMALLEST, torch.copysign(torch.full_like(fused, SMALLEST), fused), fused)
    return (y * own / divisor / 2 + (y + own - fused) / 2 + task.middle).clamp(task.low, task.high)


def _feature(width: int, dim: int, dropout: float) -> nn.Sequential:
    """What the centres are means of, and a head reads."""
    return nn.Sequential(nn.LayerNorm(width), Dropout(dropout), nn.Linear(width, dim), nn.ReLU())


MODEL = SelfMm
