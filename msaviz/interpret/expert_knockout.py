"""What does each expert contribute in each domain: how much worse are the predictions without it?

`value` is the mean error without the expert minus that with it: positive = it helps. The metric is `mae` (units of the label), or
`error` for classes (share of wrong ones). `low`, `high`: 95 % paired bootstrap interval over utterances. Without an expert its router
gives its share to the others, so that this is what is lost beyond what they can replace. `gate` is the expert's mean gate in the domain.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import pandas as pd
from torch import nn

from msaviz.interpret import resample
from msaviz.interpret.groups import grouping
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered
from msaviz.interpret.tokens import Routed, routed
from msaviz.interpret.trace import Trace, observe
from msaviz.types import JOINT

COLUMNS = ("run", "split", "router", "modality", "expert", "domain", "metric", "value", "low", "high", "gate", "utterances")
PLUMBING = ("model", "router")
"""Parts of a module's path that never say which router it is; "mixture" says it only where nothing else does."""
ROUNDING = 1e-6
"""Smaller changes of an utterance's error are those of float32 sums in another order, and count as none."""


class Switchable(Protocol):
    """A router as this file knows it: a module that counts its experts and can do without one."""

    experts: int

    def without(self, expert: int) -> AbstractContextManager[None]: ...


@dataclass(frozen=True)
class Named:
    """A router and what the trace calls it; `modality` is "joint" for one that serves several."""

    router: str
    modality: str
    module: Switchable


def answer(trace: Trace, *, resamples: int = 300, seed: int = 0) -> pd.DataFrame:
    """Each expert of each router with several, over "all" and, where there are several domains, in each.

    Reads the trace's batches once for each expert with the trace's model, in eval mode; its mode and its routers are restored.
    """
    if trace.model is None:
        return pd.DataFrame()
    before, tokens, groups = _errors(trace), routed(trace), _groups(trace)
    metric = "error" if trace.spec.task.kind == "classes" else "mae"
    rows = []
    for found in routers(trace.model, trace.spec.modalities):
        gates = _gates(tokens, found, len(before))
        for expert in range(found.module.experts):
            with found.module.without(expert):
                loss = _errors(observe(trace.model, trace.batches, spec=trace.spec)) - before
            for domain, member in groups:
                chosen = member & np.isfinite(loss)
                if chosen.any():
                    share = float(np.nanmean(gates[chosen, expert])) if np.isfinite(gates[chosen]).any() else np.nan
                    row = (*_mean(loss[chosen], resamples, seed), share, int(chosen.sum()))
                    rows.append((found.router, found.modality, expert, domain, metric, *row))
    return gathered([pd.DataFrame(rows, columns=list(COLUMNS[2:]))], COLUMNS, run=trace.run, split=trace.split)


def routers(model: nn.Module, modalities: tuple[str, ...]) -> Iterator[Named]:
    """Every submodule with an integer `experts` above 1 and a method `without(expert)`, named by its path.

    "model.private.text.router" is router "private" of modality "text", "model.shared.mixture.router" router "shared" of "joint",
    "model.mixture.router" router "mixture" of "joint".
    """
    for path, module in model.named_modules():
        experts = getattr(module, "experts", None)
        if not isinstance(experts, int) or experts < 2 or not callable(getattr(module, "without", None)):
            continue
        words = [word for word in path.split(".") if word not in PLUMBING]
        parts = [word for word in words if word != "mixture"] or words
        modality = parts.pop() if parts and parts[-1] in modalities else JOINT
        yield Named("/".join(parts) or "router", modality, cast(Switchable, module))


def _errors(trace: Trace) -> np.ndarray:
    """Float[n]: absolute error, or 1 for a wrong class; NaN without a label."""
    return np.abs(trace.examples["error"].to_numpy(dtype=np.float64))


def _groups(trace: Trace) -> list[tuple[str, np.ndarray]]:
    """(name, Bool[n]) of all utterances and, where there are several domains, of each."""
    domains = grouping(trace, "domain")
    each = [(name, domains.codes == code) for code, name in enumerate(domains.names)]
    return [("all", np.ones(len(domains.codes), dtype=bool)), *(each if len(each) > 1 else [])]


def _gates(tokens: list[Routed], found: Named, utterances: int) -> np.ndarray:
    """Float[n e]: mean gate of each utterance, over the modalities that a joint router serves; NaN where nothing was routed."""
    served = [r.by_utterance for r in tokens if r.router == found.router and found.modality in (JOINT, r.modality)]
    if not served:
        return np.full((utterances, found.module.experts), np.nan)
    stack = np.stack(served)
    count = np.isfinite(stack).sum(0)
    return np.where(count > 0, np.nansum(stack, axis=0) / count.clip(1), np.nan)


def _mean(loss: np.ndarray, resamples: int, seed: int) -> tuple[float, float, float]:
    """The mean and its interval."""
    weights = resample.resamples(np.arange(len(loss)), resamples, seed)
    return float(loss.mean()), *resample.interval(resample.mean(weights, loss))


TABLE = Table(COLUMNS, answer)
