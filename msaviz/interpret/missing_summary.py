"""What is each model worth over all missing rates: the mean over the rates and the normalised area under its curve?"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from msaviz.interpret.sweeps import joined, over_seeds
from msaviz.interpret.table import Table

COLUMNS = ("run", "model", "split", "selection", "summary", "metric", "value", "std", "low", "high", "seeds", "floor")
KEYS = ["series", "model", "run", "seed", "split", "selection", "metric"]


def answer(sweep: pd.DataFrame | Iterable[pd.DataFrame], *, protocol: str = "missing") -> pd.DataFrame:
    """`summary` "mean" over the rates, or "area": the trapezoid area divided by the range of rates (the unit of the metric stays).

    Both are taken over the frames of `protocol` for each run first and then averaged over its seeds, so that the interval is
    that of a whole run.
    """
    frame = joined(sweep, protocol).sort_values("rate", kind="stable")
    groups = frame.groupby(KEYS, sort=False, dropna=False)
    mean = groups[["value", "floor"]].mean()
    pieces = [mean.reset_index().assign(summary="mean")]
    rate, before = frame["rate"], groups["rate"].shift()
    step = rate - before
    if step.notna().any():
        areas = {name: step * (frame[name] + groups[name].shift()) / 2 for name in ("value", "floor")}
        total = frame.assign(**areas, step=step).groupby(KEYS, sort=False, dropna=False)[["value", "floor", "step"]].sum()
        area = total[["value", "floor"]].div(total["step"].replace(0, np.nan), axis=0)
        pieces.append(area.dropna(subset="value").reset_index().assign(summary="area"))
    frame = over_seeds(pd.concat(pieces, ignore_index=True), ["split", "selection", "summary", "metric"])
    return frame[list(COLUMNS)]


TABLE = Table(COLUMNS, answer, of="sweep")
