"""How much does the fusion rely on each contributor, in each domain and at each missing rate?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import numpy as np
import pandas as pd

from msaviz.interpret.contributors import importance
from msaviz.interpret.groups import grouping
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered, long
from msaviz.interpret.trace import Trace
from msaviz.types import JOINT

COLUMNS = ("run", "split", "rate", "domain", "expert", "modality", "value", "standard_error", "examples", "floor")


def answer(trace: Trace | Mapping[float, Trace] | Iterable[tuple[float, Trace]]) -> pd.DataFrame:
    """Mean importance (shares that sum to 1 over `expert`, the contributor's name) with its standard error over utterances.

    Takes one trace (`rate` is NaN) or several as {rate: trace} or [(rate, trace)]. `domain` is "all" and, where there
    are several, each domain. `floor` is the uniform weight 1/k.
    """
    if isinstance(trace, Trace):
        traces: Iterable[tuple[float, Trace]] = [(np.nan, trace)]
    else:
        traces = cast(Mapping[float, Trace], trace).items() if isinstance(trace, Mapping) else trace
    return gathered([_importance(each).assign(rate=rate, run=each.run, split=each.split) for rate, each in traces], COLUMNS)


def _importance(trace: Trace) -> pd.DataFrame:
    """Rows of one trace: the contributors, over all and in each domain."""
    found = importance(trace)  # n k
    if found is None:
        return pd.DataFrame()
    names = trace.outputs[0].contributors
    domains = grouping(trace, "domain")
    member = np.concatenate([np.ones((len(found), 1)), domains.one_hot()], axis=1)  # n g
    groups, member = ("all", *domains.names), member if len(domains.names) > 1 else member[:, :1]
    kept = [name for name, size in zip(groups, member.sum(0), strict=False) if size > 0]
    member = member[:, member.sum(0) > 0]
    size = member.sum(0)[:, None]
    mean = member.T @ found / size
    variance = (member.T @ found**2 / size - mean**2).clip(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.where(size > 1, np.sqrt(variance / (size - 1)), np.nan)
    frame = long(
        {"domain": kept, "expert": names}, value=mean, standard_error=error, examples=np.broadcast_to(size.astype(int), mean.shape)
    )
    last = frame["expert"].str.rpartition("/")[2]
    return frame.assign(modality=last.where(last.isin(list(trace.spec.modalities)), JOINT), floor=1 / len(names))


TABLE = Table(COLUMNS, answer)
