"""What is each modality worth, and do modalities say the same (redundancy) or more together than apart (synergy)?

Exact Shapley values (`kind` "value") and Shapley interaction indices ("interaction") of all sets of modalities. `value` is the mean (signs
of predictions cancel), `size` the mean absolute one. `synergy` is the mean with the sign of v(all) - v(nothing): how far it moves the
prediction onwards; of an interaction > 0 is synergy and < 0 redundancy; those of the values add up to the mean |v(all) - v(nothing)|.
95 % bootstrap intervals over utterances. An utterance that lacks a member of a part counts with 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from msaviz.interpret.attributed import groups, means
from msaviz.interpret.coalitions import coalitions
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered
from msaviz.interpret.trace import Trace
from msaviz.types import Batch

COLUMNS = (
    *("run", "split", "baseline", "routing", "domain", "part", "kind", "value", "low", "high", "size", "size_low", "size_high"),
    *("synergy", "synergy_low", "synergy_high", "utterances"),
)
VALUE, INTERACTION = "value", "interaction"


def answer(
    trace: Trace, *, baseline: str = "missing", routing: str = "live", train: Sequence[Batch] = (), resamples: int = 300, seed: int = 0
) -> pd.DataFrame:
    """One row for each domain and part ("text", "text+audio", …); nothing for a trace without a model.

    What is outside a set is missing, or shows the `baseline` ("zero", or "mean" of the batches `train`).
    """
    if trace.model is None:
        return pd.DataFrame()
    found = coalitions(trace, baseline=baseline, routing=routing, train=train)
    parts = {(m,): (VALUE, values) for m, values in found.shapley.items()}
    parts |= {part: (INTERACTION, values) for part, values in found.interactions.items()}
    names = pd.DataFrame({"part": ["+".join(part) for part in parts], "kind": [kind for kind, _ in parts.values()]})
    values = np.stack([values for _, values in parts.values()], 1)  # n k
    sign = np.sign(found.values[:, -1] - found.values[:, 0])[:, None]
    frames = []
    for domain, member in groups(trace):
        kinds = {"value": values, "size": np.abs(values), "synergy": sign * values}
        numbers = {name: means(one[member], resamples, seed) for name, one in kinds.items()}
        frames.append(names.assign(domain=domain, utterances=int(member.sum()), **_columns(numbers)))
    return gathered(frames, COLUMNS, run=trace.run, split=trace.split, baseline=baseline, routing=routing)


def _columns(numbers: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """The interval of `value` is called low and high, those of the others after them."""
    found = {}
    for name, (mean, low, high) in numbers.items():
        before = "" if name == "value" else f"{name}_"
        found |= {name: mean, f"{before}low": low, f"{before}high": high}
    return found


TABLE = Table(COLUMNS, answer)
