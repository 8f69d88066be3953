"""How does a run do in each domain, and in those that it never saw?

The protocol `domains`: complete input, one row a domain and metric, then the summaries "mean" and "worst" over the unseen domains (over all
of them where none is unseen). The floor is the constant of the train split, measured in that domain; the summaries' floors are the same
summaries of those floors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from msaviz.data.domains import roles
from msaviz.training.metrics import floor, higher_is_better, metrics
from msaviz.training.selection import Selection, choose
from msaviz.types import Task

PROTOCOL = "domains"
WHOLE = "all"
"""The `domain` of what was measured over a whole split."""
SUMMARIES = ("mean", "worst")


def domain_names(run: Any, split: str) -> np.ndarray:
    """Str[n]: the domain of each row of a split."""
    return np.asarray(run.spec.domains, dtype=object)[np.asarray(run.dataset.splits[split].domain)]


def unseen_domains(run: Any) -> tuple[str, ...]:
    """The domains that the run never learnt from; none where it holds none out."""
    options = run.experiment.domains
    return roles(run.spec.domains, options.sources, options.targets)[1] if options.active else ()


def told(run: Any, split: str) -> dict[str, Any]:
    """What must be kept beside the predictions to score them: `unseen` domains, and `floor` by domain and metric.

    Raises ValueError where the data have one domain only.
    """
    if len(run.spec.domains) < 2:
        raise ValueError(f"protocol {PROTOCOL!r} needs several domains; {run.dataset.name} has one ({run.spec.domains[0]!r})")
    names, target = domain_names(run, split), run.spec.target
    label = np.asarray(run.dataset.splits[split].labels[target])
    train = run.dataset.splits["train"].labels[target] if "train" in run.dataset.splits else []
    present = [d for d in run.spec.domains if (names == d).any()]
    unseen = [d for d in unseen_domains(run) if d in present]
    return {"unseen": unseen, "floor": {d: floor(train, label[names == d], run.spec.task) for d in present}}


def domain_scores(predictions: pd.DataFrame, facts: Mapping[str, Any], task: Task) -> pd.DataFrame:
    """rate, subset, domain, metric, value, floor of the frame of `evaluate_predictions(run, "domains")`; `facts`: see `told`."""
    found = {
        name: metrics(part["prediction"].to_numpy(), part["label"].to_numpy(), task)
        for name, part in predictions.groupby("domain", sort=False)
    }
    ordered = {name: found[name] for name in facts["floor"]}
    return _frame(ordered, facts, predictions["subset"].iloc[0])


def logged_scores(run: Any, split: str, selection: Selection) -> pd.DataFrame:
    """The same frame from the history of the test split, at the epoch that `selection` chooses."""
    history, facts = run.history(), told(run, split)
    epoch = choose(history, selection, unseen=facts["unseen"])
    rows = history[(history["split"] == split) & (history["epoch"] == epoch) & history["domain"].isin(list(facts["floor"]))]
    found = {str(name): dict(zip(part["metric"], part["value"], strict=True)) for name, part in rows.groupby("domain")}
    facts["floor"] = {name: values for name, values in facts["floor"].items() if name in found}
    return _frame({name: found[name] for name in facts["floor"]}, facts, "+".join(run.spec.modalities))


def _frame(found: Mapping[str, Mapping[str, float]], facts: Mapping[str, Any], subset: str) -> pd.DataFrame:
    """One row a domain and metric, then the summaries."""
    rows = [
        {"rate": 0.0, "subset": subset, "domain": name, "metric": metric, "value": value, "floor": facts["floor"][name][metric]}
        for name, values in found.items()
        for metric, value in values.items()
    ]
    frame = pd.DataFrame(rows)
    part = frame[frame["domain"].isin(facts["unseen"] or list(found))]
    for summary in SUMMARIES:
        for metric, of in part.groupby("metric", sort=False):
            both = {name: float(summarised(of[name].to_numpy(), str(metric), summary)) for name in ("value", "floor")}
            rows.append({"rate": np.nan, "subset": subset, "domain": summary, "metric": metric, **both})
    return pd.DataFrame(rows)


def summarised(values: np.ndarray, metric: str, summary: str, axis: int = 0) -> np.ndarray:
    """ "mean" or "worst" (by the metric's own direction) over an axis; NaN where any value is."""
    if summary == "mean":
        return values.mean(axis)
    return values.min(axis) if higher_is_better(metric) else values.max(axis)


def marked(domain: str, unseen: Sequence[str]) -> str:
    """A domain's name as tables print it: "meal (unseen)"."""
    return f"{domain} (unseen)" if domain in unseen else domain
