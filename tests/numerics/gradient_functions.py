"""Which functions of `msaviz.nn` have a gradient, and with which inputs is it tried? Name -> what gives (function, inputs)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from gradient_tools import Case, Draw
from numeric_models import MODALITIES, SPECS, TASKS, double, rows
from torch import Tensor

from msaviz.nn import absent, bottleneck, distillation, encoders, heads, invariance, penalties, routers
from msaviz.types import Task

MOODS = TASKS["classes"]["emotion"]


def pairs(function: Callable[..., Tensor], **options: Any) -> Callable[[Draw], Iterator[Case]]:
    """A penalty of two sets of rows: all of them, and some."""

    def cases(draw: Draw) -> Iterator[Case]:
        for present in (None, draw.mask(7), torch.arange(7) < 2):
            yield partial(function, present=present, **options), (draw.normal(7, 3), draw.normal(7, 3))

    return cases


def routed(function: Callable[..., Tensor]) -> Callable[[Draw], Iterator[Case]]:
    """A penalty of gates or logits by step, of all and of some."""

    def cases(draw: Draw) -> Iterator[Case]:
        yield function, (draw.gates(3, 4, 5),)
        yield partial(function, present=draw.mask(3, 4)), (draw.gates(3, 4, 5),)
        if function is penalties.load_balance:
            sparse = draw.gates(8, 5)
            sparse = torch.where(sparse >= sparse.topk(2).values[:, 1:], sparse, 0)
            yield lambda logits: function(sparse, None, logits), (draw.normal(8, 5),)

    return cases


def by_domain(function: Callable[..., Tensor], *shape: int) -> Callable[[Draw], Iterator[Case]]:
    """A difference between the domains of 9 rows: three of them, two, one."""

    def cases(draw: Draw) -> Iterator[Case]:
        for domains in (3, 2, 1):
            x = draw.gates(9, *shape) if function is invariance.gate_divergence else draw.normal(9, *shape)
            yield lambda x, domain=torch.arange(9) % domains: function(x, domain, 4), (x,)

    return cases


def of_labels(draw: Draw) -> Iterator[Case]:
    y, known = draw.normal(9, 2), draw.mask(9, share=0.9)
    yield lambda x: invariance.disagreement(x, y, torch.arange(9) % 2, 3, known), (draw.normal(9, 2, 3),)


def of_predictions(draw: Draw) -> Iterator[Case]:
    """IRM of real predictions with each loss and of class scores; rows without a label."""
    y = torch.where(draw.mask(9, share=0.8), draw.normal(9), torch.nan)
    for loss in heads.LOSSES:
        yield lambda p, loss=loss: invariance.irm_of_prediction(p, y, Task(), torch.arange(9) % 2, 3, loss), (draw.normal(9),)
    label = draw.whole(4, 9) - 1
    yield lambda p: invariance.irm_of_prediction(p, label, MOODS, torch.arange(9) % 2, 3), (draw.normal(9, 3),)


def of_examples(draw: Draw) -> Iterator[Case]:
    y = torch.where(draw.mask(6), draw.normal(6), torch.nan)
    for loss in heads.LOSSES:
        yield lambda p, loss=loss: heads.example_losses(p, y, Task(), loss)[0], (draw.normal(6),)
    label = draw.whole(4, 6) - 1
    yield lambda p: heads.example_losses(p, label, MOODS)[0], (draw.normal(6, 3),)


def of_responses(draw: Draw) -> Iterator[Case]:
    for task, shape in ((Task(), (6,)), (MOODS, (6, 3))):
        yield lambda s, t, task=task: distillation.response(s, t.detach(), task), (draw.normal(*shape), draw.normal(*shape))


def of_prototypes(draw: Draw) -> Iterator[Case]:
    label = draw.whole(4, 6) - 1
    yield lambda s, t: distillation.prototypes(s, t.detach(), label, 3), (draw.normal(6, 4), draw.normal(6, 4))


def of_windows(draw: Draw) -> Iterator[Case]:
    mask = draw.mask(4, 9)
    for stride, frames in ((encoders.window_stride(mask, 4), 4), (3, 4), (torch.ones(4).long(), 9)):
        yield lambda x, stride=stride, frames=frames: encoders.window_mean(x, mask, stride, frames)[0], (draw.normal(4, 9, 2),)


def of_means(draw: Draw) -> Iterator[Case]:
    for where in (draw.mask(3, 4), torch.zeros(3, 4).bool()):
        yield lambda x, where=where: penalties.mean_where(x, where), (draw.normal(3, 4),)


def of_filled(draw: Draw) -> Iterator[Case]:
    batch = double(rows(5, seed=int(draw.whole(1000, 1))))
    steps = tuple(draw.normal(5, SPECS["regression"].widths[m]) for m in MODALITIES)
    yield lambda *steps: absent.filled(batch, dict(zip(MODALITIES, steps, strict=True))).x, steps


def of_estimated_load(draw: Draw) -> Iterator[Case]:
    for k in (1, 2):
        yield lambda a, b, c, k=k: routers.estimated_load(a, b, c.exp(), k), (draw.normal(5, 3), draw.normal(5, 3), draw.normal(5, 3))


def of_weighed(draw: Draw) -> Iterator[Case]:
    known = draw.mask(5)
    yield lambda x, u: heads.weighed(x, known, u[0]), (draw.normal(5), draw.normal(1))


def of_divergences(draw: Draw) -> Iterator[Case]:
    yield lambda m, s: bottleneck.divergence(m, s.exp()), (draw.normal(5, 4), draw.normal(5, 4))


def of_masked_means(draw: Draw) -> Iterator[Case]:
    mask = draw.mask(4, 5)
    yield lambda x: encoders.masked_mean(x, mask), (draw.normal(4, 5, 2),)


def of_risks(draw: Draw) -> Iterator[Case]:
    yield lambda x: invariance.variance_of_risks(x, torch.arange(4) < 3), (draw.normal(2, 4),)


def of_contrasts(draw: Draw) -> Iterator[Case]:
    yield lambda s, t: distillation.contrast(s, t.detach()), (draw.normal(6, 4), draw.normal(6, 4))


FUNCTIONS: dict[str, Callable[[Draw], Iterator[Case]]] = {
    **{
        f"penalties.{f.__name__}": pairs(f)
        for f in (penalties.orthogonality_misa, penalties.orthogonality_cosine, penalties.cmd, penalties.info_nce)
    },
    "penalties.hsic": lambda draw: (case for kernel in ("rbf", "linear") for case in pairs(penalties.hsic, kernel=kernel)(draw)),
    **{f"penalties.{f.__name__}": routed(f) for f in (penalties.load_balance, penalties.z_loss, penalties.importance_variation)},
    "penalties.mean_where": of_means,
    **{f"invariance.{f.__name__}": by_domain(f, 2, 3) for f in (invariance.coral, invariance.mmd)},
    "invariance.gate_divergence": by_domain(invariance.gate_divergence, 4),
    "invariance.disagreement": of_labels,
    "invariance.variance_of_risks": of_risks,
    "invariance.irm_penalty": of_predictions,
    "invariance.irm_of_prediction": of_predictions,
    "distillation.contrast": of_contrasts,
    "distillation.prototypes": of_prototypes,
    "distillation.response": of_responses,
    "heads.example_losses": of_examples,
    "heads.weighed": of_weighed,
    "bottleneck.divergence": of_divergences,
    "encoders.masked_mean": of_masked_means,
    "encoders.window_mean": of_windows,
    "absent.filled": of_filled,
    "routers.estimated_load": of_estimated_load,
}
