"""Which experts read a token, and with what weight?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from msaviz.types import Steer

KINDS = ("dense", "soft", "top_k", "noisy_top_k")
SPARSE = ("top_k", "noisy_top_k")
"""Those that choose k experts."""
UNAVAILABLE = -1e4
"""The logit of what cannot be called: its gate is exactly 0 in single precision, and a row where nothing can be called stays finite."""


class Router(nn.Module):
    """Gates over experts that sum to 1; the same input gives the same gates in eval mode.

    * `dense`: every expert gets 1/experts whatever the input (the control: a mixture without a router; no parameters).
    * `soft`: softmax(logits / temperature) over all experts.
    * `top_k`: that softmax, its k largest kept and renormalised. For k = 1 the gate's value is 1 and its gradient that of
      the kept probability (straight-through), because a renormalised single gate would have none.
    * `noisy_top_k`: the same, chosen and weighted after adding `normal * softplus(noise(x))` to the logits, in training
      only (Shazeer et al. 2017, eq. 3-5).
    """

    def __init__(self, dim: int, experts: int, *, kind: str = "soft", k: int = 2, temperature: float = 1.0):
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"no router is called {kind!r}; these exist: {', '.join(KINDS)}")
        if not 1 <= k <= experts and kind in SPARSE:
            raise ValueError(f"top-k needs k between 1 and the number of experts ({experts}), not {k}")
        self.kind, self.experts, self.temperature = kind, experts, temperature
        self.k = k if kind in SPARSE else experts
        self.score = nn.Linear(dim, experts) if kind != "dense" else None
        self.noise = nn.Linear(dim, experts, bias=False) if kind == "noisy_top_k" else None
        if self.noise is not None:
            nn.init.zeros_(self.noise.weight)

    @property
    def sparse(self) -> bool:
        """Whether some gates are exactly 0."""
        return self.k < self.experts

    def forward(self, x: Float[Tensor, "*n d"], steer: Steer | None = None) -> tuple[Float[Tensor, "*n e"], Float[Tensor, "*n e"]]:
        """(logits without noise, gates); `steer` has a row for each of x (see `picked`)."""
        logits, noisy, _ = self.scores(x)
        return logits, self.gates(noisy, steer)

    def scores(self, x: Float[Tensor, "*n d"]) -> tuple[Float[Tensor, "*n e"], Float[Tensor, "*n e"], Float[Tensor, "*n e"]]:
        """(clean logits, logits as used, standard deviation of the noise between them: 0 without noise), for `load`."""
        if self.score is None:
            zero = x.new_zeros(*x.shape[:-1], self.experts)
            return zero, zero, zero
        logits = self.score(x)
        if self.noise is None:
            return logits, logits, torch.zeros_like(logits)
        deviation = F.softplus(self.noise(x))
        noisy = logits + torch.randn_like(logits) * deviation if self.training else logits
        return logits, noisy, deviation

    def gates(self, logits: Float[Tensor, "*n e"], steer: Steer | None = None) -> Float[Tensor, "*n e"]:
        """The gates that these logits give, or that `steer` asks for."""
        if steer is not None and steer.allowed is not None:
            logits = logits.masked_fill(~steer.allowed, UNAVAILABLE)
        own = self._decided(logits)
        if steer is not None and steer.allowed is not None:
            own = own * steer.allowed  # where none that is allowed can be called, nobody is
        return own if steer is None or steer.gates is None else torch.where(steer.gates.isnan(), own, steer.gates.to(own.dtype))

    def _decided(self, logits: Float[Tensor, "*n e"]) -> Float[Tensor, "*n e"]:
        probability = (logits / self.temperature).softmax(-1)
        if not self.sparse:
            return probability
        kept, index = probability.topk(self.k, -1)
        # for k = 1: exactly 1, with the probability's gradient
        gate = 1 + (kept - kept.detach()) if self.k == 1 else kept / kept.sum(-1, keepdim=True)
        return torch.zeros_like(probability).scatter(-1, index, gate)


def picked(steer: Steer | None, mask: Bool[Tensor, "b t"]) -> Steer | None:
    """The steering of the valid steps, one row a step in the order of `tokens[mask]`."""
    return steer and steer.map(lambda x: x.expand(*mask.shape, -1)[mask])


def side_by_side(steers: Sequence[Steer | None], sizes: Sequence[int], experts: int, like: Tensor) -> Steer | None:
    """One steering for the rows of several, one after the other; who is not steered may call all and decides."""
    if not any(steers):
        return None
    free = [
        Steer(
            like.new_ones(n, experts, dtype=torch.bool) if steer is None or steer.allowed is None else steer.allowed,
            like.new_full((n, experts), torch.nan) if steer is None or steer.gates is None else steer.gates,
        )
        for steer, n in zip(steers, sizes, strict=True)
    ]
    return Steer(torch.cat([s.allowed for s in free]), torch.cat([s.gates for s in free]))  # type: ignore[arg-type]


def chosen(gates: Float[Tensor, "*n e"]) -> Bool[Tensor, "*n e"]:
    """Which experts a token is sent to."""
    return gates > 0


def estimated_load(
    logits: Float[Tensor, "n e"], noisy: Float[Tensor, "n e"], deviation: Float[Tensor, "n e"], k: int
) -> Float[Tensor, " e"]:
    """Differentiable number of tokens each expert would get if its own noise were drawn again; sums to tokens x k.

    `P_i = Phi((logits_i - threshold_i) / deviation_i)` with threshold_i the k-th largest noisy logit among the others
    (Shazeer et al. 2017, eq. 8-10), all of them raw logits; a token's probabilities are scaled to sum to k, which they
    do only on average over draws. Arguments are what `Router.scores` returns.
    """
    experts = logits.shape[-1]
    if k >= experts:
        return torch.ones_like(logits).sum(0)
    top = noisy.topk(k + 1, -1).values
    inside = noisy >= top[..., k - 1 : k]
    threshold = torch.where(inside, top[..., k : k + 1], top[..., k - 1 : k])
    normal = torch.distributions.Normal(0.0, 1.0, validate_args=False)
    probability = normal.cdf((logits - threshold) / deviation.clamp(min=1e-6))
    return (probability * (k / probability.sum(-1, keepdim=True).clamp(min=1e-6))).sum(0)
