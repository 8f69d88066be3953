"""Which epoch's weights count, and may we argue from that choice?

A selection is a named value; `choose(history, selection, metric)` reads a run's history (step, epoch, split, domain, metric, value) and
returns an epoch. `validation` is the only one we argue from: one checkpoint, chosen on the validation split (which holds source domains
only where others are unseen). `published` is what several public code bases do: the best checkpoint of each metric on the *test* split.
`oracle` takes the one epoch that is best in the unseen domains (Gulrajani & Lopez-Paz 2021, "test-domain validation"). These two place a
number beside others made the same way, and whatever they made is stamped with their `warning`. Each selection sees the rows of its own
split only, so test data cannot reach `validation`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from msaviz.training.metrics import higher_is_better


@dataclass(frozen=True)
class Selection:
    """Choose by the rows of `split`: one epoch for all metrics, or (`per_metric`) one for each. `warning` stamps what it made.

    `over`, where domains were logged: the "whole" split, all its "domains" alike, or the "unseen" ones alone.
    """

    name: str
    split: str
    over: Literal["whole", "domains", "unseen"] = "whole"
    per_metric: bool = False
    warning: str = ""


SELECTIONS: Mapping[str, Selection] = {
    "validation": Selection("validation", "valid", over="domains"),
    "published": Selection(
        "published",
        "test",
        per_metric=True,
        warning="selection 'published': the best epoch of each metric on the test split. It is too good by construction; compare it with "
        "published numbers made the same way, and with nothing else.",
    ),
    "oracle": Selection(
        "oracle",
        "test",
        over="unseen",
        warning="selection 'oracle': the epoch that is best in the unseen domains themselves. It says what a perfect choice of the epoch "
        "would reach, not what a model reaches where it was never measured.",
    ),
}


def named_selection(selection: str | Selection) -> Selection:
    """The selection of that name; ValueError lists those that exist."""
    if isinstance(selection, Selection):
        return selection
    if selection not in SELECTIONS:
        raise ValueError(f"no selection is called {selection!r}; these exist: {', '.join(SELECTIONS)}")
    return SELECTIONS[selection]


def scores(
    history: pd.DataFrame, selection: str | Selection = "validation", metric: str | None = None, *, unseen: Sequence[str] = ()
) -> pd.Series:
    """Epoch -> value of `metric` on the selection's split, averaged over the missing rates logged there ("mae@0.3") and over domains.

    Without `metric`: "mae" if it was logged there, else "weighted_f1". `unseen`: the domains that `oracle` reads; by default those that
    were logged on its split and not on "valid". Epochs with a value that is no number are left out. The series carries the metric's
    name. Raises ValueError where the history holds no such number.
    """
    selection = named_selection(selection)
    rows = history[history["split"] == selection.split]
    names = _names(rows)
    if rows.empty and selection.split == "test":
        raise ValueError(f"selection {selection.name!r} reads the test split of every epoch; train with --set train.log_test=true")
    metric = metric or ("mae" if "mae" in set(names) else "weighted_f1")
    rows = rows[names == metric]
    if rows.empty:
        logged = ", ".join(sorted(set(names))) or "nothing"
        raise ValueError(f"the history has no {metric!r} on the split {selection.split!r}; logged there: {logged}")
    rows = _domains(rows, selection, unseen or set(rows["domain"]) - set(history.loc[history["split"] == "valid", "domain"]))
    value = rows.astype({"value": float}).groupby("epoch")["value"].agg(lambda v: v.mean(skipna=False)).rename(metric)
    value = value[np.isfinite(value)]
    if value.empty:
        raise ValueError(f"{metric!r} on the split {selection.split!r} is no number in any epoch")
    return value


def choose(
    history: pd.DataFrame, selection: str | Selection = "validation", metric: str | None = None, *, unseen: Sequence[str] = ()
) -> int:
    """The epoch with the best `metric` on the selection's split (the earliest of equals).

    A selection that is not `per_metric` ignores which metric is asked for: one checkpoint, chosen by mae (or weighted F1), serves all.
    """
    selection = named_selection(selection)
    value = scores(history, selection, metric if selection.per_metric else None, unseen=unseen)
    return int(value.idxmax() if higher_is_better(str(value.name)) else value.idxmin())


def best_per_metric(history: pd.DataFrame, selection: str | Selection = "published") -> dict[str, float]:
    """Metric -> its value at the epoch chosen for it, on complete input (what was logged without a missing rate, or at rate 0)."""
    selection = named_selection(selection)
    metric = history["metric"].astype(str)
    clean = history[(history["split"] == selection.split) & ~metric.str.contains(r"/|@(?!0(?:\.0*)?$)") & (metric != "score")]
    if clean.empty:
        scores(clean, selection)  # raises, with the remedy
    found = {}
    for name in dict.fromkeys(_names(clean)):
        value = scores(clean, selection, name)
        found[name] = float(value[choose(clean, selection, name)])
    return found


def _domains(rows: pd.DataFrame, selection: Selection, unseen: Collection[str]) -> pd.DataFrame:
    """The rows that the selection averages over: those of the whole split ("all"), of every domain, or of the unseen ones."""
    if selection.over == "unseen":
        rows = rows[rows["domain"].isin(list(unseen)) & (rows["domain"] != "all")]
        if rows.empty:
            raise ValueError(
                f"selection {selection.name!r} needs the history of an unseen domain (train with --set domains.targets=NAME --set "
                "train.log_test=true)"
            )
        return rows
    whole = rows["domain"] == "all"
    wanted = whole if selection.over == "whole" else ~whole
    return rows[wanted] if wanted.any() else rows


def _names(rows: pd.DataFrame) -> pd.Series:
    """The metrics without their missing rate: "mae@0.3" -> "mae"."""
    return rows["metric"].astype(str).str.split("@").str[0]
