"""Is our mixture layer as fast as the best known way to run it, at every size that this field routes?

A whole layer (router, top-2 of 8 experts, gated sum) on all-valid tokens of width 128, one thread. Beside it, from their formulas, with
weights of their own in the shape that each way likes best:

* dense: every expert on every token, weighted by gates that are mostly 0
* dispatcher: a list of experts, tokens split by expert, one call an expert, `index_add` back (Shazeer et al. 2017, as in davidmrau's code)
* einsum: one-hot dispatch and combine tensors, capacity of the busiest expert, so that nothing is dropped (Lepikhin et al. 2021, as in
  lucidrains' code)

All must agree in value and in every gradient; forward and backward, and forward alone, are taken in turn. `--dispatches` adds ours with
each dispatch forced: by these the thresholds in `msaviz/nn/moe.py` were chosen.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from tools import Row, alternating, arguments, finish, medians, timed
from torch import Tensor, nn

from msaviz.nn.moe import DISPATCHES, Mixture

EXPERTS, CHOSEN, WIDTH = 8, 2, 128
HIDDEN, TOKENS = (256, 512), (96, 512, 4096)
ALLOWED = 1.1
"""Our time over that of the best reference."""


class Reference(nn.Module):
    """A top-k mixture with the weights of `ours`; a subclass says how the experts are run."""

    def __init__(self, ours: Mixture):
        super().__init__()
        score, experts = ours.router.score, ours.experts
        assert score is not None
        self.score, self.score_bias = (nn.Parameter(p.detach().clone()) for p in (score.weight, score.bias))
        self.take(*(p.detach().clone() for p in (experts.up, experts.up_bias, experts.down, experts.down_bias)))

    def take(self, up: Tensor, up_bias: Tensor, down: Tensor, down_bias: Tensor) -> None:
        self.up, self.up_bias, self.down, self.down_bias = map(nn.Parameter, (up, up_bias, down, down_bias))

    def gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Gates Float[n k], renormalised, and the experts they belong to, Int[n k]."""
        kept, index = F.linear(x, self.score, self.score_bias).softmax(-1).topk(CHOSEN, -1)
        return kept / kept.sum(-1, keepdim=True), index

    def weights(self) -> list[Tensor]:
        """Parameters in the order and shape of ours."""
        return [self.up, self.up_bias, self.down, self.down_bias, self.score, self.score_bias]

    def gradients(self) -> list[Tensor]:
        return [p.grad for p in self.weights() if p.grad is not None]


class Dense(Reference):
    """sum_e g_e(x) f_e(x), with every f_e computed."""

    def forward(self, x: Tensor) -> Tensor:
        kept, index = self.gates(x)
        gates = x.new_zeros(len(x), EXPERTS).scatter(1, index, kept)
        hidden = F.gelu(torch.einsum("nd,ehd->enh", x, self.up) + self.up_bias[:, None])
        wrote = torch.einsum("enh,eho->eno", hidden, self.down) + self.down_bias[:, None]
        return (wrote * gates.T[..., None]).sum(0)


class Dispatcher(Reference):
    """Tokens sorted by expert, split, each part read by its expert alone, added up at the token's place."""

    def take(self, up: Tensor, up_bias: Tensor, down: Tensor, down_bias: Tensor) -> None:
        parts = zip(up, up_bias, down.transpose(1, 2), down_bias, strict=True)
        self.parts = nn.ModuleList(nn.ParameterList([p.contiguous() for p in part]) for part in parts)

    def forward(self, x: Tensor) -> Tensor:
        kept, index = self.gates(x)
        expert, order = index.flatten().sort(stable=True)
        token = order // CHOSEN
        parts = x.index_select(0, token).split(torch.bincount(expert, minlength=EXPERTS).tolist())
        wrote = torch.cat([F.linear(F.gelu(F.linear(p, a, b)), c, d) for p, (a, b, c, d) in zip(parts, self.parts, strict=True)])
        return torch.zeros_like(x).index_add(0, token, wrote * kept.flatten().index_select(0, order)[:, None])

    def gradients(self) -> list[Tensor]:
        up, up_bias, down, down_bias = (torch.stack([part[i].grad for part in self.parts]) for i in range(4))
        return [up, up_bias, down.transpose(1, 2), down_bias, self.score.grad, self.score_bias.grad]  # type: ignore[list-item]


class Einsum(Reference):
    """Dispatch Float[n e c] puts each token into a slot of its expert, combine (the same times the gates) brings the answers back."""

    def take(self, up: Tensor, up_bias: Tensor, down: Tensor, down_bias: Tensor) -> None:
        super().take(up.transpose(1, 2).contiguous(), up_bias, down, down_bias)

    def forward(self, x: Tensor) -> Tensor:
        kept, index = self.gates(x)
        chosen = F.one_hot(index, EXPERTS)  # n k e
        place = chosen.flatten(0, 1).cumsum(0).unflatten(0, index.shape) - 1
        capacity = int(chosen.sum((0, 1)).max())
        slot = F.one_hot((place * chosen).sum(-1), capacity).to(x.dtype)  # n k c
        dispatch = torch.einsum("nke,nkc->nec", chosen.to(x.dtype), slot)
        combine = torch.einsum("nk,nke,nkc->nec", kept, chosen.to(x.dtype), slot)
        read = torch.einsum("nd,nec->ecd", x, dispatch)
        hidden = F.gelu(torch.einsum("ecd,edh->ech", read, self.up) + self.up_bias[:, None])
        wrote = torch.einsum("ech,eho->eco", hidden, self.down) + self.down_bias[:, None]
        return torch.einsum("eco,nec->no", wrote, combine)

    def gradients(self) -> list[Tensor]:
        up, *others = super().gradients()
        return [up.transpose(1, 2), *others]


REFERENCES: dict[str, type[Reference]] = {"dense": Dense, "dispatcher": Dispatcher, "einsum": Einsum}


class Ours(nn.Module):
    """The layer as a model calls it: tokens of one utterance with their mask."""

    def __init__(self, mixture: Mixture):
        super().__init__()
        self.mixture = mixture

    def forward(self, x: Tensor) -> Tensor:
        return self.mixture(x[None], torch.ones(1, len(x), dtype=torch.bool))[0][0]

    def gradients(self) -> list[Tensor]:
        experts, score = self.mixture.experts, self.mixture.router.score
        weights = [experts.up, experts.up_bias, experts.down, experts.down_bias, *score.parameters()]  # type: ignore[union-attr]
        return [p.grad for p in weights if p.grad is not None]


def layers(hidden: int, dispatches: bool = False) -> dict[str, nn.Module]:
    """Our layer and the references, all with equal weights."""

    def ours(dispatch: str) -> Mixture:
        torch.manual_seed(0)
        return Mixture(WIDTH, EXPERTS, hidden, kind="top_k", k=CHOSEN, dispatch=dispatch)

    forced = {f"msaviz, {name}": Ours(ours(name)) for name in DISPATCHES if name != "auto"} if dispatches else {}
    return {"msaviz": Ours(ours("auto")), **{name: kind(ours("auto")) for name, kind in REFERENCES.items()}, **forced}


def agree(found: dict[str, nn.Module], x: Tensor, upstream: Tensor, tolerance: float = 1e-4) -> None:
    """Raises AssertionError where a layer gives another value or gradient than ours."""
    answers = {}
    for name, layer in found.items():
        layer.zero_grad()
        leaf = x.clone().requires_grad_()
        out = layer(leaf)
        out.backward(upstream)
        answers[name] = [out.detach(), leaf.grad, *layer.gradients()]  # type: ignore[operator]
    for name, values in answers.items():
        for one, two in zip(values, answers["msaviz"], strict=True):
            scale = max(1.0, float(two.abs().max()))
            torch.testing.assert_close(one / scale, two / scale, atol=tolerance, rtol=tolerance, msg=lambda m, name=name: f"{name}: {m}")


def both(layer: nn.Module, x: Tensor, upstream: Tensor) -> None:
    """Forward and backward, to the tokens and to all weights."""
    layer.zero_grad()
    layer(x).backward(upstream)
    x.grad = None


def forward(layer: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        layer(x)


def rows(case: str, calls: dict[str, Callable[[], None]], repeats: int) -> list[Row]:
    """Medians in milliseconds of the processor, then our time over that of the fastest reference."""
    times = alternating(calls, repeats, clock=time.process_time)
    middle = medians(times)
    best = min(REFERENCES, key=middle.__getitem__)
    ratio = middle["msaviz"] / middle[best]
    verdict = Row("moe", case, "msaviz", f"of the best, {best}", ratio, "x", f"at most {ALLOWED}x", ratio <= ALLOWED)
    print(f"{case}: {verdict.value:.2f} {verdict.metric}", flush=True)
    return [*timed("moe", case, times, "ms"), verdict]


def main(options: argparse.Namespace) -> list[Row]:
    torch.set_num_threads(1)
    found = []
    for hidden in HIDDEN[: 1 if options.quick else None]:
        for tokens in TOKENS[: 2 if options.quick else None]:
            ways = layers(hidden, options.dispatches)
            torch.manual_seed(1)
            x, upstream = torch.randn(tokens, WIDTH), torch.randn(tokens, WIDTH)
            agree(ways, x, upstream)
            leaf, repeats = (
                x.clone().requires_grad_(),
                max(3, options.repeats * (1 if options.quick else 1024) // (1 if options.quick else max(256, tokens))),
            )
            size = f"{tokens} tokens, hidden {hidden}"
            training = {name: lambda way=way: both(way, leaf, upstream) for name, way in ways.items()}  # noqa: B023
            reading = {name: lambda way=way: forward(way, x) for name, way in ways.items()}  # noqa: B023
            found += rows(f"forward and backward, {size}", training, repeats)
            found += rows(f"forward, {size}", reading, repeats)
    return found


if __name__ == "__main__":
    options = arguments(__doc__, repeats=15, dispatches=False)
    finish(main(options), options)
