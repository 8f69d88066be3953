"""Are the gradients of a function those of finite differences, with everything that it holds constant held constant?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.gradcheck import GradcheckError
from torch.overrides import TorchFunctionMode

STEPS, TOLERANCE = (1e-6, 1e-7, 1e-8), 1e-5
"""Of the finite differences, the next one where a kink lies within the one before; what may remain of the gradient's length."""


class Constants(TorchFunctionMode):
    """What is detached, or computed without gradients, gives at every call what it gave at the first.

    So finite differences see what backward sees: a straight-through gate moves as its probability does, and a detached target stands still.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Tensor] = []
        self.turn, self.off = 0, False

    def __torch_function__(self, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch._C._set_grad_enabled:  # `no_grad`; the forward pass of an autograd.Function comes without one
            self.off = not args[0]
        found = func(*args, **(kwargs or {}))
        if not ((self.off or func is torch.Tensor.detach) and isinstance(found, Tensor) and found.is_floating_point()):
            return found
        self.turn += 1
        if self.turn > len(self.kept):
            self.kept.append(found.clone())
        return self.kept[self.turn - 1]

    def __enter__(self) -> Constants:
        self.turn, self.off = 0, False
        super().__enter__()
        return self


def flat(found: Any) -> Iterator[Tensor]:
    """Every tensor of real numbers in a value, a container or a frozen noun."""
    if isinstance(found, Tensor):
        if found.is_floating_point():
            yield found
    elif isinstance(found, dict):
        for part in found.values():
            yield from flat(part)
    elif isinstance(found, (tuple, list)):
        for part in found:
            yield from flat(part)
    elif is_dataclass(found):
        yield from flat([getattr(found, field.name) for field in fields(found)])


def check(function: Callable[..., Any], *inputs: Tensor, seed: int = 0, entries: bool = False) -> bool:
    """Whether all that the function returns has the gradients of finite differences, in double precision. Noise is drawn alike.

    Compared is the slope of a random weighing of all results along a random direction of all inputs and a module's parameters: two more
    calls, however many weights; with `entries` each entry of the Jacobian by the inputs too (torch's gradcheck). AssertionError where a
    result has lost the inputs' precision.
    """
    parameters = [p for p in function.parameters() if p.requires_grad] if isinstance(function, nn.Module) else []
    leaves, constants = [*(x.requires_grad_() for x in inputs if x.is_floating_point()), *parameters], Constants()

    def called(*_: Tensor) -> tuple[Tensor, ...]:
        torch.manual_seed(seed)
        with constants:
            found = list(flat(function(*inputs)))
        assert all(value.dtype == torch.float64 for value in found), [value.dtype for value in found]
        return tuple(value for value in found if value.requires_grad)

    assert called(), "nothing to differentiate"
    if entries:
        torch.autograd.gradcheck(called, leaves[: len(leaves) - len(parameters)])
    g = torch.Generator().manual_seed(seed)
    weights = [torch.randn(value.shape, generator=g, dtype=value.dtype) for value in called()]
    way = [torch.randn(x.shape, generator=g, dtype=x.dtype) for x in leaves]

    def weighed(step: float) -> Tensor:
        with torch.no_grad():
            for x, w in zip(leaves, way, strict=True):
                x.add_(w, alpha=step)
        return torch.stack([(value * w).sum() for value, w in zip(called(), weights, strict=True)]).sum()

    gradients = torch.autograd.grad(weighed(0.0), leaves, materialize_grads=True)
    size = torch.stack([x.square().sum() for x in gradients]).sum().sqrt()
    analytical = torch.stack([(x * w).sum() for x, w in zip(gradients, way, strict=True)]).sum()
    for step in STEPS:
        above, below = weighed(step).detach(), weighed(-2 * step).detach()
        weighed(step)  # the weights are as they were, to rounding
        slope = (above - below) / (2 * step)
        gap = float((slope - analytical).abs() / size.clamp(min=1e-3))
        if gap < TOLERANCE:
            return True
    raise GradcheckError(f"the slope is {float(slope)}, by backward {float(analytical)}: {gap} of the gradient's length")
