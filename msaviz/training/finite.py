"""How is a training that has lost its numbers noticed before they spread: in the loss, in the gradients, in the weights?

Each check raises FloatingPointError with the epoch (counted from 1) and where it happened; what earlier epochs left on disk stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import chain

import torch
from torch import Tensor, nn

TOTAL = "total"
REMEDY = "lower train.lr, or look for extreme values in the data (`msaviz data inspect SOURCE`)"


def check_loss(terms: Mapping[str, float], epoch: int) -> None:
    """Every weighted term of the loss, and their sum "total", is a number."""
    bad = [name for name, value in terms.items() if not math.isfinite(value)]
    if bad:
        said = ", ".join([name for name in bad if name != TOTAL] or bad)
        raise FloatingPointError(f"loss is not finite in epoch {epoch} (terms: {said}); {REMEDY}")


def check_gradients(norm: Tensor, parts: Mapping[str, nn.Module], epoch: int) -> None:
    """The norm of all gradients is a number: clipped by one that is not they would be 0 or NaN, and so would be the weights."""
    if not math.isfinite(norm.item()):
        lost = {name for name, p in _named(parts) if p.grad is not None and not p.grad.norm().isfinite()}
        raise FloatingPointError(f"gradients are not finite in epoch {epoch} ({_listed(lost) or 'all parts together'}); {REMEDY}")


@torch.no_grad()
def check_weights(parts: Mapping[str, nn.Module], epoch: int) -> None:
    """Every trained weight is a number after the epoch's last step."""
    trained = [(name, p) for name, p in _named(parts) if p.requires_grad]
    if trained and not torch.stack([p.isfinite().all() for _, p in trained]).all():
        lost = {name for name, p in trained if not p.isfinite().all()}
        raise FloatingPointError(f"weights are not finite after epoch {epoch} ({_listed(lost)}); {REMEDY}")


def _named(parts: Mapping[str, nn.Module]) -> Iterable[tuple[str, nn.Parameter]]:
    """Every parameter with the name of the part of the module that holds it, such as "model.head"."""
    named = (module.named_parameters(prefix=part) for part, module in parts.items())
    return ((".".join(name.split(".")[:2]).removeprefix("."), p) for name, p in chain.from_iterable(named))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
