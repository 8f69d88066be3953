"""How are many small experts run at once, each only on the tokens that its gate chose?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from msaviz.nn.dropout import Dropout
from msaviz.nn.encoders import Encoded
from msaviz.nn.routers import Router, chosen, picked, side_by_side
from msaviz.types import JOINT, Routing, Steer

DISPATCHES = ("auto", "dense", "padded", "sorted")


class Experts(nn.Module):
    """`count` two-layer GELU MLPs of one shape; their gated sum. Dropless: every chosen (token, expert) pair is computed.

    Three dispatches give equal results, in training too: dropout falls on the gated sum. `dense` runs all experts on all
    tokens in two products. `padded` sorts tokens by expert and pads to the busiest. `sorted` runs one product an expert.
    `auto` picks by size and device.
    """

    def __init__(self, count: int, dim: int, hidden: int, out: int | None = None, dropout: float = 0.0):
        super().__init__()
        out = dim if out is None else out
        self.count, self.dropout = count, Dropout(dropout)
        self.up = nn.Parameter(torch.empty(count, hidden, dim).uniform_(-1, 1) / math.sqrt(dim))
        self.up_bias = nn.Parameter(torch.empty(count, hidden).uniform_(-1, 1) / math.sqrt(dim))
        self.down = nn.Parameter(torch.empty(count, hidden, out).uniform_(-1, 1) / math.sqrt(hidden))
        self.down_bias = nn.Parameter(torch.empty(count, out).uniform_(-1, 1) / math.sqrt(hidden))

    def forward(
        self, x: Float[Tensor, "n d"], gates: Float[Tensor, "n e"], active: Bool[Tensor, "n e"] | None = None, dispatch: str = "auto"
    ) -> Float[Tensor, "n out"]:
        """Sum over active experts of gates[:, e] * expert_e(x). `active` None means all."""
        if dispatch not in DISPATCHES:
            raise ValueError(f"no dispatch is called {dispatch!r}; these exist: {', '.join(DISPATCHES)}")
        return self.dropout(self._mix(x, gates, active, dispatch))

    def _mix(self, x: Tensor, gates: Tensor, active: Tensor | None, dispatch: str) -> Tensor:
        if active is None and dispatch in ("auto", "dense"):
            return self._dense(x, gates)
        active = torch.ones_like(gates, dtype=torch.bool) if active is None else active
        if dispatch == "dense" or (dispatch == "auto" and self._spare(active) <= DENSE_PRODUCTS):
            return self._dense(x, gates * active)
        plan = _Plan(active)
        if dispatch == "auto":
            dispatch = "padded" if plan.pairs <= PADDED_PAIRS and self._pads(plan, x.is_cuda) else "sorted"
        read = x.index_select(0, plan.rows)
        wrote = self._padded(read, plan) if dispatch == "padded" else self._sorted(read, plan)
        weight = gates.flatten().index_select(0, plan.rows * self.count + plan.experts)
        return plan.sum(wrote * weight[:, None])

    def outputs(self, x: Float[Tensor, "n d"], columns: Float[Tensor, "e d"] | None = None) -> Float[Tensor, "n e out"]:
        """Every expert's own answer, ungated; with `columns`, that on x times the expert's row of it (a mask over the input)."""
        return rearrange(self._answers(x, columns), "e n out -> n e out")

    def _answers(self, x: Tensor, columns: Tensor | None = None) -> Tensor:
        # a mask over the input is a mask over the first layer's columns: x is not copied for each expert
        up = self.up if columns is None else self.up * columns[:, None]
        # one product for the first layer of all experts; its output is read in place by the second, a strided batched one
        hidden = F.gelu(F.linear(x, up.flatten(0, 1), self.up_bias.flatten()))
        return torch.baddbmm(self.down_bias[:, None], rearrange(hidden, "n (e h) -> e n h", e=self.count), self.down)

    def _dense(self, x: Tensor, gates: Tensor) -> Tensor:
        return (self._answers(x) * rearrange(gates, "n e -> e n 1")).sum(0)

    def _spare(self, active: Tensor) -> int:
        """Multiplications by the first layer that the dense dispatch would do for nothing."""
        return (active.numel() - int(active.sum())) * self.up[0].numel()

    def _pads(self, plan: _Plan, on_gpu: bool) -> bool:
        """Whether padding to the busiest expert costs less than the calls that it saves."""
        spare = self.count * plan.busiest - plan.pairs
        return spare <= plan.pairs if on_gpu else spare * self.up[0].numel() <= PADDED_PRODUCTS

    def _padded(self, read: Tensor, plan: _Plan) -> Tensor:
        slots = self.count * plan.busiest
        padded = read.new_zeros(slots, read.shape[1]).index_copy(0, plan.slots, read)
        padded = rearrange(padded, "(e n) d -> e n d", e=self.count)
        hidden = F.gelu(torch.baddbmm(self.up_bias[:, None], padded, self.up.transpose(1, 2)))
        return torch.baddbmm(self.down_bias[:, None], hidden, self.down).flatten(0, 1).index_select(0, plan.slots)

    def _sorted(self, read: Tensor, plan: _Plan) -> Tensor:
        counts = plan.counts.tolist()
        if read.dtype == self.up.dtype and not torch.is_autocast_enabled(read.device.type):
            hidden = F.gelu(_EachLinear.apply(read, self.up.transpose(1, 2), self.up_bias, counts))
            return _EachLinear.apply(hidden, self.down, self.down_bias, counts)
        # unbind: indexing the stacked weights would make autograd build a full gradient for each expert
        weights = zip(self.up.unbind(), self.up_bias.unbind(), self.down.unbind(), self.down_bias.unbind(), strict=True)
        parts = zip(read.split(counts), weights, strict=True)
        return torch.cat([torch.addmm(d, F.gelu(F.linear(part, a, b)), c) for part, (a, b, c, d) in parts])


class _EachLinear(torch.autograd.Function):
    """x_e @ weight_e + bias_e for each expert's rows x_e of x; values and gradients are written where they belong, without a copy.

    autograd's own way gives each expert a tensor and copies them together: a third of the time of a layer of 100 tokens.
    """

    @staticmethod
    def forward(
        ctx, x: Float[Tensor, "n i"], weight: Float[Tensor, "e i o"], bias: Float[Tensor, "e o"], counts: Sequence[int]
    ) -> Float[Tensor, "n o"]:
        ctx.save_for_backward(x, weight)
        ctx.counts = counts
        out = x.new_empty(len(x), weight.shape[2])
        for part, place, w, b in zip(x.split(counts), out.split(counts), weight, bias, strict=True):
            torch.addmm(b, part, w, out=place)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, above: Float[Tensor, "n o"]) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        needed, parts = ctx.needs_input_grad, above.split(ctx.counts)
        to_x = torch.empty_like(x) if needed[0] else None
        to_weight = torch.empty_like(weight) if needed[1] else None  # strides as those of the weight
        if to_x is not None:
            for part, w, place in zip(parts, weight, to_x.split(ctx.counts), strict=True):
                torch.mm(part, w.T, out=place)
        if to_weight is not None:
            for read, part, place in zip(x.split(ctx.counts), parts, to_weight, strict=True):
                torch.mm(read.T, part, out=place)
        to_bias = torch.stack([part.sum(0) for part in parts]) if needed[2] else None
        return to_x, to_weight, to_bias, None


DENSE_PRODUCTS = 3_000_000
"""Wasted multiplications up to which `dense` wins: about 40 tokens of width 128 and hidden 128 over 8 experts, top-2."""

PADDED_PAIRS = 1024
"""(token, expert) pairs up to which one padded product is considered at all."""

PADDED_PRODUCTS = 2_000_000
"""Wasted multiplications up to which `padded` beats `sorted` on a CPU: about 96 tokens of width and hidden 128 over 8 experts, top-2."""


class _Plan:
    """Every chosen (token, expert) pair in the order of the experts: who reads what, and where it goes back."""

    def __init__(self, active: Bool[Tensor, "n e"]):
        self.experts, self.rows = active.T.nonzero(as_tuple=True)
        self.tokens, self.counts = len(active), active.sum(0)
        self.pairs = len(self.rows)

    @cached_property
    def busiest(self) -> int:
        """Tokens of the expert that has most."""
        return int(self.counts.max())

    @cached_property
    def slots(self) -> Int[Tensor, " pairs"]:
        """Where a pair lies when every expert has room for `busiest`."""
        start = self.counts.cumsum(0) - self.counts
        return self.experts * self.busiest + torch.arange(self.pairs, device=self.rows.device) - start[self.experts]

    def sum(self, wrote: Float[Tensor, "pairs out"]) -> Float[Tensor, "tokens out"]:
        """Add up what the experts wrote for each token."""
        each = torch.bincount(self.rows, minlength=self.tokens) if wrote.is_cuda else None
        if each is not None and self.pairs and bool((each == each[0]).all()):  # top-k: in a fixed order, as `index_add` on a CPU is
            order = self.rows.argsort(stable=True)
            return wrote.index_select(0, order).unflatten(0, (self.tokens, -1)).sum(1)
        return wrote.new_zeros(self.tokens, wrote.shape[1]).index_add(0, self.rows, wrote)


def with_context(tokens: Float[Tensor, "b t d"], context: Float[Tensor, "b c"] | None) -> Float[Tensor, "b t dc"]:
    """Tokens with the utterance's context appended to each: what a router reads."""
    if context is None:
        return tokens
    return torch.cat([tokens, repeat(context.to(tokens.dtype), "b c -> b t c", t=tokens.shape[1])], -1)


class Mixture(nn.Module):
    """A router and its experts, token by token; only valid tokens are routed, and an invalid one gives zeros."""

    def __init__(
        self,
        dim: int,
        experts: int,
        hidden: int,
        *,
        kind: str = "soft",
        k: int = 2,
        temperature: float = 1.0,
        context: int = 0,
        dropout: float = 0.0,
        dispatch: str = "auto",
    ):
        super().__init__()
        self.router = Router(dim + context, experts, kind=kind, k=min(k, experts), temperature=temperature)
        self.experts = Experts(experts, dim, hidden, dropout=dropout)
        self.dispatch = dispatch

    def forward(
        self,
        tokens: Float[Tensor, "b t d"],
        mask: Bool[Tensor, "b t"],
        context: Float[Tensor, "b c"] | None = None,
        *,
        modality: str = JOINT,
        time: Int[Tensor, "b t"] | None = None,
        steer: Steer | None = None,
    ) -> tuple[Float[Tensor, "b t d"], Routing]:
        """(the experts' gated sums, what the router decided); logits and gates are 0 on invalid tokens."""
        rows = _valid(mask)
        read = _taken(tokens, rows)
        seen = _taken(with_context(tokens, context), rows) if context is not None else read
        found = self.route(read, seen, picked(steer, mask))
        wrote, logits, gates = (_back(value, rows, mask) for value in found)
        return wrote, Routing(logits, gates, mask, modality, time, wrote)

    def route(
        self, read: Float[Tensor, "n d"], seen: Float[Tensor, "n dc"], steer: Steer | None = None
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n e"], Float[Tensor, "n e"]]:
        """(gated sum of the experts on `read`, logits, gates), the router looking at `seen`."""
        logits, gates = self.router(seen, steer)
        active = chosen(gates) if self.router.sparse else None
        return self.experts(read, gates, active, self.dispatch), logits, gates


class Pool(nn.Module):
    """One router and one set of experts that serve several modalities in a single call (DERL's shared pool)."""

    def __init__(self, dim: int, experts: int, hidden: int, **options):
        super().__init__()
        self.mixture = Mixture(dim, experts, hidden, **options)

    def forward(
        self,
        encoded: Mapping[str, Encoded],
        context: Mapping[str, Float[Tensor, "b c"]] | None = None,
        steered: Mapping[str, Steer | None] | None = None,
    ) -> dict[str, tuple[Float[Tensor, "b n d"], Routing]]:
        """Modality -> (the experts' gated sums, what the router decided); `steered` by modality."""
        rows = {m: _valid(e.mask) for m, e in encoded.items()}
        read = [_taken(e.tokens, rows[m]) for m, e in encoded.items()]
        seen = read
        if context is not None:
            seen = [_taken(with_context(e.tokens, context[m]), rows[m]) for m, e in encoded.items()]
        sizes = [len(part) for part in read]
        steers = [picked((steered or {}).get(m), e.mask) for m, e in encoded.items()]
        steer = side_by_side(steers, sizes, self.mixture.experts.count, read[0])
        parts = zip(*(value.split(sizes) for value in self.mixture.route(torch.cat(read), torch.cat(seen), steer)), strict=True)
        found = {}
        for (m, e), values in zip(encoded.items(), parts, strict=True):
            wrote, logits, gates = (_back(value, rows[m], e.mask) for value in values)
            found[m] = (wrote, Routing(logits, gates, e.mask, m, e.time, wrote))
        return found


def _valid(mask: Bool[Tensor, "b t"]) -> Int[Tensor, " n"] | None:
    """Places of the valid steps among all; None where all are valid, and nothing need be copied."""
    return None if bool(mask.all()) else mask.flatten().nonzero()[:, 0]


def _taken(tokens: Float[Tensor, "b t d"], rows: Int[Tensor, " n"] | None) -> Float[Tensor, "n d"]:
    """The tokens at these places."""
    flat = tokens.flatten(0, 1)
    return flat if rows is None else flat.index_select(0, rows)


def _back(values: Float[Tensor, "n d"], rows: Int[Tensor, " n"] | None, mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
    """Values of the valid tokens put back in their places, zeros elsewhere."""
    if rows is not None:
        values = values.new_zeros(mask.numel(), values.shape[1]).index_copy(0, rows, values)
    return values.unflatten(0, tuple(mask.shape))
