"""How did each loss term and each metric move during training?"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from msaviz.interpret.table import Table

COLUMNS = ("run", "step", "epoch", "split", "domain", "rate", "kind", "metric", "value")
NEEDED = ("step", "split", "metric", "value")
TOTAL = ("loss", "loss/total")
DEFAULTS = {"run": "run", "epoch": np.nan, "domain": "all"}


def answer(history: pd.DataFrame | Iterable[pd.DataFrame], *, points: int = 400) -> pd.DataFrame:
    """The history with at most `points` points a line (means over equal stretches of steps; an epoch's line is short and stays as it is).

    `kind` is "total" (the weighted loss), "term" (an unweighted loss term, "loss/" taken off its name), or "metric".
    A metric at a missing rate, "mae@0.3", is metric "mae" at `rate` .3; elsewhere `rate` is NaN.
    Raises ValueError when a column is missing.
    """
    frames = [history] if isinstance(history, pd.DataFrame) else list(history)
    frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(NEEDED))
    if missing := [name for name in NEEDED if name not in frame.columns]:
        raise ValueError(f"a history needs the columns {missing}; it has {list(frame.columns)}")
    frame = frame.assign(**{name: value for name, value in DEFAULTS.items() if name not in frame.columns})
    frame = frame.assign(domain=frame["domain"].fillna("all"), value=frame["value"].astype(float), epoch=frame["epoch"].astype(float))
    keys = ["run", "split", "domain", "metric"]
    size = frame.groupby(keys, sort=False)["step"].transform("size")
    place = frame.groupby(keys, sort=False).cumcount()
    bin_ = (place * np.minimum(points, size) // size.clip(lower=1)).astype(int)
    groups = frame.assign(bin=bin_).groupby([*keys, "bin"], sort=False)
    frame = groups.agg(step=("step", "max"), epoch=("epoch", "max"), value=("value", "mean")).reset_index()
    name = frame["metric"].astype(str)
    kind = np.where(name.isin(TOTAL), "total", np.where(name.str.startswith("loss/"), "term", "metric"))
    parts = name.str.removeprefix("loss/").str.extract(r"^(?P<metric>.*?)(?:@(?P<rate>[0-9.]+))?$")
    metric = parts["metric"].where(kind != "total", "loss")
    return frame.assign(kind=kind, metric=metric, rate=parts["rate"].astype(float))[list(COLUMNS)]


TABLE = Table(COLUMNS, answer, of="history")
