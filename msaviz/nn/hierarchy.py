"""How do experts over sets of modalities read what the local experts of each modality say?

k layers of one shape lie side by side everywhere (one an ordered pair, or one a set of modalities), each with weights of its own, all in
one batched call. Letters beyond the usual: m modality, k layer, s tokens of a modality.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from msaviz.nn.dropout import Dropout
from msaviz.nn.encoders import Encoded, masked_mean
from msaviz.nn.moe import Experts
from msaviz.nn.routers import UNAVAILABLE, Router, chosen, picked
from msaviz.types import Routing, Steer


def standardised(x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
    """A layer norm without weights (those of the next linear map do)."""
    return F.layer_norm(x, x.shape[-1:])


class Linears(nn.Module):
    """`count` linear maps side by side: Float[k n in] -> Float[k n out]."""

    def __init__(self, count: int, inner: int, outer: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, inner, outer).uniform_(-1, 1) / math.sqrt(inner))
        self.bias = nn.Parameter(torch.zeros(count, 1, outer))

    def forward(self, x: Float[Tensor, "k n i"]) -> Float[Tensor, "k n o"]:
        return torch.baddbmm(self.bias, x, self.weight)


class CrossAttention(nn.Module):
    """`count` attention layers side by side: queries of layer i read keys of layer i. Zero where a query's keys are all masked."""

    def __init__(self, count: int, dim: int, heads: int = 4):
        super().__init__()
        if dim % heads:
            raise ValueError(f"a width of {dim} cannot be split over {heads} heads")
        self.heads = heads
        self.query, self.read, self.out = Linears(count, dim, dim), Linears(count, dim, 2 * dim), Linears(count, dim, dim)

    def forward(
        self, queries: Float[Tensor, "k b q d"], keys: Float[Tensor, "k b n d"], mask: Bool[Tensor, "k b n"]
    ) -> Float[Tensor, "k b q d"]:
        count, rows = queries.shape[:2]
        q = rearrange(self.query(rearrange(queries, "k b q d -> k (b q) d")), "k (b q) (h d) -> (k b) h q d", b=rows, h=self.heads)
        read = rearrange(
            self.read(rearrange(keys, "k b n d -> k (b n) d")), "k (b n) (two h d) -> two (k b) h n d", two=2, b=rows, h=self.heads
        )
        some = mask.any(-1)
        open_mask = rearrange(mask | ~some[..., None], "k b n -> (k b) 1 1 n")  # softmax over nothing is NaN; such rows are zeroed below
        attended = F.scaled_dot_product_attention(q, read[0], read[1], attn_mask=open_mask)
        wrote = self.out(rearrange(attended, "(k b) h q d -> k (b q) (h d)", k=count))
        return rearrange(wrote, "k (b q) d -> k b q d", b=rows) * rearrange(some, "k b -> k b 1 1")


class LocalExperts(nn.Module):
    """l = sum_k g_k e_k(token) for the few tokens that stand for one modality; one gate an utterance, g = softmax(W pool(h)).

    The tokens are the encoder's summary tokens and the mean of its frame tokens: s = summary + 1.
    """

    def __init__(self, dim: int, experts: int, hidden: int, *, kind: str = "soft", k: int = 2, dropout: float = 0.0):
        super().__init__()
        self.router = Router(dim, experts, kind=kind, k=min(k, experts))
        self.experts = Experts(experts, dim, hidden, dropout=dropout)

    def forward(self, encoded: Encoded, modality: str, steer: Steer | None = None) -> tuple[Float[Tensor, "b s d"], Routing]:
        """(tokens, zero where the modality is absent; what the router decided)."""
        mean = masked_mean(encoded.frame_tokens, encoded.frame_mask)
        tokens = torch.cat([encoded.tokens[:, : encoded.summary], rearrange(mean, "b d -> b 1 d")], 1)
        there = encoded.present
        logits, gates = self.router(encoded.pooled, picked(steer, torch.ones_like(there[:, None])))
        count = tokens.shape[1]
        spread = repeat(gates, "b e -> (b s) e", s=count)
        wrote = self.experts(rearrange(tokens, "b s d -> (b s) d"), spread, chosen(spread) if self.router.sparse else None)
        wrote = rearrange(wrote, "(b s) d -> b s d", s=count)
        local = standardised(tokens + wrote) * rearrange(there, "b -> b 1 1")
        route = {"logits": logits * there[:, None], "gates": gates * there[:, None]}
        route = {name: rearrange(x, "b e -> b 1 e") for name, x in route.items()}
        return local, Routing(**route, mask=there[:, None], modality=modality, wrote=wrote)


class SetExperts(nn.Module):
    """An expert for each set of modalities: the members first tell each other what they know, then one query reads them all.

    Within the set, `u_n = LN(l_n + sum_m sigmoid(gate_mn) CA_mn(l_n, l_m))` over the ordered `pairs` of its members; then `layers` times
    `e = e + CA(e, u); e = e + MLP(e)`. Only members of the set are read, so that an expert says the same whatever else is there.
    """

    members: Bool[Tensor, "k m"]
    inside: Bool[Tensor, "k p"]

    def __init__(
        self,
        modalities: int,
        sets: Sequence[tuple[int, ...]],
        pairs: Sequence[tuple[int, int]],
        dim: int,
        hidden: int,
        *,
        heads: int = 4,
        layers: int = 1,
        dropout: float = 0.0,
    ):
        super().__init__()
        members = torch.tensor([[m in one for m in range(modalities)] for one in sets])
        inside = torch.tensor([[a in one and b in one for a, b in pairs] for one in sets], dtype=torch.bool).view(len(sets), len(pairs))
        self.register_buffer("members", members, persistent=False)
        self.register_buffer("inside", inside, persistent=False)
        self.pairs = [list(side) for side in zip(*pairs, strict=True)] if pairs else [[], []]
        self.role = nn.Parameter(0.02 * torch.randn(modalities, dim))
        self.transfer = CrossAttention(len(pairs), dim, heads) if pairs else None
        self.gate = Linears(len(pairs), 2 * dim, 1) if pairs else None
        self.start = nn.Parameter(0.02 * torch.randn(len(sets), dim))
        self.attention = nn.ModuleList(CrossAttention(len(sets), dim, heads) for _ in range(layers))
        self.up = nn.ModuleList(Linears(len(sets), dim, hidden) for _ in range(layers))
        self.down = nn.ModuleList(Linears(len(sets), hidden, dim) for _ in range(layers))
        self.dropout = Dropout(dropout)

    def forward(
        self, local: Float[Tensor, "b m s d"], present: Bool[Tensor, "b m"]
    ) -> tuple[Float[Tensor, "b k d"], Float[Tensor, "b k m d"]]:
        """(what each set's expert says: zero where it lacks a member; the mean of u_n in each set)."""
        rows, _, size, _ = local.shape
        told = self.exchanged(local, present)  # k b m s d
        able = present[None] & self.members[:, None]  # k b m
        keys = rearrange(standardised(told + self.role[:, None]), "k b m s d -> k b (m s) d")
        mask = repeat(able, "k b m -> k b (m s)", s=size)
        e = repeat(self.start, "k d -> k b 1 d", b=rows)
        for attention, up, down in zip(self.attention, self.up, self.down, strict=True):
            e = e + self.dropout(attention(standardised(e), keys, mask))
            hidden = F.gelu(up(rearrange(standardised(e), "k b 1 d -> k b d")))
            e = e + self.dropout(rearrange(down(hidden), "k b d -> k b 1 d"))
        complete = (able == self.members[:, None]).all(-1)
        answers = standardised(rearrange(e, "k b 1 d -> b k d")) * rearrange(complete, "k b -> b k 1")
        means = told.mean(3) * able[..., None]
        return answers, rearrange(means, "k b m d -> b k m d")

    def exchanged(self, local: Float[Tensor, "b m s d"], present: Bool[Tensor, "b m"]) -> Float[Tensor, "k b m s d"]:
        """u_n in each set."""
        if self.transfer is None or self.gate is None:
            return repeat(local, "b m s d -> k b m s d", k=len(self.members))
        source, target = self.pairs
        x = rearrange(standardised(local + self.role[:, None]), "b m s d -> m b s d")
        both = present.T[source] & present.T[target]  # p b
        heard = self.transfer(x[target], x[source], repeat(both, "p b -> p b s", s=local.shape[2]))
        asked = torch.cat([x[target].mean(2), x[source].mean(2)], -1)
        heard = self.dropout(heard * rearrange(torch.sigmoid(self.gate(asked)), "p b 1 -> p b 1 1"))
        to = F.one_hot(torch.tensor(target, device=local.device), local.shape[1]).to(local.dtype)  # p m
        gained = torch.einsum("kp,pm,pbsd->kbmsd", self.inside.to(local.dtype), to, heard)
        return standardised(local + gained) * rearrange(present, "b m -> b m 1 1")


class TopGate(nn.Module):
    """Whom to believe, single modalities and sets of them, given what is available: one softmax over all that can be called.

    `members[c]` are the modalities that contributor c needs; its gate is exactly 0 where one of them is absent.
    """

    members: Bool[Tensor, "c m"]

    def __init__(self, dim: int, members: Int[Tensor, "c m"], *, kind: str = "soft", k: int = 2):
        super().__init__()
        self.register_buffer("members", members.bool(), persistent=False)
        count, modalities = members.shape
        self.router = Router(modalities * (dim + 1), count, kind=kind, k=min(k, count))

    def forward(
        self, local: Float[Tensor, "n m d"], available: Bool[Tensor, "n m"], steer: Steer | None = None
    ) -> tuple[Float[Tensor, "n c"], Float[Tensor, "n c"]]:
        """(logits, gates) from the local means of what is available and a bit for each modality; gates are 0 where nothing is."""
        seen = torch.cat([rearrange(local * available[..., None], "n m d -> n (m d)"), available.to(local.dtype)], 1)
        able = (available[:, None] >= self.members).all(-1)
        logits, used, _ = self.router.scores(seen)
        return logits, self.router.gates(used.masked_fill(~able, UNAVAILABLE), steer) * able
