"""How do several processes, started by torchrun, train as one?

Each takes every world-th row of every batch and computes the whole batch's loss (`msaviz.nn.parallel`); their gradients are averaged, so
that all take the same step. Alone (world 1) nothing here does anything.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Int
from torch import nn


def join_processes() -> tuple[int, int]:
    """(rank, world) under torchrun; (0, 1) alone."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return 0, 1
    if not dist.is_initialized():
        # with fewer GPUs than processes some share one, which nccl refuses
        own_gpu = int(os.environ.get("LOCAL_WORLD_SIZE", world)) <= torch.cuda.device_count()
        dist.init_process_group("cpu:gloo,cuda:nccl" if own_gpu else "gloo")
    return dist.get_rank(), world


def leave_processes(world: int) -> None:
    """Wait for the others, who may still be reading from this process, then close the group."""
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()


def share_of(rows: int, views: int, rank: int, world: int) -> tuple[Int[np.ndarray, " r"], Int[np.ndarray, " n"]]:
    """What of a batch of `rows` rows, read in `views` views one after the other, belongs to this process.

    Every world-th of the rows x views examples: (the rows that it must load, the places of its examples in the views of these rows,
    joined). A batch with fewer examples than processes belongs to each of them as a whole.
    """
    if rows * views < world:
        rank, world = 0, 1
    view, row = np.divmod(np.arange(rows * views)[rank::world], rows)
    loaded = np.unique(row)
    return loaded, view * len(loaded) + np.searchsorted(loaded, row)


def draw_apart(seed: int, rank: int, epoch: int) -> None:
    """Give every process but the first random numbers of its own; those of an epoch do not depend on what was drawn before it."""
    if rank:
        torch.manual_seed(int(np.random.SeedSequence([seed, rank, epoch]).generate_state(1)[0]))


def mean_over_processes(values: Mapping[str, float], world: int) -> dict[str, float]:
    """The mean of every process's numbers; a name that a process lacks counts 0 there."""
    if world == 1:
        return dict(values)
    every: list[dict[str, float]] = [{} for _ in range(world)]
    dist.all_gather_object(every, dict(values))
    names = dict.fromkeys(name for each in every for name in each)
    return {name: sum(each.get(name, 0.0) for each in every) / world for name in names}


def average_gradients(parameters: Sequence[nn.Parameter], batches: int, world: int) -> list[nn.Parameter]:
    """Divide summed gradients by `batches` and average them over the processes, in one message; return the parameters that have one.

    A gradient that is missing on some processes counts as 0 there; one that is missing on all stays missing.
    """
    if world == 1:
        parameters = [p for p in parameters if p.grad is not None]
        for p in parameters:
            p.grad.div_(batches)  # type: ignore[union-attr]
        return parameters
    parameters = [p for p in parameters if p.requires_grad]
    there = torch.tensor([p.grad is not None for p in parameters], dtype=torch.float32, device=parameters[0].device)
    flat = torch.cat([*(torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in parameters), there])
    dist.all_reduce(flat)
    flat.div_(batches * world)
    *parts, there = flat.split([*(p.numel() for p in parameters), len(parameters)])
    for p, part, count in zip(parameters, parts, there.tolist(), strict=True):
        p.grad = part.view_as(p).to(p.dtype) if count else None
    return [p for p in parameters if p.grad is not None]
