"""When in a training do the routers settle: how do the experts' loads, and the choices of single tokens, move over the epochs?

`load` is the expert's share of the work (sums to 1; a sparse router's token counts 1/k for each chosen expert, a dense one's its gates),
`low`, `high` its 95 % bootstrap interval over utterances. `switched`: share of the router's tokens whose largest gate is another
expert's than at the kept epoch before, repeated on the rows of its experts; NaN at the first.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from msaviz.interpret import resample
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered
from msaviz.interpret.tokens import Routed, routed, summed
from msaviz.interpret.trace import Trace

COLUMNS = ("run", "split", "epoch", "router", "modality", "expert", "load", "low", "high", "switched")


def answer(traces: Mapping[int, Trace], *, resamples: int = 300, seed: int = 0) -> pd.DataFrame:
    """Every router at every epoch of {epoch: trace}, in the order of the epochs; ValueError for traces of different utterances."""
    parts, before = [], {}
    ordered = dict(sorted(traces.items()))
    check(ordered)
    for epoch, trace in ordered.items():
        now = {(tokens.router, tokens.modality): tokens for tokens in routed(trace)}
        for (router, modality), tokens in now.items():
            part = _loads(tokens, resamples, seed).assign(switched=switched(before.get((router, modality)), tokens))
            parts.append(part.assign(run=trace.run, split=trace.split, epoch=epoch, router=router, modality=modality))
        before = now
    return gathered(parts, COLUMNS)


def check(traces: Mapping[int, Trace]) -> None:
    """Raises ValueError for epochs that do not show the same utterances."""
    seen = {epoch: (trace.split, trace.examples["example"].to_numpy()) for epoch, trace in traces.items()}
    (start, (split, rows)), *rest = seen.items() if seen else [(0, ("", np.zeros(0)))]
    for epoch, (other, found) in rest:
        if other != split or not np.array_equal(found, rows):
            said = f"{len(rows)} of split {split!r} at epoch {start}, {len(found)} of split {other!r} at epoch {epoch}"
            raise ValueError(f"every epoch needs the same utterances in the same order; got {said}")


def _loads(tokens: Routed, resamples: int, seed: int) -> pd.DataFrame:
    """expert, load, low, high."""
    chosen = tokens.gates > 0
    work = tokens.gates if chosen.all() else chosen / chosen.sum(1, keepdims=True).clip(1)  # as in `Routed.load`
    sums, counts = summed(work, tokens.row, tokens.utterances)
    weights = resample.resamples(np.arange(tokens.utterances), resamples, seed)
    drawn = weights @ counts
    drawn = (weights @ sums)[drawn > 0] / drawn[drawn > 0, None]
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return pd.DataFrame({"expert": range(tokens.experts), "load": tokens.load, "low": low, "high": high})


def switched(before: Routed | None, now: Routed) -> float:
    """Share of tokens whose largest gate moved to another expert; NaN without the same tokens before."""
    if before is None or before.gates.shape != now.gates.shape:
        return float("nan")
    return float((before.gates.argmax(1) != now.gates.argmax(1)).mean())


TABLE = Table(COLUMNS, answer, of="epochs")
