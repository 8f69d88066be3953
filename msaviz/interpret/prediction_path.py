"""How do the modalities reach the prediction: through which experts, and with what weight?

A flow is what the model itself says that it does, averaged over the utterances: the importance of a contributor times the gates that its
experts have for the utterance. It is a share of the weights, not of the effect (an expert may write large numbers with a small gate).

* importance of contributors with routers of their own ("private/text", or "local/text" for the members of the set "text+audio"): modality
  -> expert by its mean gate over the utterance's tokens -> contributor -> prediction. The importance of a set is split evenly over its
  members.
* one router over a joint vector: modality -> expert in proportion to the coordinates that the expert reads (`Output.masks`; evenly without
  masks) times its gate -> "fused" -> prediction; modalities that the utterance lacks are left out.

`stage` is the level of the source (0 modality, 1 expert, 2 contributor), `kind` that of the target ("expert", "contributor",
"prediction"). What enters a node leaves it. A contributor without a router is reached from its modality at once.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from msaviz.interpret.contributors import importance, members
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered
from msaviz.interpret.tokens import routed
from msaviz.interpret.trace import Trace
from msaviz.types import JOINT

COLUMNS = ("run", "split", "stage", "source", "target", "value", "kind")
LOCAL, FUSED, PREDICTION = "local", "fused", "prediction"
EXPERT, CONTRIBUTOR = "expert", "contributor"
Rows = list[tuple[int, str, str, float, str]]


def answer(trace: Trace) -> pd.DataFrame:
    """The flows above 0, one row an edge; nothing for a model that names neither importance nor a single joint router."""
    gates = {key: r.by_utterance for r in routed(trace) for key in (f"{r.router}/{r.modality}", r.router) if key in trace.routers}
    weights = importance(trace)
    rows = _of_contributors(trace, weights, gates) if weights is not None else _of_joint(trace, gates)
    frame = pd.DataFrame(rows, columns=["stage", "source", "target", "value", "kind"])
    frame = frame.groupby(["stage", "source", "target", "kind"], sort=False, as_index=False)["value"].sum()
    return gathered([frame[frame["value"] > 0]], COLUMNS, run=trace.run, split=trace.split)


def _of_contributors(trace: Trace, weights: np.ndarray, gates: Mapping[str, np.ndarray]) -> Rows:
    """Flows by importance Float[n k]."""
    rows: Rows = []
    for name, weight in zip(trace.outputs[0].contributors, weights.T, strict=True):
        behind = members(name, trace.spec.modalities)
        for modality in behind:
            share = weight / len(behind)
            key = name if name in gates else f"{LOCAL}/{modality}"
            flow = share[:, None] * np.nan_to_num(gates[key]) if key in gates else np.zeros((len(share), 0))
            for expert, value in enumerate(flow.mean(0)):
                rows.append((0, modality, expert_name(key, expert), value, EXPERT))
                rows.append((1, expert_name(key, expert), name, value, CONTRIBUTOR))
            rest = float(share.mean() - flow.mean(0).sum())  # importance of what no expert saw
            if rest > 1e-6 * max(share.mean(), 1e-12):
                rows.append((0, modality, name, rest, CONTRIBUTOR))
        rows.append((2, name, PREDICTION, sum(r[3] for r in rows if r[2] == name and r[4] == CONTRIBUTOR), PREDICTION))
    return rows


def _of_joint(trace: Trace, gates: Mapping[str, np.ndarray]) -> Rows:
    """Flows through a single router over a joint vector."""
    joint = [key for key in trace.routers if trace.outputs[0].routing[key].modality == JOINT]
    if len(trace.routers) != 1 or len(joint) != 1 or joint[0] not in gates:
        return []
    key, modalities = joint[0], trace.spec.modalities
    gate = np.nan_to_num(gates[key])  # n e
    reads = _reads(trace, gate.shape[1])  # e m
    there = np.stack([trace.present(m) for m in modalities], 1)
    shares = _normalised(reads[None] * there[:, None], there[:, None].repeat(len(reads), 1))  # n e m
    rows: Rows = []
    for expert, flow in enumerate((gate[..., None] * shares).mean(0)):
        name = expert_name(key, expert)
        rows += [(0, m, name, value, EXPERT) for m, value in zip(modalities, flow, strict=True)]
        rows.append((1, name, FUSED, float(flow.sum()), CONTRIBUTOR))
    return [*rows, (2, FUSED, PREDICTION, sum(r[3] for r in rows if r[2] == FUSED), PREDICTION)]


def _reads(trace: Trace, experts: int) -> np.ndarray:
    """Float[e m]: how many coordinates of each modality an expert reads; all alike without masks."""
    masks = trace.outputs[0].masks
    if not masks:
        return np.ones((experts, len(trace.spec.modalities)))
    return np.stack([masks[m].sum(1).double().numpy() if m in masks else np.zeros(experts) for m in trace.spec.modalities], 1)


def _normalised(weights: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Shares over the last axis; where no weight is, evenly over what is there, and over all where nothing is."""
    even = np.where(there.any(-1, keepdims=True), there, True).astype(np.float64)
    weights = np.where(weights.sum(-1, keepdims=True) > 0, weights, even)
    return weights / weights.sum(-1, keepdims=True)


def expert_name(key: str, expert: int) -> str:
    """ "private/text · expert 1"."""
    return f"{key} · expert {expert}"


TABLE = Table(COLUMNS, answer)
