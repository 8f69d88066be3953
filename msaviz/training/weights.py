"""How do weights that somebody else may have made become a model, without more memory than they are worth?

The folder of a run says how large its model is, in numbers that anybody can change. So what building it makes is counted as it is made
and held against the size of its weights' file (`msaviz.limits`); then names and shapes must be those of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from msaviz.limits import check
from msaviz.reading import plain_file, reading

AGAIN = "copy the folder again, or train the run anew"
MAKERS = frozenset({torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.arange, torch.eye, torch.linspace})
"""What makes the parameters and buffers of a module."""
NUMBER = 4
"""Bytes of a number."""
MOST = 10_000
"""Tensors that a model may make beside ten times those in its file (a frozen encoder's are not there)."""


class Measured(TorchFunctionMode):
    """Tensors made inside may take no more than a file of `size` bytes may unfold to; else ValueError naming `path`.

    Nor may they be many more than the file's `tensors`: a model can be endlessly deep too.
    """

    def __init__(self, path: Path, size: int, tensors: int):
        super().__init__()
        self.path, self.size, self.made, self.left = path, size, 0, 10 * tensors + MOST

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in MAKERS:
            sides = args[0] if args and isinstance(args[0], (list, tuple)) else args
            size = prod(max(1, abs(side)) for side in sides if isinstance(side, int))
            self.made += (size**2 if func is torch.eye else size) * NUMBER
            check(self.path, self.made, self.size)
            self.left -= 1
            if self.left < 0:
                raise ValueError(f"{self.path}: its options ask for a far deeper model than its weights are; {AGAIN}")
        return func(*args, **(kwargs or {}))


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors in a safetensors file, on the CPU; FileNotFoundError, or ValueError naming the file."""
    plain_file(path)
    with reading(path, AGAIN):
        try:
            weights = load_file(path)
        except SafetensorError as error:
            raise ValueError(str(error)) from None
        sums = {name: tensor.sum(dtype=torch.float64) for name, tensor in weights.items() if tensor.is_floating_point()}
        if sums and torch.stack([*sums.values()]).isnan().any():  # of NaN, or of both infinities
            wrong = next(name for name, total in sums.items() if total.isnan())
            raise ValueError(f"{wrong} holds numbers that are none (NaN)")
        return weights


def fill(model: nn.Module, weights: Mapping[str, Tensor], path: Path) -> nn.Module:
    """The model with the weights that were read from `path`; ValueError naming what does not fit."""
    with reading(path, AGAIN):
        model.load_state_dict(weights)
    return model
