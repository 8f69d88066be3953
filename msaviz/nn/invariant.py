"""Which part of a representation may each expert read, so that what it says holds in every domain?"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from msaviz.nn.dropout import Dropout
from msaviz.nn.moe import Experts
from msaviz.nn.routers import Router, picked
from msaviz.types import Routing, Steer

SHARPNESS = 20.0
"""sigmoid(SHARPNESS * score): mask scores move as fast as other weights, and a mask must be able to change within an epoch or two."""
START = 0.05
"""Mean initial score: every expert begins by reading everything, sigmoid(1) = .73."""


class ReadMasks(nn.Module):
    """`m_e = STE(sigmoid(s_e) > threshold)`: a learned 0/1 mask over the input's coordinates for each expert.

    Forward it is hard; the gradient is that of the sigmoid (straight-through, Bengio et al. 2013). After S2LIF.
    """

    def __init__(self, experts: int, dim: int, *, threshold: float = 0.5):
        super().__init__()
        self.threshold = threshold
        self.score = nn.Parameter(START + 0.005 * torch.randn(experts, dim))

    @property
    def soft(self) -> Float[Tensor, "e d"]:
        """How much each coordinate is wanted, in (0, 1)."""
        return (SHARPNESS * self.score).sigmoid()

    def forward(self) -> Float[Tensor, "e d"]:
        """The masks, exactly 0 or 1."""
        soft = self.soft
        return (soft > self.threshold).to(soft.dtype) + (soft - soft.detach())

    def sparsity(self) -> Float[Tensor, ""]:
        """mean sigmoid(s): the share that is read, to be made small."""
        return self.soft.mean()

    def overlap(self) -> Float[Tensor, ""]:
        """Sum over pairs of experts of cos²(m_e, m_e'); 0 for one expert."""
        masks = self()
        if len(masks) < 2:
            return (masks * 0).sum()
        unit = masks / torch.linalg.vector_norm(masks, dim=1, keepdim=True).clamp(min=1e-6)
        pair = torch.triu_indices(len(masks), len(masks), 1, device=masks.device)
        return (unit @ unit.T)[pair[0], pair[1]].square().sum()


class InvariantExperts(nn.Module):
    """Experts that all see the joint vector, each through its own mask; a router mixes what they say.

    `f_e = MLP_e(m_e * u), g = top-k softmax(W_g (m * u) + noise), z = sum_e g_e f_e`, m the union of the masks: what no expert may read
    the router may not read either, else the gates themselves carry it on to z. With `masked` False everybody reads all of u.
    """

    def __init__(
        self,
        dim: int,
        out: int,
        experts: int,
        hidden: int,
        *,
        kind: str = "noisy_top_k",
        k: int = 2,
        masked: bool = True,
        threshold: float = 0.5,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.router = Router(dim, experts, kind=kind, k=min(k, experts))
        self.experts = Experts(experts, dim, hidden, out)
        self.masks = ReadMasks(experts, dim, threshold=threshold) if masked else None
        self.dropout = Dropout(dropout)

    def forward(
        self, u: Float[Tensor, "b d"], steer: Steer | None = None
    ) -> tuple[Float[Tensor, "b out"], Float[Tensor, "b e out"], Routing]:
        """(z, every expert's own f_e, what the router decided once for each utterance)."""
        masks = None if self.masks is None else self.masks()
        valid = torch.ones(len(u), 1, dtype=torch.bool, device=u.device)
        logits, gates = self.router(u if masks is None else u * (1 - (1 - masks).prod(0)), picked(steer, valid))
        answers = self.experts.outputs(u, masks)
        wrote = self.dropout(torch.einsum("be,beo->bo", gates, answers))[:, None]
        return wrote[:, 0], answers, Routing(logits[:, None], gates[:, None], valid, wrote=wrote)
