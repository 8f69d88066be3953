"""How good is a run, beside the constant-predictor floor? Measured once, then kept in its folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from msaviz.training.domains import PROTOCOL as DOMAINS
from msaviz.training.domains import marked
from msaviz.training.kept import predicted
from msaviz.training.metrics import higher_is_better
from msaviz.training.protocols import compare_runs, evaluate, score
from msaviz.training.run import Run

SHOWN = {
    "mae": "MAE",
    "corr": "Corr",
    "acc2_negpos": "Acc-2 neg/pos",
    "acc2_nonneg": "Acc-2 neg/non-neg",
    "f1_negpos": "F1 neg/pos",
    "f1_nonneg": "F1 neg/non-neg",
    "acc2": "Acc-2",
    "acc3": "Acc-3",
    "acc5": "Acc-5",
    "acc7": "Acc-7",
    "f1": "F1",
    "weighted_f1": "Weighted F1",
    "accuracy": "Accuracy",
    "uar": "UAR",
}
"""How papers print the metrics, in their order; others appear under their own name, after these."""


def evaluated(run: Run, protocol: str, *, split: str = "test", selection: str = "validation", seed: int = 0) -> pd.DataFrame:
    """`evaluate(run, protocol, …)` from kept predictions; `attrs["warnings"]` holds what must be said beside the numbers."""
    if selection != "validation":
        return evaluate(run, protocol, split=split, selection=selection, seed=seed, progress=False)
    return score(predicted(run, protocol, split=split, seed=seed), run)


def ordered(metrics: Iterable[str]) -> list[str]:
    """Known metrics first, in the order that papers print them."""
    found = list(dict.fromkeys(metrics))
    return [m for m in SHOWN if m in found] + [m for m in found if m not in SHOWN]


def shown(metric: str) -> str:
    return SHOWN.get(metric, metric)


def better(metric: str, value: float, floor: float) -> bool:
    """Whether a value beats its floor."""
    return value > floor if higher_is_better(metric) else value < floor


def measured(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of one condition each; without the summaries, whose rate is NaN."""
    return frame[frame["rate"].notna()]


def with_condition(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with a column `condition`: the rate, the subset, the domain, or the name of a summary ("mean", "area", "worst")."""
    rate = frame["rate"].map(lambda r: f"{r:g}")
    named = frame["protocol"].isin(["clean", "subsets"]) | frame["rate"].isna()
    condition = frame["subset"].where(named, rate)
    by_domain = frame["protocol"] == DOMAINS
    return frame.assign(condition=condition.where(~by_domain, frame["domain"]) if by_domain.any() else condition)


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """One protocol's frame as a small table: a row for each condition, the summaries and the floor; a column for each metric.

    Of `domains`: every domain has a floor of its own, and those that the run never saw are marked.
    """
    if (frame["protocol"] == DOMAINS).all():
        return _by_domain(frame)
    name = "rate" if frame["rate"].nunique() > 1 else "modalities"
    wide = with_condition(frame).pivot_table(index="condition", columns="metric", values="value", sort=False, dropna=False)
    wide.loc["floor"] = frame.groupby("metric")["floor"].mean()
    return wide[ordered(wide.columns)].rename_axis(index=name, columns=None)


def _by_domain(frame: pd.DataFrame) -> pd.DataFrame:
    names = frame["domain"].map(lambda d: marked(d, frame.attrs.get("unseen", [])))
    parts = [
        frame.assign(domain=[f"{before}{name}" for name in names]).pivot_table(
            index="domain", columns="metric", values=column, sort=False, dropna=False
        )
        for column, before in (("value", ""), ("floor", "floor: "))
    ]
    wide = pd.concat(parts)
    return wide[ordered(wide.columns)].rename_axis(index="domain", columns=None)


def over_seeds(frame: pd.DataFrame) -> pd.DataFrame:
    """model, condition, metric -> mean, sd (NaN for one run), runs, floor: runs that share a `model` are averaged."""
    groups = with_condition(frame).groupby(["model", "condition", "metric"], sort=False)
    return groups.agg(mean=("value", "mean"), sd=("value", "std"), runs=("value", "size"), floor=("floor", "mean")).reset_index()


def compared(predictions: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The first model against each other one: `compare_runs` with columns `model` and `other`; empty where nothing can be compared."""
    (first, one), *others = predictions.items()
    found = []
    for name, other in others:
        try:
            found.append(compare_runs(one, other).assign(model=first, other=name))
        except ValueError:  # other data: the rows are not the same utterances
            continue
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()
