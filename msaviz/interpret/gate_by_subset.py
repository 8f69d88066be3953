"""Which experts work when only some modalities are there?

`gate` is the mean over the utterances that the router routed (one whose input is absent routes nothing and counts nowhere), `low`, `high`
its 95 % bootstrap interval over them. The gates of a router sum to 1 in each subset.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from msaviz.interpret import resample
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered, long
from msaviz.interpret.tokens import Routed, routed
from msaviz.interpret.trace import Trace
from msaviz.types import JOINT

COLUMNS = ("run", "split", "subset", "router", "expert", "gate", "low", "high", "utterances")
GLOBAL = "global"
"""The router whose experts are the output's contributors."""


def answer(traces: Mapping[str, Trace], *, resamples: int = 300, seed: int = 0) -> pd.DataFrame:
    """Mean gates of every router of whole utterances, for {"text+audio": what the model did with these alone}, in their order.

    `router` as the output names it, "local/text" or "global"; `expert`: its number, of "global" the contributor's name. Routers of single
    tokens have no rows.
    """
    parts = []
    for subset, trace in traces.items():
        names = trace.outputs[0].contributors if trace.outputs else ()
        for tokens in routed(trace):
            if tokens.time is None:
                part = _gates(tokens, names, resamples, seed)
                parts.append(part.assign(run=trace.run, split=trace.split, subset=subset))
    return gathered(parts, COLUMNS)


def _gates(tokens: Routed, contributors: tuple[str, ...], resamples: int, seed: int) -> pd.DataFrame:
    there = np.isfinite(tokens.by_utterance[:, 0])
    gates = tokens.by_utterance[there]
    means = resample.resamples(np.arange(len(gates)), resamples, seed) @ gates / len(gates)
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    named = tokens.router == GLOBAL and len(contributors) == tokens.experts
    experts = contributors if named else [str(i) for i in range(tokens.experts)]
    router = tokens.router if tokens.modality == JOINT else f"{tokens.router}/{tokens.modality}"
    return long({"expert": experts}, gate=gates.mean(0), low=low, high=high).assign(router=router, utterances=len(gates))


TABLE = Table(COLUMNS, answer, of="subsets")
