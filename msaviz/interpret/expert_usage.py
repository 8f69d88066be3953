"""Which expert is used for which modality, domain, label and time?

`gate` is the mean gate (sums to 1 over the experts), `selected` the share of tokens that give the expert any weight,
`top` the share of tokens whose largest gate is this expert's (sums to 1).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from msaviz.interpret.groups import KINDS, grouping
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered, long
from msaviz.interpret.tokens import TENTHS, Routed, routed, summed
from msaviz.interpret.trace import Trace

COLUMNS = ("run", "split", "router", "modality", "expert", "by", "group", "metric", "value", "tokens")
METRICS = ("gate", "selected", "top")
BY = (*KINDS, "time")


def answer(trace: Trace, *, by: str | Sequence[str] = BY) -> pd.DataFrame:
    """Expert usage by "all", "domain", "label" (binned) or "time" (tenths of the utterance and "summary"); several may be asked at once.

    Shares lie in [0, 1]; `tokens` counts the routed tokens behind a value. Raises ValueError for an unknown `by`.
    """
    asked = (by,) if isinstance(by, str) else tuple(by)
    if unknown := set(asked) - set(BY):
        raise ValueError(f"cannot group experts by {sorted(unknown)}; these exist: {', '.join(BY)}")
    parts = [_usage(tokens, trace, kind) for tokens in routed(trace) for kind in asked]
    return gathered(parts, COLUMNS, run=trace.run, split=trace.split)


def _usage(tokens: Routed, trace: Trace, by: str) -> pd.DataFrame:
    """Rows of one router, grouped one way; groups without a token are left out."""
    codes, names = (tokens.tenth, TENTHS) if by == "time" else _spread(tokens, trace, by)
    top = tokens.gates.argmax(1)[:, None] == np.arange(tokens.experts)
    values = np.concatenate([tokens.gates, tokens.gates > 0, top], axis=1)
    sums, counts = summed(values, codes, len(names))
    seen = counts > 0
    means = (sums[seen] / counts[seen, None]).reshape(int(seen.sum()), len(METRICS), tokens.experts)
    axes = {"group": [name for name, any_ in zip(names, seen, strict=True) if any_], "metric": METRICS, "expert": range(tokens.experts)}
    frame = long(axes, value=means, tokens=np.broadcast_to(counts[seen, None, None].astype(int), means.shape))
    return frame.assign(router=tokens.router, modality=tokens.modality, by=by)


def _spread(tokens: Routed, trace: Trace, by: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The group of each token: that of its utterance."""
    group = grouping(trace, by)
    return group.codes[tokens.row], group.names


TABLE = Table(COLUMNS, answer)
