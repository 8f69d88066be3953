"""How do the frames of a protocol, one a run, become one line a model, with its spread over seeds?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

NEEDED = ("run", "model", "seed", "protocol", "split", "selection", "rate", "subset", "metric", "value", "floor")

SUMMARIES = ("mean", "area")
"""What the `subset` of a protocol's own summary rows says (their `rate` is NaN): they are no condition, and are left out here."""


def joined(sweep: pd.DataFrame | Iterable[pd.DataFrame], protocol: str) -> pd.DataFrame:
    """The rows of one protocol, with a column `series`: the runs that differ in their seed only.

    Raises ValueError when a column is missing (all of them are named).
    """
    frames = [sweep] if isinstance(sweep, pd.DataFrame) else list(sweep)
    frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(NEEDED))
    if missing := [name for name in NEEDED if name not in frame.columns]:
        raise ValueError(f"the frame of a protocol needs the columns {missing}; it has {list(frame.columns)}")
    summary = frame["rate"].isna() & frame["subset"].isin(SUMMARIES)
    frame = frame[(frame["protocol"] == protocol) & ~summary].reset_index(drop=True)
    return frame.assign(series=_series(frame))


def _series(frame: pd.DataFrame) -> list[str]:
    """The name that runs of one model share; where seeds collide (two ablations of one model) names tell them apart, then each run."""
    runs = frame[["run", "model", "seed"]].drop_duplicates()
    names: dict[tuple, str] = {}
    for model, members in runs.groupby("model", sort=False):
        stems = [_stem(str(run), seed) for run, seed in zip(members["run"], members["seed"], strict=True)]
        for candidate in ([str(model)] * len(members), stems, [str(run) for run in members["run"]]):
            names.update(zip(members.itertuples(index=False, name=None), candidate, strict=True))
            if not pd.DataFrame({"name": candidate, "seed": members["seed"].to_numpy()}).duplicated().any():
                break
    return [names[key] for key in frame[["run", "model", "seed"]].itertuples(index=False, name=None)]


def _stem(run: str, seed: object) -> str:
    """ "derl-slim-seed3" -> "derl-slim" for seed 3."""
    return re.sub(rf"[-_. ]*(seed|s)?[-_. ]*{re.escape(str(seed))}$", "", run) or run


def over_seeds(frame: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Mean over seeds with standard deviation, 95 % t interval of the mean, number of seeds and mean floor.

    `run` becomes the runs' common name. Deviation and interval are NaN for a single seed: one run says nothing of its spread.
    """
    from scipy.stats import t

    groups = frame.groupby(["series", "model", *keys], sort=False, dropna=False)
    table = groups.agg(value=("value", "mean"), std=("value", "std"), seeds=("run", "nunique"), floor=("floor", "mean")).reset_index()
    seeds = table["seeds"].to_numpy()
    half = t.ppf(0.975, np.maximum(seeds - 1, 1)) * table["std"] / np.sqrt(seeds)
    return table.assign(run=table["series"], low=table["value"] - half, high=table["value"] + half)
