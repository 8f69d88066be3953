"""What differs between domains, as a number to be made small: representations, gates, risks, or the slope of a risk?

`domain` names the domain of each row, 0 ... `domains` - 1. All pairs of domains are compared in one batched computation, and the
numbering of the domains does not matter. A batch that holds fewer than two domains gives a 0 that still belongs to the graph.
Representations have an optional axis between rows and features (experts): the result is the mean over it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from einops import einsum, rearrange, reduce
from jaxtyping import Bool, Float, Int
from torch import Tensor

from msaviz.nn.heads import example_losses, labelled
from msaviz.nn.penalties import full
from msaviz.types import Task

BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Widths of the kernels of `mmd`, in mean squared distances (a ladder of powers of two, after Long et al. 2015)."""


def _full_precision(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Differences of means vanish in bfloat16: the first argument is taken to float32, and autocast is off."""

    @functools.wraps(function)
    def inner(x: Tensor, *rest: Any, **more: Any) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return function(full(x), *rest, **more)

    return inner


def _shares(domain: Int[Tensor, " b"], domains: int, rows: int, like: Tensor) -> tuple[Float[Tensor, "b k"], Bool[Tensor, " k"]]:
    """(each row's part in its domain's mean, whether the domain has that many rows at least)."""
    member = F.one_hot(domain, domains).to(like.dtype)
    count = member.sum(0)
    return member / count.clamp(min=1), count >= rows


def _spread(values: Float[Tensor, "k ..."], seen: Bool[Tensor, " k"]) -> Tensor:
    """Population variance over the domains seen, of each entry."""
    weight = seen.to(values.dtype) / seen.sum().clamp(min=1)
    mean = torch.tensordot(weight, values, 1)
    return torch.tensordot(weight, (values - mean).square(), 1)


def _over_pairs(seen: Bool[Tensor, " k"]) -> Float[Tensor, ""]:
    """What turns the variance of n values into the mean squared difference of their pairs: 2 n / (n - 1)."""
    count = seen.sum()
    return 2 * count / (count - 1).clamp(min=1)


@_full_precision
def coral(x: Float[Tensor, "b *e d"], domain: Int[Tensor, " b"], domains: int) -> Float[Tensor, ""]:
    """mean over pairs of domains of |mean_i - mean_j|^2 / d + |cov_i - cov_j|^2 / d^2, over domains of two rows or more.

    Sun & Saenko 2016 with the means added (DomainBed, Gulrajani & Lopez-Paz 2021). Covariances divide by n - 1.
    """
    x = rearrange(x, "b ... d -> b (...) d")
    share, seen = _shares(domain, domains, 2, x)
    mean = einsum(share, x, "b k, b e d -> k e d")
    centred = x - mean[domain]
    count = (share > 0).sum(0).to(x.dtype)
    unbiased = share * (count / (count - 1).clamp(min=1))
    covariance = einsum(unbiased, centred, centred, "b k, b e i, b e j -> k e i j")
    return _over_pairs(seen) * (_spread(mean, seen).mean() + _spread(covariance, seen).mean())


@_full_precision
def mmd(
    x: Float[Tensor, "b *e d"], domain: Int[Tensor, " b"], domains: int, bandwidths: tuple[float, ...] = BANDWIDTHS
) -> Float[Tensor, ""]:
    """mean over pairs of domains of E k(x, x') + E k(y, y') - 2 E k(x, y): squared maximum mean discrepancy.

    Gretton et al. 2012, the biased estimate (never below 0), over domains of two rows or more. k is the sum over `bandwidths` s of
    exp(-|x - y|^2 / (s v)), v the mean squared distance between the rows, detached: unlike DomainBed's fixed widths (.001 ... 1000)
    these know no unit, so that scaling x changes nothing.
    """
    x = rearrange(x, "b ... d -> (...) b d")
    share, seen = _shares(domain, domains, 2, x)
    distance = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").square()
    counted = seen[domain].to(x.dtype)
    typical = einsum(distance.detach(), counted, counted, "e i j, i, j -> e") / counted.sum().square().clamp(min=1)
    relative = distance / typical.clamp(min=1e-12)[:, None, None]
    kernel = torch.stack([torch.exp(-relative / width) for width in bandwidths]).sum(0)
    mean = einsum(share, kernel, share, "i k, e i j, j l -> e k l")
    within = mean.diagonal(dim1=1, dim2=2)
    apart = within[:, :, None] + within[:, None] - 2 * mean
    pairs = torch.triu(seen[:, None] & seen[None], diagonal=1).to(x.dtype)
    return (apart.mean(0) * pairs).sum() / pairs.sum().clamp(min=1)


@_full_precision
def disagreement(
    x: Float[Tensor, "b *e d"], y: Float[Tensor, "b k"], domain: Int[Tensor, " b"], domains: int, known: Bool[Tensor, " b"]
) -> Float[Tensor, "*e d"]:
    """How much the domains disagree about what each feature says of the label: variance over domains of their correlation inside one.

    What says the same about the label everywhere keeps its correlation whatever the domain's style (mean and scale) is; a cue whose
    strength or sign depends on the domain does not. The part that sampling alone gives, (1 - r²)² / (n - 1) for a correlation r of n rows,
    is taken off, so that agreement is 0 on average and a value may lie below it. Mean over the k targets. Ours: IRM's condition for one
    linear feature, at far less noise than a variance of risks. Rows that are not `known` (have no label) and domains with fewer than three
    known rows do not count.
    """
    shape, x = x.shape[1:], rearrange(x, "b ... d -> b (... d)")
    member = (F.one_hot(domain, domains) * known[:, None]).to(x.dtype)
    count = member.sum(0)
    seen, share = count >= 3, member / count.clamp(min=1)
    y = torch.where(known[:, None], y, 0).to(x.dtype)

    def centred(v: Tensor) -> tuple[Tensor, Tensor]:
        """(v minus its domain's mean, its deviation in each domain)."""
        v = v - (share.T @ v)[domain]
        return v, (share.T @ v.square() + 1e-8).sqrt()

    (x, spread), (y, spread_y) = centred(x), centred(y)
    correlation = einsum(share, x, y, "b k, b d, b c -> k d c") / (spread[:, :, None] * spread_y[:, None])
    sampling = (1 - correlation.square()).square() / (count - 1).clamp(min=1)[:, None, None]
    weight = seen.to(x.dtype) / seen.sum().clamp(min=1)
    by_chance = torch.tensordot(weight * (1 - weight), sampling, 1)
    return (_spread(correlation, seen) - by_chance).mean(-1).reshape(shape)


@_full_precision
def gate_divergence(gates: Float[Tensor, "b e"], domain: Int[Tensor, " b"], domains: int) -> Float[Tensor, ""]:
    """mean over the domains seen of KL(mean gate on d || mean of those means): 0 when the gates do not tell the domain.

    The Jensen-Shannon divergence of the domains' mean gates, in nats: at most log(domains). Every domain counts alike, however many rows.
    """
    share, seen = _shares(domain, domains, 1, gates)
    mean = share.T @ gates
    weight = seen.to(gates.dtype) / seen.sum().clamp(min=1)
    # the clamp bounds the slope at gates of exactly 0 (top-k), where p log p has an infinite one
    ratio = mean.clamp(min=1e-12).log() - (weight @ mean).clamp(min=1e-12).log()
    return weight @ reduce(mean * ratio, "k e -> k", "sum")


@_full_precision
def variance_of_risks(risks: Float[Tensor, "*e d"], seen: Bool[Tensor, " d"]) -> Float[Tensor, ""]:
    """Population variance of the risks over the domains d that are `seen`: V-REx (Krueger et al. 2021)."""
    return _spread(rearrange(risks, "... d -> d (...)"), seen).mean()


def irm_penalty(
    losses_at: Callable[[Float[Tensor, " b"]], Float[Tensor, " b"]],
    domain: Int[Tensor, " b"],
    domains: int,
    known: Bool[Tensor, " b"],
    *,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, ""]:
    """mean over domains of g1 g2, g the slope at 1 of the risk in a scale of the prediction, on each half of the domain's rows.

    IRMv1 (Arjovsky et al. 2019), as the product of the slopes of alternating rows: an unbiased estimate of the squared slope, which may be
    below 0 (their appendix; DomainBed). `losses_at(scale)` gives the loss of every row for prediction * scale (or logits * scale), one
    scale of this `dtype` a row. Rows that are not `known` (have no label) and domains with fewer than two known rows do not count. For
    training: under torch's inference mode there are no slopes.
    """
    member = F.one_hot(domain, domains) * known[:, None]
    half = (member.cumsum(0) * member).sum(1) % 2
    # a row's loss depends on its own scale alone: the slope of a half's mean is the mean of its rows' slopes
    with torch.enable_grad():
        scale = torch.ones(len(domain), device=domain.device, dtype=dtype, requires_grad=True)
        losses = losses_at(scale)
        (slope,) = torch.autograd.grad(losses.sum(), scale, create_graph=True)
    slope = torch.where(known, slope, 0)
    group = F.one_hot(2 * domain + half, 2 * domains) * known[:, None]
    count = group.sum(0)
    sums = reduce(group * rearrange(slope, "b -> b 1"), "b groups -> groups", "sum")  # no product of matrices: autocast would round it
    means = rearrange(sums / count.clamp(min=1), "(k half) -> k half", half=2)
    seen = rearrange(count > 0, "(k half) -> k half", half=2).all(1)
    penalty = (means.prod(1) * seen).sum() / seen.sum().clamp(min=1)
    return penalty if torch.is_grad_enabled() else penalty.detach()


def irm_of_prediction(
    prediction: Tensor, label: Tensor, task: Task, domain: Int[Tensor, " b"], domains: int, loss: str = "l1"
) -> Float[Tensor, ""]:
    """`irm_penalty` of one head: Float[b] numbers or Float[b c] logits times the scale."""

    def losses_at(scale: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        scaled = prediction * (rearrange(scale, "b -> b 1") if task.kind == "classes" else scale)
        return example_losses(scaled, label, task, loss)[0]

    dtype = torch.promote_types(prediction.dtype, torch.float32)
    return irm_penalty(losses_at, domain, domains, labelled(label, task), dtype=dtype)


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradients[0], None


def gradient_reversal(x: Float[Tensor, "*n"], strength: float) -> Float[Tensor, "*n"]:
    """x itself, whose gradient is multiplied by -strength on its way back (the reversal layer of Ganin et al. 2016)."""
    return _Reversed.apply(x, strength)  # type: ignore[return-value]
