"""Random inputs in double precision, and modules that take them, for the checks of gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor, nn

from msaviz.nn.encoders import Encoded
from msaviz.types import Batch

Case = tuple[Callable[..., Any], tuple[Tensor, ...]]


class Draw:
    """Random inputs in double precision."""

    def __init__(self, seed: int):
        self.generator = Generator().manual_seed(seed)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def gates(self, *shape: int) -> Tensor:
        return self.normal(*shape).softmax(-1)

    def mask(self, *shape: int, share: float = 0.6) -> Tensor:
        return torch.rand(*shape, generator=self.generator) < share

    def whole(self, high: int, *shape: int) -> Tensor:
        return torch.randint(high, shape, generator=self.generator)

    def encoded(self, count: int = 4, steps: int = 3, dim: int = 4) -> Encoded:
        """Tokens of rows, the last of which lacks the modality."""
        mask = self.mask(count, steps + 1)
        mask[:, 0], mask[-1] = True, False
        tokens = self.normal(count, steps + 1, dim) * mask[..., None]
        return Encoded(tokens, mask, torch.zeros(count, steps + 1).long(), self.normal(count, steps, 2), torch.ones(count).long(), 1)


def made(kind: Callable[..., nn.Module], /, *arguments: Any, training: bool = True, **options: Any) -> Any:
    """A module in double precision, whose parameters that start at zero are moved."""
    module = kind(*arguments, **options).double().train(training)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


def reading(module: nn.Module, batch: Batch) -> Case:
    """A module that reads a batch, as a function of its sequences."""
    return _Reading(module, batch), tuple(batch.x.values())


class _Reading(nn.Module):
    def __init__(self, module: nn.Module, batch: Batch):
        super().__init__()
        self.module, self.batch = module, batch

    def forward(self, *x: Tensor) -> Any:
        return self.module(self.batch.with_x(**dict(zip(self.batch.x, x, strict=True))))


class Partly(nn.Module):
    """A module whose other arguments are fixed."""

    def __init__(self, module: nn.Module, function: Callable[..., Any]):
        super().__init__()
        self.module, self.function = module, function

    def forward(self, *x: Tensor) -> Any:
        return self.function(self.module, *x)
