"""How much worse does a model get when its routers are told something else? (n utterances, k changes)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from msaviz.interpret.trace import Trace, observe
from msaviz.types import JOINT, Steer

SEPARATE = ("private", "local")
"""Routers whose modalities have experts of their own: number 0 of one is not number 0 of another."""
ROUNDING = 1e-6
"""Smaller changes of an utterance's error are those of float32 sums in another order, and count as none."""


@dataclass(frozen=True)
class Steered:
    """A router of several experts, and the routing keys at which it is steered together; `modality` is "joint" for several of them."""

    router: str
    modality: str
    keys: tuple[str, ...]
    experts: int


def steerable(trace: Trace, separate: Sequence[str] = SEPARATE) -> list[Steered]:
    """Every router with several experts in each modality that it serves, and "joint": one pool of experts in all of them at once.

    Modalities with experts of their own (the routers in `separate`) have no "joint".
    """
    routing = trace.outputs[0].routing if trace.outputs else {}
    found = [
        Steered(key.removesuffix(f"/{r.modality}"), r.modality, (key,), r.gates.shape[-1])
        for key, r in routing.items()
        if r.gates.shape[-1] > 1
    ]
    for router in dict.fromkeys(one.router for one in found):
        served = [one for one in found if one.router == router]
        if router not in separate and len(served) > 1 and len({one.experts for one in served}) == 1:
            found.append(Steered(router, JOINT, tuple(key for one in served for key in one.keys), served[0].experts))
    return found


def metric(trace: Trace) -> str:
    """What an error is called here: "error" (share of wrong classes) or "mae" (units of the label)."""
    return "error" if trace.spec.task.kind == "classes" else "mae"


def errors(trace: Trace) -> np.ndarray:
    """Float[n]: absolute error, or 1 for a wrong class; NaN without a label."""
    return np.abs(trace.examples["error"].to_numpy(dtype=np.float64))


def change(trace: Trace, steered: Sequence[Mapping[str, Steer]]) -> np.ndarray:
    """Float[n]: each utterance's error with its batch told `steered` (one mapping a batch) minus that of the trace; NaN without a label.

    One forward over the trace's batches, in eval mode; what the batches were told before stays where `steered` says nothing.
    """
    assert trace.model is not None
    batches = [replace(b, steered={**b.steered, **told}) for b, told in zip(trace.batches, steered, strict=True)]
    found = errors(observe(trace.model, batches, spec=trace.spec)) - errors(trace)
    return np.where(np.abs(found) < ROUNDING, 0.0, found)


def told(trace: Trace, gates: Mapping[str, np.ndarray]) -> list[dict[str, Steer]]:
    """Steering of every batch by which each key has the gates Float[n e] at all steps (NaN rows: its own)."""
    sizes = [len(batch) for batch in trace.batches]
    parts = {key: torch.tensor(values, dtype=torch.float32)[:, None].split(sizes) for key, values in gates.items()}
    return [{key: Steer(gates=part[i]) for key, part in parts.items()} for i in range(len(sizes))]
