"""What does each expert contribute, over all and in each domain, label group or set of modalities: how much worse is it without?

`value` is the mean error without the expert minus that with it: positive = it helps. The metric is `mae` (units of the label), or
`error` for classes (share of wrong ones). `low`, `high`: 95 % paired bootstrap interval over utterances. Without an expert its router
gives its share to the others, so that this is what is lost beyond what they can replace. `gate` is the expert's mean gate in the group.
A router that serves several modalities loses the expert in one of them alone, and ("joint") everywhere at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from msaviz.interpret.counterfactual import SEPARATE, Steered, change, metric, steerable
from msaviz.interpret.groups import Grouping, grouping
from msaviz.interpret.resample import averages
from msaviz.interpret.steering import without
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered
from msaviz.interpret.tokens import routed
from msaviz.interpret.trace import Trace
from msaviz.types import subsets

COLUMNS = ("run", "split", "router", "modality", "expert", "by", "group", "metric", "value", "low", "high", "gate", "utterances")
BY = ("all", "domain", "label", "modality")


def answer(
    trace: Trace, *, by: str | Sequence[str] = BY, resamples: int = 300, seed: int = 0, separate: Sequence[str] = SEPARATE
) -> pd.DataFrame:
    """Each expert of each router with several, by "all", "domain", "label" and "modality" (which ones the utterance has).

    A grouping into a single group is left out. Reads the trace's batches once for each expert with the trace's model, in eval mode.
    Raises ValueError for an unknown `by`.
    """
    asked = (by,) if isinstance(by, str) else tuple(by)
    if unknown := set(asked) - set(BY):
        raise ValueError(f"cannot group a knock-out by {sorted(unknown)}; these exist: {', '.join(BY)}")
    switched = [(one, expert) for one in steerable(trace, separate) for expert in range(one.experts)] if trace.model is not None else []
    if not switched:
        return pd.DataFrame()
    changes = np.stack([_without(trace, one, expert) for one, expert in switched], 1)  # n k
    mean = dict.fromkeys(one for one, _ in switched)
    gates = np.concatenate([_gates(trace, one) for one in mean], axis=1)
    names = pd.DataFrame({"router": [o.router for o, _ in switched], "modality": [o.modality for o, _ in switched]})
    names = names.assign(expert=[expert for _, expert in switched], metric=metric(trace))
    parts = []
    for kind in asked:
        for group, member in _groups(trace, kind):
            chosen = member & np.isfinite(changes).all(1)
            if chosen.any():
                part = names.join(averages(changes[chosen], resamples, seed))
                parts.append(part.assign(by=kind, group=group, gate=_mean(gates[chosen]), utterances=int(chosen.sum())))
    return _ordered(gathered(parts, COLUMNS, run=trace.run, split=trace.split), list(mean))


def _without(trace: Trace, one: Steered, expert: int) -> np.ndarray:
    """Float[n]: by how much the errors grow without an expert, at all keys of its router here."""
    steered = [{k: s for key in one.keys for k, s in without(output.routing, key, expert).items()} for output in trace.outputs]
    return change(trace, steered)


def _gates(trace: Trace, one: Steered) -> np.ndarray:
    """Float[n e]: mean gate of each utterance, over the modalities that are steered together; NaN where nothing was routed."""
    served = {(r.router, r.modality): r.by_utterance for r in routed(trace)}
    keys = [(one.router, trace.outputs[0].routing[key].modality) for key in one.keys]
    empty = np.full((len(trace.examples), one.experts), np.nan)
    stack = np.stack([served.get(key, empty) for key in keys])
    count = np.isfinite(stack).sum(0)
    return np.where(count > 0, np.nansum(stack, axis=0) / count.clip(1), np.nan)


def _mean(gates: np.ndarray) -> np.ndarray:
    """Float[k]: means over utterances, NaN where no utterance has a number."""
    count = np.isfinite(gates).sum(0)
    return np.where(count > 0, np.nansum(gates, axis=0) / count.clip(1), np.nan)


def _groups(trace: Trace, by: str) -> list[tuple[str, np.ndarray]]:
    """(name, Bool[n]) of every group with utterances; nothing where "domain", "label" or "modality" has only one."""
    found = presence(trace) if by == "modality" else grouping(trace, by)
    each = [(name, found.codes == code) for code, name in enumerate(found.names)]
    each = [(name, member) for name, member in each if member.any()]
    return each if by == "all" or len(each) > 1 else []


def presence(trace: Trace) -> Grouping:
    """The utterances by the set of modalities that they have, "text+audio"; -1 for one that has none."""
    modalities = trace.spec.modalities
    there = torch.as_tensor(np.stack([trace.present(m) for m in modalities], 1)).int()  # n m
    sets = subsets(modalities)
    members = torch.tensor([[m in one for m in modalities] for one in sets]).int()  # s m
    same = (there[:, None] == members[None]).all(-1)
    codes = torch.where(same.any(1), same.int().argmax(1), -1)
    return Grouping(codes.numpy(), tuple("+".join(one) for one in sets))


def _ordered(frame: pd.DataFrame, routers: list[Steered]) -> pd.DataFrame:
    """Router by router, expert by expert; the groups stay in their order."""
    place = {(one.router, one.modality): i for i, one in enumerate(routers)}
    keys = [place[key] for key in zip(frame["router"], frame["modality"], strict=True)]
    return frame.assign(place=keys).sort_values(["place", "expert"], kind="stable", ignore_index=True).drop(columns="place")


TABLE = Table(COLUMNS, answer)
