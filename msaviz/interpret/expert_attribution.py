"""How much of the predictions goes through each expert?

`kind` "gates": Integrated Gradients of the gates, from no expert (all experts together give the prediction, but for what the model says
without any); "conductance": of the change that the input makes on its way from the baseline, what passes through the expert (one level of
experts hands on to the next). `value` is the mean over utterances, `size` the mean absolute value with its 95 % bootstrap interval `low` to
`high`, `share` the size over that of all experts of the router, in all modalities that it serves. An absent modality counts with 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from msaviz.interpret.attributed import groups, means
from msaviz.interpret.expert_flow import ExpertFlow, expert_flow
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered
from msaviz.interpret.trace import Trace
from msaviz.types import Batch

COLUMNS = (
    *("run", "split", "kind", "baseline", "routing", "router", "modality", "expert", "domain"),
    *("value", "size", "share", "low", "high", "utterances"),
)
SILENT = "no expert"
"""The baseline of the gates."""


def answer(
    trace: Trace,
    *,
    kinds: str | Sequence[str] = ("gates", "conductance"),
    baseline: str = "zero",
    routing: str = "frozen",
    train: Sequence[Batch] = (),
    steps: int = 16,
    resamples: int = 300,
    seed: int = 0,
) -> pd.DataFrame:
    """One row for each kind, expert and domain; nothing without a model, or for routers through whose experts nothing flows.

    `baseline` of the conductance: "zero", or "mean" of the batches `train`. Raises ValueError for an unknown kind.
    """
    if trace.model is None or not trace.routers:
        return pd.DataFrame()
    parts = []
    for kind in (kinds,) if isinstance(kinds, str) else kinds:
        flow = expert_flow(trace, kind, baseline=baseline, routing=routing, train=train, steps=steps)
        start = SILENT if kind == "gates" else baseline
        parts.append(_experts(flow, resamples, seed).assign(kind=kind, baseline=start, routing=routing))
    return gathered(parts, COLUMNS, run=trace.run, split=trace.split)


def _experts(flow: ExpertFlow, resamples: int, seed: int) -> pd.DataFrame:
    """All experts in all domains."""
    keys = [key for key, values in flow.values.items() if np.any(values != 0)]
    if not keys:
        return pd.DataFrame()
    names = pd.concat([_names(flow, key) for key in keys], ignore_index=True)
    values = np.concatenate([flow.values[key] for key in keys], 1)  # n k
    parts = []
    for domain, member in groups(flow.trace):
        size, low, high = means(np.abs(values[member]), resamples, seed)
        numbers = {"value": values[member].mean(0), "size": size, "low": low, "high": high}
        part = names.assign(domain=domain, utterances=int(member.sum()), **numbers)
        whole = part.groupby("router")["size"].transform("sum")
        parts.append(part.assign(share=part["size"] / whole.where(whole > 0)))
    return pd.concat(parts, ignore_index=True)


def _names(flow: ExpertFlow, key: str) -> pd.DataFrame:
    """router, modality, expert of one routing key."""
    modality = flow.trace.outputs[0].routing[key].modality
    about = {"router": key.removesuffix(f"/{modality}"), "modality": modality, "expert": np.arange(flow.values[key].shape[1])}
    return pd.DataFrame(about)


TABLE = Table(COLUMNS, answer)
