"""What does each router, and the fusion, decide in one condition and in another?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from msaviz.interpret.contributors import importance
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered
from msaviz.interpret.tokens import routed
from msaviz.interpret.trace import Trace

COLUMNS = ("run", "split", "condition", "kind", "router", "modality", "name", "value", "utterances")


def answer(traces: Mapping[str, Trace]) -> pd.DataFrame:
    """Of each {condition: trace}: every expert's mean gate (`kind` "gate") and every contributor's mean importance ("importance").

    Means are over the utterances that were routed at all (`utterances`), each counted once; a router that saw nothing has no rows.
    """
    parts = []
    for condition, trace in traces.items():
        rows = []
        for tokens in routed(trace):
            known = np.isfinite(tokens.by_utterance).all(1)
            means = tokens.by_utterance[known].mean(0)
            rows += [("gate", tokens.router, tokens.modality, f"expert {e}", value, int(known.sum())) for e, value in enumerate(means)]
        found = importance(trace)
        if found is not None:
            names = trace.outputs[0].contributors
            rows += [("importance", "fusion", "joint", name, value, len(found)) for name, value in zip(names, found.mean(0), strict=True)]
        frame = pd.DataFrame(rows, columns=["kind", "router", "modality", "name", "value", "utterances"])
        parts.append(frame.assign(condition=condition, run=trace.run, split=trace.split))
    return gathered(parts, COLUMNS)


TABLE = Table(COLUMNS, answer, of="conditions")
