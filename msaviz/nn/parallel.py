"""How do several processes compute the loss of one batch, of which each holds some of the rows?

Inside `with sharing():` every process computes the loss of the *whole* batch: it gathers the rows that a loss compares (`gathered`) and
adds up what a loss sums (`summed`). Outside, and in one process, both give back what they were given.

The law: what is computed from them must be the same on every process. Each process then has the same loss, and the mean over the
processes of its gradients is the gradient of the whole batch's loss; nothing is sent on the way back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Shaped
from torch import Tensor

_shared: ContextVar[bool] = ContextVar("shared", default=False)


@contextmanager
def sharing(active: bool = True) -> Iterator[None]:
    """Inside the block (unless not `active`) the processes of the default group hold parts of one batch."""
    token = _shared.set(active)
    try:
        yield
    finally:
        _shared.reset(token)


def is_shared() -> bool:
    """Whether this process holds a part of a batch only."""
    return _shared.get()


def summed(x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """The sum of every process's x."""
    if not is_shared():
        return x
    total = x.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total + (_for_all(x) - x.detach()) if x.requires_grad else total


def gathered(*values: Shaped[Tensor, "n ..."]) -> tuple[Tensor, ...]:
    """Each value with the rows of all processes, whose numbers of rows may differ.

    Where each process took every world-th row of a batch, they come in the batch's order.
    """
    if not is_shared():
        return values
    sizes = _sizes(values[0])
    order = torch.cat([torch.arange(size, device=values[0].device) for size in sizes]).argsort(stable=True)
    found: dict[int, Tensor] = {}
    for floating in (True, False):
        some = {i: value for i, value in enumerate(values) if value.is_floating_point() == floating}
        flat = [rearrange(value, "n ... -> n (...)") for value in some.values()]
        if flat:
            whole = _rows(torch.cat(flat, 1), sizes)[order].split([part.shape[1] for part in flat], 1)
            found |= {i: part.reshape(-1, *value.shape[1:]).to(value.dtype) for (i, value), part in zip(some.items(), whole, strict=True)}
    return tuple(found[i] for i in range(len(values)))


def _sizes(x: Tensor) -> list[int]:
    own = torch.tensor([len(x)], device=x.device)
    every = [torch.zeros_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(every, own)
    return torch.cat(every).tolist()


def _rows(x: Shaped[Tensor, "n d"], sizes: list[int]) -> Shaped[Tensor, "all d"]:
    """The rows of all processes, one process after the other."""
    x = x.to(torch.promote_types(x.dtype, torch.float32) if x.is_floating_point() else torch.int64)
    padded = F.pad(x.detach(), (0, 0, 0, max(sizes) - len(x))).contiguous()
    every = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(every, padded)
    parts = [part[:size] for part, size in zip(every, sizes, strict=True)]
    parts[dist.get_rank()] = _for_all(x)
    return torch.cat(parts)


def _for_all(x: Tensor) -> Tensor:
    """x, whose gradient stands for that of every process: theirs are equal, and all of them would have come back here."""
    if not x.requires_grad:
        return x
    x, world = x.view_as(x), dist.get_world_size()
    x.register_hook(lambda gradient: gradient * world)
    return x
