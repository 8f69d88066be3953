"""Mixup between domains: what if the model learns from points on the way from one domain to another?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from msaviz.options import searchable
from msaviz.training.objective import Objective, own_losses
from msaviz.training.system import System
from msaviz.types import Batch, Output, Task


class Mixup(Objective):
    """`task` is the loss on share * row + (1 - share) * a row of another domain, with share ~ Beta(alpha, alpha).

    Wang et al. 2020; DomainBed. Inputs are mixed as vectors (token ids after the text encoder), real labels too, and for classes the
    losses. A row with no labelled row of another domain beside it stays as it is. `pairs="same_label"` takes the row of another domain
    whose label is nearest (LISA, Yao et al. 2022; C-Mixup, Yao et al. 2022): what goes with the domain, not the label, is mixed away.
    """

    class Config(Objective.Config):
        alpha: float = searchable(0.2, low=0.1, high=10.0, log=True, ge=0)
        """0: nothing is mixed."""
        pairs: Literal["any", "same_label"] = searchable("any", choices=("any", "same_label"))

    config: Config

    def forward(self, system: Callable[[Batch], Output], batch: Batch, progress: float = 1.0) -> dict[str, Tensor]:
        if not (self.training and self.config.alpha):
            output = system(batch)
            return {"task": self.risk(output, batch), **own_losses(output, progress)}
        partner = partners(batch, self.spec.task, nearest=self.config.pairs == "same_label")
        share = shares(partner, self.config.alpha)
        model, batch = vectors(system, batch)
        mixed = blend(batch, partner, share)
        output = model(mixed)
        targets = (batch.labels, {t: y[partner] for t, y in batch.labels.items()})
        (own, known), (other, known_too) = (
            self.examples(output, replace(mixed, labels={**labels, **real(mixed.labels)})) for labels in targets
        )
        known, share = known & known_too, rearrange(share, "b -> b 1")
        each = torch.where(known, share * own + (1 - share) * other, 0)
        return {"task": (each.sum(0) / known.sum(0).clamp(min=1)).sum(), **own_losses(output, progress)}


def real(labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The labels that are real numbers."""
    return {task: y for task, y in labels.items() if y.is_floating_point()}


def shares(partner: Int[Tensor, " b"], alpha: float) -> Float[Tensor, " b"]:
    """Beta(alpha, alpha) for each row; 1 for a row that is its own partner."""
    concentration = torch.tensor(alpha, device=partner.device)
    drawn = torch.distributions.Beta(concentration, concentration).sample(partner.shape)
    return drawn.masked_fill(partner == torch.arange(len(partner), device=partner.device), 1.0)


def vectors(system: Callable[[Batch], Output], batch: Batch) -> tuple[Callable[[Batch], Output], Batch]:
    """(what reads vectors, the batch as vectors): the two halves of a System; anything else is taken to read vectors already."""
    if not isinstance(system, System):
        return system, batch
    if not getattr(system.model, "reads_complete", False):
        batch = replace(batch, complete=None)
    return system.model, system.front(batch)


@torch.no_grad()
def partners(batch: Batch, task: Task, *, nearest: bool) -> Int[Tensor, " b"]:
    """For each row one labelled row of another domain, drawn at random or with the nearest label (drawn among equals); else itself."""
    y, rows = batch.y, len(batch)
    draw = torch.rand(rows, rows, device=y.device)
    if task.kind == "classes":
        known, apart = y >= 0, (y[:, None] != y[None]).to(draw.dtype)
    else:
        known = ~torch.isnan(y)
        apart = (torch.where(known, y, 0)[:, None] - torch.where(known, y, 0)[None]).abs().to(draw.dtype)
    distance = apart + 1e-6 * draw if nearest else draw
    possible = (batch.domain[:, None] != batch.domain[None]) & known[None] & known[:, None]
    choice = torch.where(possible, distance, torch.inf).argmin(1)
    return torch.where(possible.any(1), choice, torch.arange(rows, device=y.device))


def blend(batch: Batch, partner: Int[Tensor, " b"], share: Float[Tensor, " b"]) -> Batch:
    """share * each row + (1 - share) * its partner: vectors and real labels; class and domain are those of the greater share.

    A step that only one of the two has (not padded, not dropped) keeps that one's vector, so the masks are united; a share of 1
    leaves the row as it is. Raises ValueError for token ids.
    """
    if ids := [m for m, x in batch.x.items() if not x.is_floating_point()]:
        raise ValueError(f"mixup needs vectors, but {ids[0]!r} holds token ids: they are mixed behind the text encoder of a System")
    other, joined = batch.map(lambda tensor: tensor[partner]), rearrange(share < 1, "b -> b 1")
    x, mask, dropped = {}, {}, {}
    for m, own in batch.mask.items():
        both = [(b.mask[m], b.dropped.get(m, torch.zeros_like(own))) for b in (batch, other)]
        here, there = (seen & ~gone for seen, gone in both)
        there = there & joined
        mask[m] = own | (other.mask[m] & joined)
        if m in batch.dropped:
            dropped[m] = (both[0][1] | (both[1][1] & joined)) & ~(here | there)
        # where neither has the step the row's own stands (or its partner's, which may be an unknown token)
        here = here | (~there & (own | ~joined))
        weight = rearrange(torch.where(here & there, rearrange(share, "b -> b 1"), here.to(share.dtype)), "b t -> b t 1")
        first, second = (b.x[m].masked_fill(~rearrange(b.mask[m], "b t -> b t 1"), 0) for b in (batch, other))  # 0 times NaN is NaN
        x[m] = weight * first + (1 - weight) * second
    lead = torch.where(share < 0.5, partner, torch.arange(len(partner), device=partner.device))
    labels = {t: y[lead] for t, y in batch.labels.items()}
    labels |= {t: torch.where(share < 1, share * y + (1 - share) * other.labels[t], y) for t, y in real(batch.labels).items()}
    complete = None if batch.complete is None else blend(batch.complete, partner, share)
    return replace(batch, x=x, mask=mask, labels=labels, domain=batch.domain[lead], dropped=dropped, complete=complete)


OBJECTIVE = Mixup
