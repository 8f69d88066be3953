"""Every model that the catalog finds, small, with the options and parts that change how it computes; and rows to feed them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from endurance import TIMES
from torch import Tensor, nn

from msaviz.catalog import MODELS, OBJECTIVES
from msaviz.data.missing import Mixture, corrupt
from msaviz.options import override
from msaviz.training.components import Components, surrounded
from msaviz.types import Batch, Output, Spec, Task

TASKS = {"regression": {"sentiment": Task()}, "classes": {"emotion": Task("classes", classes=("a", "b", "c"))}}
SPECS = {name: Spec({"text": 5, "audio": 3, "vision": 4}, tasks, domains=("meal", "work")) for name, tasks in TASKS.items()}
MODALITIES = SPECS["regression"].modalities
SMALL = {"dim": 8, "hidden": 8, "heads": 2, "experts": 3, "layers": 1, "factor": 4, "rank": 2, "frames": 6, "summary": 1}
"""Of what a model's options name among these; a sequence of 9 steps is pooled to windows."""

VARIANTS: dict[str, tuple[str, dict, dict]] = {
    "derl, top-k": ("derl", {"router": "top_k", "k": 1}, {}),
    "derl, noisy, one head an expert": ("derl", {"router": "noisy_top_k", "auxiliary_weight": 0.5, "orthogonality": "hsic"}, {}),
    "haemsa, top-k": ("haemsa", {"router": "top_k", "fusion": "top_k"}, {}),
    "haemsa, flat": ("haemsa", {"flat": True}, {}),
    "midg, vrex": ("midg", {"invariance": "vrex"}, {}),
    "midg, coral, contrast": ("midg", {"invariance": "coral", "contrast_weight": 0.1}, {}),
    "tfn, transformer": ("tfn", {"encoder": "transformer"}, {}),
    "lmf, lstm": ("lmf", {"encoder": "lstm"}, {}),
    "mult, mean": ("mult", {"pooling": "mean"}, {}),
    "early fusion, cross attention": ("early_fusion", {}, {"cross_attention": True}),
    "late fusion, learned steps": ("late_fusion", {}, {"absent": "token"}),
    "tfn, imagined": ("tfn", {}, {"absent": "imagined"}),
    "misa, all parts": ("misa", {}, {"cross_attention": True, "absent": "imagined", "bottleneck": True}),
}
"""Beside each model as it is: name -> (model, its options, components)."""
CASES: dict[str, tuple[str, dict, dict]] = {**{name: (name, {}, {}) for name in MODELS}, **VARIANTS}
ASKED = [(case, task) for i, case in enumerate(CASES) for j, task in enumerate(TASKS) if TIMES > 1 or (i + j) % 2 == 0]
"""What is tried: each case with each task; in an ordinary run with one of them, in turn."""


def config(name: str, **options: object):
    """A model's options, made small."""
    plain = MODELS[name].Config()
    small = {key: value for key, value in SMALL.items() if key in type(plain).model_fields}
    return override(plain, {**small, **options})


def made(case: str, task: str = "regression", seed: int = 0) -> nn.Module:
    """The untrained model of a case, in eval mode; what starts at zero is moved, so that it takes part."""
    name, options, components = CASES[case]
    torch.manual_seed(seed)
    model = surrounded(MODELS[name](SPECS[task], config(name, **options)), SPECS[task], Components(**components))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def rows(count: int = 10, task: str = "regression", seed: int = 0, absent: float = 0.15) -> Batch:
    """Utterances of 1 to 9 steps, some without a modality and one without any; padding is zero. Domains in turn; some unlabelled."""
    g = torch.Generator().manual_seed(seed)
    x, mask = {}, {}
    for m, width in SPECS[task].widths.items():
        length = torch.randint(1, 10, (count,), generator=g)
        length[torch.rand(count, generator=g) < absent] = 0
        length[0], length[-1] = 9, (0 if absent and count > 3 else length[-1])
        mask[m] = torch.arange(9) < length[:, None]
        x[m] = torch.randn(count, 9, width, generator=g) * mask[m][..., None]
    y = 3 * torch.rand(count, generator=g) - 1.5 if task == "regression" else torch.randint(3, (count,), generator=g)
    if count > 3:
        y[1] = torch.nan if task == "regression" else -1
    return Batch(x, mask, {SPECS[task].target: y}, torch.arange(count) % 2, torch.arange(count))


def corrupted(batch: Batch, seed: int = 0) -> Batch:
    """As a training batch: steps dropped, with its complete twin."""
    return corrupt(batch, Mixture(clean=0.3), seed=seed)


def double(batch: Batch) -> Batch:
    """The batch in double precision."""
    return batch.map(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)


def picked(batch: Batch, index: Tensor) -> Batch:
    """These rows."""
    return batch.map(lambda tensor: tensor[index])


GARBAGE = (1e6, -math.inf, math.nan)


def spoiled(batch: Batch, turn: int = 0) -> Batch:
    """The batch (and its complete twin) with garbage wherever a mask is False: in padding, and in the place of what is absent.

    Every modality gets a garbage of its own; with another `turn` another one.
    """
    garbage = {m: GARBAGE[(i + turn) % len(GARBAGE)] for i, m in enumerate(batch.modalities)}
    x = {m: torch.where(batch.mask[m][..., None], batch.x[m], garbage[m]) for m in batch.modalities}
    return replace(batch.with_x(**x), complete=batch.complete and spoiled(batch.complete, turn))


def tensors(output: Output) -> dict[str, Tensor]:
    """All that an output holds, by name."""
    found: dict[str, Tensor] = {"fused": output.fused}
    for group in ("predictions", "private", "shared", "completeness", "losses", "uncertainty", "masks"):
        found |= {f"{group}/{name}": value for name, value in getattr(output, group).items()}
    for key, r in output.routing.items():
        found |= {f"{key}/logits": r.logits, f"{key}/gates": r.gates, f"{key}/mask": r.mask}
    return found if output.importance is None else {**found, "importance": output.importance}


def learnt(model: nn.Module, batch: Batch, objective: str = "erm", task: str = "regression", seed: int = 3) -> Iterator[tuple[str, Tensor]]:
    """(name, value) of every weighted term of one training step, then of every parameter's gradient; all draws are those of `seed`."""
    kind = OBJECTIVES[objective]
    asked = kind(SPECS[task], kind.Config())
    torch.manual_seed(seed)
    asked.prepare(lambda: model.eval()(batch))
    asked.train()
    model.train()
    model.zero_grad(set_to_none=True)
    terms = asked(model, batch, 1.0)
    torch.stack(list(terms.values())).sum().backward()
    yield from ((name, value.detach()) for name, value in terms.items())
    yield from ((f"gradient of {name}", p.grad) for name, p in model.named_parameters() if p.grad is not None)
    model.eval()
