"""Which modules of `msaviz.nn` have a gradient, and with which inputs is it tried? Name -> what gives (module, inputs)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import torch
from gradient_tools import Case, Draw, Partly, made, reading
from numeric_models import SPECS, TASKS, corrupted, double, rows
from torch import Tensor, nn

from msaviz.nn import (
    absent,
    adapter,
    bottleneck,
    crossmodal,
    encoders,
    fusion,
    gated_attention,
    heads,
    hierarchy,
    invariant,
    moe,
    recurrent,
    routers,
)
from msaviz.nn.dropout import Dropout
from msaviz.nn.text import Front, TokenEmbedding
from msaviz.types import Batch, Output, Task

MOODS = TASKS["classes"]["emotion"]


def of_routers(draw: Draw) -> Iterator[Case]:
    """Every kind, every k, in training (noise drawn alike) and not."""
    for kind, k, training in product(routers.KINDS, (1, 2, 4), (True, False)):
        if kind != "dense":
            yield made(routers.Router, 3, 4, kind=kind, k=k, training=training), (draw.normal(5, 3),)


def of_experts(draw: Draw) -> Iterator[Case]:
    """Every dispatch of no, one and more tokens to 1 and 3 experts: all called, some never, nobody."""
    for dispatch, tokens, count in product(moe.DISPATCHES, (1, 6), (1, 3)):
        experts = made(moe.Experts, count, 3, 4, 2)
        quiet = draw.mask(tokens, count)
        quiet[:, -1] = count == 1  # an expert that nobody calls
        for active in (None, quiet, torch.zeros_like(quiet)):
            run = partial(_mixed, active=active, dispatch=dispatch)
            yield Partly(experts, run), (draw.normal(tokens, 3), draw.gates(tokens, count))


def _mixed(experts: moe.Experts, x: Tensor, gates: Tensor, *, active: Tensor | None, dispatch: str) -> Tensor:
    return experts(x, gates, active, dispatch)


def of_mixtures(draw: Draw) -> Iterator[Case]:
    """Every router in front of every dispatch, with an utterance's context, and steps that are not there."""
    for kind, dispatch in product(routers.KINDS, moe.DISPATCHES):
        mixture = made(moe.Mixture, 3, 3, 4, kind=kind, k=2, context=1, dropout=0.2, dispatch=dispatch)
        mask = draw.mask(2, 4)
        yield Partly(mixture, lambda m, x, c, mask=mask: m(x, mask, c)), (draw.normal(2, 4, 3), draw.normal(2, 1))


def of_pools(draw: Draw) -> Iterator[Case]:
    one, two = draw.encoded(), draw.encoded()
    pool = made(moe.Pool, 4, 3, 4, kind="top_k", k=2)
    yield Partly(pool, lambda m, a, b: m({"a": replace(one, tokens=a), "b": replace(two, tokens=b)})), (one.tokens, two.tokens)


def of_local_experts(draw: Draw) -> Iterator[Case]:
    for kind in routers.KINDS:
        e = draw.encoded()
        yield Partly(made(hierarchy.LocalExperts, 4, 3, 4, kind=kind), lambda m, x, e=e: m(replace(e, tokens=x), "a")), (e.tokens,)


def of_sets(draw: Draw) -> Iterator[Case]:
    present = draw.mask(4, 3)
    present[0], present[-1] = True, False
    for chosen in ([(0, 1), (1, 0), (2, 1)], []):
        sets = made(hierarchy.SetExperts, 3, [(0, 1), (0, 1, 2)], chosen, 4, 4, heads=2)
        yield Partly(sets, lambda m, x: m(x, present)), (draw.normal(4, 3, 2, 4) * present[..., None, None],)


def of_top_gates(draw: Draw) -> Iterator[Case]:
    members = torch.tensor([[1, 0], [0, 1], [1, 1]])
    available = torch.tensor([[True, True], [True, False], [False, False]])
    for kind in routers.KINDS[1:]:  # all but the one that has nothing to learn
        yield Partly(made(hierarchy.TopGate, 3, members, kind=kind), lambda m, x: m(x, available)), (draw.normal(3, 2, 3),)


def of_masks(draw: Draw) -> Iterator[Case]:
    masks = made(invariant.ReadMasks, 3, 5)
    yield Partly(masks, lambda m, x: (m() * x, m.sparsity(), m.overlap())), (draw.normal(3, 5),)


def of_invariant_experts(draw: Draw) -> Iterator[Case]:
    for kind, masked in product(routers.KINDS, (True, False)):
        yield made(invariant.InvariantExperts, 4, 3, 3, 4, kind=kind, masked=masked), (draw.normal(5, 4),)


def attention(kind: Any, queries: tuple[int, ...], keys: tuple[int, ...], *arguments: Any) -> Callable[[Draw], Iterator[Case]]:
    """A layer in which queries read keys, some of which are not there, and in the last row none."""

    def cases(draw: Draw) -> Iterator[Case]:
        there, valid = draw.mask(*keys[:-1]), draw.mask(*queries[:-1])
        there[..., -1, :] = False
        layer = made(kind, *arguments)
        rest = (valid, there) if kind is crossmodal.CrossmodalTransformer else (there,)
        yield Partly(layer, lambda m, x, y: m(x, y, *rest)), (draw.normal(*queries), draw.normal(*keys))

    return cases


def on_steps(kind: Callable[..., nn.Module], *arguments: Any, **options: Any) -> Callable[[Draw], Iterator[Case]]:
    """An encoder of sequences with holes; the last row is empty."""

    def cases(draw: Draw) -> Iterator[Case]:
        for training in (True, False):
            mask = draw.mask(4, 6)
            mask[0], mask[-1] = True, False
            yield Partly(made(kind, *arguments, training=training, **options), lambda m, x, mask=mask: m(x, mask)), (draw.normal(4, 6, 3),)

    return cases


def on_batches(kind: Callable[[], nn.Module]) -> Callable[[Draw], Iterator[Case]]:
    """A part that reads a training batch with its complete twin."""

    def cases(draw: Draw) -> Iterator[Case]:
        yield reading(made(kind), double(corrupted(rows(5, seed=int(draw.whole(1000, 1))))))

    return cases


def on_vectors(kind: Callable[..., nn.Module], *arguments: Any, shape: tuple[int, ...], **options: Any) -> Callable[[Draw], Iterator[Case]]:
    def cases(draw: Draw) -> Iterator[Case]:
        yield made(kind, *arguments, **options), (draw.normal(*shape),)

    return cases


def of_blocks(draw: Draw) -> Iterator[Case]:
    keys = encoders.attendable(draw.mask(3, 5, share=0.3))
    yield Partly(made(encoders.Block, 4, 2), lambda m, x: m(x, keys)), (draw.normal(3, 5, 4),)


def of_contributors(draw: Draw) -> Iterator[Case]:
    present = draw.mask(4, 3)
    present[-1] = False
    for uniform in (True, False):
        layer = made(fusion.ImportanceFusion, 4, 3, heads=2, uniform=uniform)
        yield Partly(layer, lambda m, x, c: m(x, present, c)), (draw.normal(4, 3, 4), draw.gates(4, 3))


def of_adapters(kind: Any, /, **options: Any) -> Callable[[Draw], Iterator[Case]]:
    def cases(draw: Draw) -> Iterator[Case]:
        for name in adapter.KINDS:
            e = {m: draw.encoded() for m in "ab"}
            layer = made(kind, "ab", 4, width=4, kind=name, **options)
            if kind is adapter.Adapters:
                run = lambda m, x, y, e=e: m({"a": replace(e["a"], tokens=x), "b": replace(e["b"], tokens=y)})  # noqa: E731
            else:
                run = lambda m, x, y, e=e: m({"a": x, "b": y}, {name: one.mask for name, one in e.items()})  # noqa: E731
            yield Partly(layer, run), (e["a"].tokens, e["b"].tokens)

    return cases


def of_bottlenecks(draw: Draw) -> Iterator[Case]:
    """Mean and spread of the last vector, what is drawn from them, its heads, and the price in nats."""
    for task in (Task(), MOODS):
        for training in (True, False):
            layer = made(bottleneck.Bottleneck, 4, {"y": task}, training=training)
            yield Partly(layer, lambda m, x: m(Output({"y": x[:, 0]}, x))), (draw.normal(5, 4),)


def of_factors(draw: Draw) -> Iterator[Case]:
    batch = double(rows(5, seed=int(draw.whole(1000, 1))))
    for kind in recurrent.KINDS:
        each = recurrent.utterance_encoders(kind, SPECS["regression"].widths, 4, ("lstm", "pooled"), heads=2, frames=4)
        yield reading(made(recurrent.Factors, each, 4, 2), batch)


def of_fronts(draw: Draw) -> Iterator[Case]:
    ids, mask = draw.whole(7, 3, 4), draw.mask(3, 4)
    front = made(Front, {"text": TokenEmbedding(7, 3)})
    batch = Batch({"text": ids}, {"text": mask}, {"y": torch.zeros(3)}, torch.zeros(3).long(), torch.arange(3))
    yield Partly(front, lambda m: m(batch).x), ()


WIDTHS = SPECS["regression"].widths
MODULES: dict[str, Callable[[Draw], Iterator[Case]]] = {
    "heads.Heads": on_vectors(heads.Heads, 4, {"y": Task(), "k": MOODS}, shape=(5, 4)),
    "bottleneck.Bottleneck": of_bottlenecks,
    "dropout.Dropout": on_vectors(Dropout, 0.3, shape=(5, 4)),
    "encoders.Block": of_blocks,
    "encoders.SequenceEncoder": on_steps(encoders.SequenceEncoder, 3, 4, heads=2, summary=2, frames=4),
    "encoders.PooledEncoder": on_steps(encoders.PooledEncoder, 3, 4),
    "recurrent.RecurrentEncoder": lambda draw: (
        case for both in (False, True) for case in on_steps(recurrent.RecurrentEncoder, 3, 4, frames=4, bidirectional=both)(draw)
    ),
    "recurrent.TransformerMean": on_steps(recurrent.TransformerMean, 3, 4, heads=2, frames=4),
    "recurrent.Factors": of_factors,
    "fusion.ImportanceFusion": of_contributors,
    "gated_attention.GatedAttention": on_batches(lambda: gated_attention.GatedAttention(WIDTHS, dim=4, frames=4)),
    "absent.AbsentTokens": on_batches(lambda: absent.AbsentTokens(WIDTHS)),
    "absent.Imagination": on_batches(lambda: absent.Imagination(WIDTHS, dim=4, blocks=2)),
    "adapter.CrossModalAdapter": of_adapters(adapter.CrossModalAdapter),
    "adapter.Adapters": of_adapters(adapter.Adapters, layers=2),
    "crossmodal.CrossmodalBlock": attention(crossmodal.CrossmodalBlock, (3, 4, 4), (3, 5, 4), 4, 2),
    "crossmodal.CrossmodalTransformer": attention(crossmodal.CrossmodalTransformer, (3, 4, 4), (3, 5, 4), 4),
    "hierarchy.standardised": on_vectors(lambda: Partly(nn.Identity(), lambda m, x: hierarchy.standardised(x)), shape=(5, 4)),
    "hierarchy.Linears": on_vectors(hierarchy.Linears, 2, 3, 4, shape=(2, 5, 3)),
    "hierarchy.CrossAttention": attention(hierarchy.CrossAttention, (2, 3, 2, 4), (2, 3, 5, 4), 2, 4, 2),
    "hierarchy.LocalExperts": of_local_experts,
    "hierarchy.SetExperts": of_sets,
    "hierarchy.TopGate": of_top_gates,
    "invariant.ReadMasks": of_masks,
    "invariant.InvariantExperts": of_invariant_experts,
    "moe.Experts": of_experts,
    "moe.Mixture": of_mixtures,
    "moe.Pool": of_pools,
    "routers.Router": of_routers,
    "text.TokenEmbedding": of_fronts,
    "text.Front": of_fronts,
}

UNCHECKED = {
    "penalties.full": "a change of type",
    "encoders.Encoded": "a value",
    "encoders.window_stride": "counts",
    "encoders.sinusoids": "constants",
    "encoders.attendable": "a mask",
    "heads.labelled": "a mask",
    "routers.chosen": "a mask",
    "routers.picked": "a choice of rows",
    "routers.side_by_side": "a choice of rows",
    "moe.with_context": "within moe.Mixture",
    "recurrent.utterance_encoder": "makes what is checked",
    "recurrent.utterance_encoders": "makes what is checked",
    "surround.Surrounded": "within the models",
    "invariance.gradient_reversal": "is not the gradient of what it returns: a law of its own",
    "parallel.sharing": "within torchrun, where the gradient is compared with that of one process",
    "parallel.is_shared": "the same",
    "parallel.summed": "the same",
    "parallel.gathered": "the same",
    "text.PretrainedText": "torch's and the hub's",
    "text.has_bfloat16": "a question",
    "text.load_transformer": "a file",
    "text.minilm_folder": "a file",
}
"""What has no gradient of its own, or where it is checked."""
