"""What is asked of representations and routers beside the task, as numbers to be made small?

Every function takes rows (utterances or tokens), an optional `present` that says which rows count, and returns a scalar;
with fewer than two such rows it returns a finite 0 that still belongs to the graph. Where several processes share a batch
(`msaviz.nn.parallel`) the rows are those of the whole batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from msaviz.nn.parallel import gathered, summed

Rows = Float[Tensor, "n d"]
Present = Bool[Tensor, " n"] | None


def _pick(present: Present, *values: Tensor) -> tuple[Tensor, ...]:
    """The rows that count, of every process."""
    return gathered(*_own(present, *values))


def _own(present: Bool[Tensor, "*n"] | None, *values: Tensor) -> tuple[Tensor, ...]:
    """The rows that count, of this process."""
    return values if present is None else tuple(value[present.flatten()] for value in values)


def _nothing(*values: Tensor) -> Float[Tensor, ""]:
    """0 that depends on `values`, so that backward works and gives zeros."""
    return torch.stack([(value * 0).sum() for value in values]).sum()


def full(x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """x in single precision at least: bfloat16 counts to 256, and small differences vanish in it. Double precision stays."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _unit(x: Tensor) -> Tensor:
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp(min=1e-6)


def orthogonality_misa(a: Rows, b: Rows, present: Present = None) -> Float[Tensor, ""]:
    """mean((A^T B)^2), A and B the rows of a and b with zero mean over the batch and unit length.

    MISA (Hazarika et al. 2020), DiffLoss; unlike its code the gradient also passes through the length.
    """
    a, b = _pick(present, a, b)
    if len(a) < 2:
        return _nothing(a, b)
    return (_unit(a - a.mean(0)).T @ _unit(b - b.mean(0))).square().mean()


def orthogonality_cosine(a: Rows, b: Rows, present: Present = None) -> Float[Tensor, ""]:
    """mean over rows of cos(a_i, b_i)^2: each utterance's two vectors stand at right angles."""
    a, b = _pick(present, a, b)
    if len(a) < 2:
        return _nothing(a, b)
    return (_unit(a) * _unit(b)).sum(-1).square().mean()


def hsic(a: Rows, b: Rows, present: Present = None, *, kernel: str = "rbf") -> Float[Tensor, ""]:
    """tr(K H L H) / (n - 1)^2: 0 where a and b are independent (rbf) or uncorrelated (linear).

    Gretton et al. 2005, the biased estimate. The rbf kernel is exp(-|x - y|^2 / 2 s^2) with s^2 half the mean squared
    distance between rows, detached; the linear one is x . y.
    """
    a, b = _pick(present, a, b)
    if len(a) < 2:
        return _nothing(a, b)
    one, two = (_gram(x, kernel) for x in (a, b))
    one = one - one.mean(0, keepdim=True) - one.mean(1, keepdim=True) + one.mean()
    return (one * two.T).sum() / (len(a) - 1) ** 2


def _gram(x: Tensor, kernel: str) -> Tensor:
    if kernel not in ("linear", "rbf"):
        raise ValueError(f"no kernel is called {kernel!r}; these exist: linear, rbf")
    product = x @ x.T
    if kernel == "linear":
        return product
    square = product.diagonal()
    distance = (square[:, None] + square[None] - 2 * product).clamp(min=0)
    return torch.exp(-distance / distance.detach().mean().clamp(min=1e-12))


def cmd(
    a: Rows, b: Float[Tensor, "m d"], present: Present = None, *, order: int = 5, present_b: Bool[Tensor, " m"] | None = None
) -> Float[Tensor, ""]:
    """||E a - E b|| + sum over k = 2..order of ||E(a - E a)^k - E(b - E b)^k||: central moment discrepancy.

    Zellinger et al. 2017, for values in an interval of length 1 (MISA squashes its shared features by a sigmoid first).
    The rows of a and b need no pairing: `present_b` may differ from `present` (None: the same).
    """
    (a,), (b,) = _pick(present, a), _pick(present if present_b is None else present_b, b)
    if len(a) < 2 or len(b) < 2:
        return _nothing(a, b)
    total = torch.linalg.vector_norm(a.mean(0) - b.mean(0))
    a, b = a - a.mean(0), b - b.mean(0)
    power_a, power_b = a, b
    for _ in range(2, order + 1):
        power_a, power_b = power_a * a, power_b * b
        total = total + torch.linalg.vector_norm(power_a.mean(0) - power_b.mean(0))
    return total


def load_balance(
    gates: Float[Tensor, "*n e"], present: Bool[Tensor, "*n"] | None = None, logits: Float[Tensor, "*n e"] | None = None
) -> Float[Tensor, ""]:
    """e * sum_e share_e * probability_e: 1 when the experts are used evenly, up to e when one does all the work.

    Switch Transformer (Fedus et al. 2021, eq. 4-6), for any number of chosen experts: share_e is expert e's part of all
    choices (gates above 0; no gradient), probability_e the mean of softmax(logits), or of the gates where none are given.
    For gates that choose everything the shares are the detached mean gates.
    """
    gates, logits = gates.flatten(0, -2), gates.flatten(0, -2) if logits is None else logits.flatten(0, -2).softmax(-1)
    gates, probability = _own(present, gates, logits)
    mean, choices, probability, rows = _sums(gates.detach(), gates > 0, probability)
    # gates that choose everything have as many choices as rows times experts
    share = torch.where(choices.sum() == rows * len(mean), mean, choices)
    balance = len(mean) * (share / share.sum().clamp(min=1e-12) * probability / rows.clamp(min=1)).sum()
    return torch.where(rows > 1, balance, 0 * balance)


def z_loss(logits: Float[Tensor, "*n e"], present: Bool[Tensor, "*n"] | None = None) -> Float[Tensor, ""]:
    """mean(logsumexp(logits)^2): keeps router logits small (ST-MoE, Zoph et al. 2022, eq. 5)."""
    (logits,) = _own(present, logits.flatten(0, -2))
    total, rows = _sums(logits.logsumexp(-1, keepdim=True).square())
    return torch.where(rows > 1, total.sum() / rows.clamp(min=1), 0 * total.sum())


def importance_variation(gates: Float[Tensor, "*n e"], present: Bool[Tensor, "*n"] | None = None) -> Float[Tensor, ""]:
    """Squared coefficient of variation of the experts' summed gates (Shazeer et al. 2017, eq. 6-7); 0 when even."""
    importance, rows = _sums(*_own(present, gates.flatten(0, -2)))
    variation = importance.var(correction=0) / importance.mean().square().clamp(min=1e-12)
    return torch.where(rows > 1, variation, 0 * variation)


def mean_where(each: Float[Tensor, "*n"], where: Bool[Tensor, "*n"]) -> Float[Tensor, ""]:
    """The mean of what is asked for: 0, with a gradient of 0, where nothing is."""
    total, _ = _sums(rearrange(torch.stack([torch.where(where, each, 0), where.to(each.dtype)], -1), "... two -> (...) two"))
    return total[0] / total[1].clamp(min=1)


def _sums(*values: Shaped[Tensor, "n _"]) -> tuple[Tensor, ...]:
    """Each value summed over the rows of all processes, and the number of these rows: one message, and no tokens in it."""
    kind = torch.promote_types(values[-1].dtype, torch.float32)
    sums = [value.sum(0, dtype=kind) for value in values]
    rows = torch.full((1,), len(values[0]), dtype=kind, device=values[0].device)
    *found, count = summed(torch.cat([*sums, rows])).split([*(len(part) for part in sums), 1])
    return *found, count[0]


def info_nce(a: Rows, b: Rows, present: Present = None, *, temperature: float = 0.1) -> Float[Tensor, ""]:
    """Cross entropy of finding row i of b by row i of a among all rows of b, by cosine: a lower bound on shared information.

    van den Oord et al. 2018, eq. 4; log(n) where nothing is shared.
    """
    a, b = _pick(present, a, b)
    if len(a) < 2:
        return _nothing(a, b)
    return F.cross_entropy(_unit(a) @ _unit(b).T / temperature, torch.arange(len(a), device=a.device))
