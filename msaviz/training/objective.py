"""What do all objectives share: how a batch's loss is made from examples and from domains?

An objective is a module, `objective(system, batch, progress) -> weighted terms by name`; their sum is minimised. It calls the system
itself, so that one may change the batch first (mixup). `progress` in [0, 1] is the share of the training that is done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from msaviz.nn.heads import example_losses, weighed
from msaviz.nn.parallel import gathered, is_shared
from msaviz.options import Options, searchable
from msaviz.types import Batch, Output, Spec, heads_of, label_of


class Objective(nn.Module):
    """The base: subclasses give `terms` (or `forward`), and say what they need of the trainer.

    `spec.domains` are the domains that batches name (the source domains, or pseudo-domains). A buffer that a subclass registers
    (GroupDRO's weights) is kept in checkpoints; a parameter (DANN's discriminator) is trained beside the system's.
    """

    class Config(Options):
        loss: Literal["l1", "smooth_l1", "mse"] = "l1"

    compares_domains = True
    """Whether one source domain alone leaves nothing to do (pseudo-domains are then made)."""

    def __init__(self, spec: Spec, config: Options):
        super().__init__()
        self.spec, self.config = spec, config

    def prepare(self, sample: Callable[[], Output]) -> None:
        """Called once, before the optimiser is made. `sample()` is an output of the untrained system: its widths are known there first."""

    @property
    def restart(self) -> float | None:
        """The share of the training at which the optimiser's memory is cleared; None: never."""
        return None

    def forward(self, system: Callable[[Batch], Output], batch: Batch, progress: float = 1.0) -> dict[str, Tensor]:
        output = system(batch)
        return {**self.terms(*whole_batch(output, batch), progress), **own_losses(output, progress)}

    def terms(self, output: Output, batch: Batch, progress: float) -> dict[str, Float[Tensor, ""]]:
        """The weighted terms for this output, beside the model's own losses; several processes all see the whole batch (`whole_batch`)."""
        raise NotImplementedError

    def examples(self, output: Output, batch: Batch) -> tuple[Float[Tensor, "b h"], Bool[Tensor, "b h"]]:
        """(loss, whether there is a label) of every utterance and head; the loss is 0 where there is none.

        A head with an uncertainty s = log sigma^2 counts `L exp(-s) / 2 + s / 2` (Kendall, Gal & Cipolla 2018).
        """
        loss: str = self.config.loss  # type: ignore[attr-defined]
        tasks, labels = heads_of(self.spec), batch.labels
        pairs = [example_losses(p, label_of(labels, t, self.spec), tasks[t], loss) for t, p in output.predictions.items()]
        each = [weighed(value, known, output.uncertainty.get(t)) for t, (value, known) in zip(output.predictions, pairs, strict=True)]
        return torch.stack(each, 1), torch.stack([known for _, known in pairs], 1)

    def risk(self, output: Output, batch: Batch) -> Float[Tensor, ""]:
        """Mean loss of the batch, summed over the heads."""
        each, known = self.examples(output, batch)
        return (each.sum(0) / known.sum(0).clamp(min=1)).sum()

    def risks(self, output: Output, batch: Batch) -> tuple[Float[Tensor, " domains"], Bool[Tensor, " domains"]]:
        """(mean loss of each domain, summed over the heads; whether the batch holds a labelled row of it)."""
        each, known = self.examples(output, batch)
        return domain_means(each, known, batch.domain, len(self.spec.domains))


class Annealed(Objective):
    """A penalty beside the task whose weight is min(1, `weight`) until the share `anneal` of the training is done, `weight` afterwards.

    The optimiser's memory, made for the old weight, is cleared there (DomainBed does both for IRM and V-REx). The sum is not divided by
    the weight: neither Adam nor a clipped gradient knows the scale of a loss.
    """

    class Config(Objective.Config):
        weight: float = searchable(10.0, low=0.1, high=1e4, log=True, ge=0)
        anneal: float = searchable(0.1, low=0.0, high=0.5, ge=0, le=1)
        """Share of the training with a weight of at most 1."""

    config: Config

    @property
    def restart(self) -> float | None:
        return self.config.anneal

    def weight(self, progress: float) -> float:
        """What the penalty is multiplied by at this share of the training."""
        return self.config.weight if progress >= self.config.anneal else min(1.0, self.config.weight)


def whole_batch(output: Output, batch: Batch) -> tuple[Output, Batch]:
    """What the objective reads of the whole batch, where several processes hold parts of it: all but sequences, routing and importance."""
    if not is_shared():
        return output, batch
    groups = (output.predictions, {"": output.fused}, output.private, output.shared, output.completeness, batch.labels)
    values = iter(gathered(batch.domain, batch.example, *(value for group in groups for value in group.values())))
    domain, example = next(values), next(values)
    predictions, fused, private, shared, completeness, labels = ({name: next(values) for name in group} for group in groups)
    output = replace(output, predictions=predictions, fused=fused[""], private=private, shared=shared, completeness=completeness)
    return replace(output, routing={}, importance=None), Batch({}, {}, labels, domain, example)


def domain_means(
    each: Float[Tensor, "b h"], known: Bool[Tensor, "b h"], domain: Int[Tensor, " b"], domains: int
) -> tuple[Float[Tensor, " domains"], Bool[Tensor, " domains"]]:
    """(mean over the known rows of each domain, summed over h; whether it has any)."""
    member = F.one_hot(domain, domains).to(each.dtype)
    # sums of products, as autocast would round a product of matrices, and V-REx lives on small differences
    total, count = (reduce(rearrange(member, "b k -> b k 1") * rearrange(x, "b h -> b 1 h"), "b k h -> k h", "sum") for x in (each, known))
    return (total / count.clamp(min=1)).sum(1), (count > 0).any(1)


def own_losses(output: Output, progress: float) -> dict[str, Float[Tensor, ""]]:
    """The model's own losses times their weights; one that has not started yet counts 0."""
    counts = {name: float(progress >= output.starts.get(name, 0.0)) for name in output.losses}
    return {name: output.weights.get(name, 1.0) * counts[name] * value for name, value in output.losses.items()}
