"""How does a run do when parts of its input are missing, beside the best constant guess?

A protocol is a list of conditions, each a missingness with its rate and the modalities that are given. Masks depend on (seed, example,
modality) alone and are nested in the rate, so every run meets the same ones. `evaluate` gives one tidy row a condition and metric, with
the constant-predictor floor beside it (`domains` asks by domain instead, see `msaviz.training.domains`); `compare_runs` says whether one
model beats another by more than chance.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from msaviz.data.missing import Corruption, Noise, Nothing, RandomFrames, Span, Spans, WholeModality
from msaviz.terminal import visible
from msaviz.training import domains
from msaviz.training.head import about
from msaviz.training.metrics import correlation, floor, headline, higher_is_better, metrics, paired_bootstrap, per_example
from msaviz.training.selection import Selection, best_per_metric, named_selection
from msaviz.training.validation import every_set
from msaviz.types import Task

RATES = tuple(round(0.1 * i, 1) for i in range(10))
COLUMNS = ["run", "model", "seed", "protocol", "split", "selection", "rate", "subset", "domain", "task", "metric", "value", "floor"]
PREDICTIONS = ["run", "model", "seed", "protocol", "split", "rate", "subset", "domain", "task", "example", "label", "prediction"]


class LeakWarning(UserWarning):
    """A result that looks better than it is, because what was removed is still there."""


@dataclass(frozen=True)
class Condition:
    """What is done to the split: a missingness, its rate, and the modalities that are given ("text+audio")."""

    rate: float
    subset: str
    missingness: Corruption


def _sweep(kind: Callable[[float], Corruption]) -> Callable[[Sequence[str], Sequence[float]], list[Condition]]:
    def conditions(modalities: Sequence[str], rates: Sequence[float]) -> list[Condition]:
        return [Condition(float(r), "+".join(modalities), kind(r)) for r in rates]

    return conditions


def _clean(modalities: Sequence[str], rates: Sequence[float]) -> list[Condition]:
    return [Condition(0.0, "+".join(modalities), Nothing())]


def _subsets(modalities: Sequence[str], rates: Sequence[float]) -> list[Condition]:
    """All 2^M - 1 sets of modalities, small ones first; the full set is last."""
    return [Condition(0.0, name, missingness) for name, missingness in every_set(modalities).items()]


PROTOCOLS: Mapping[str, Callable[[Sequence[str], Sequence[float]], list[Condition]]] = {
    "clean": _clean,
    "missing": _sweep(lambda r: RandomFrames(rate=r)),
    "subsets": _subsets,
    "modality": _sweep(lambda r: WholeModality(rate=r)),
    "span": _sweep(lambda r: Span(rate=r)),
    "structured": _sweep(lambda r: Spans(rate=r)),
    "noise": _sweep(lambda r: Noise(scale=r)),
    domains.PROTOCOL: _clean,
}
"""Name -> conditions from (modalities, rates). The sweeps beside `missing` remove (or blur) in another way, over the same rates."""
WITHIN = ("missing", "span", "structured")  # protocols that remove steps of a sequence and leave its neighbours


def conditions(protocol: str, modalities: Sequence[str], rates: Sequence[float] = RATES) -> list[Condition]:
    """The conditions of a protocol; ValueError for an unknown name or rates outside [0, 1]."""
    if protocol not in PROTOCOLS:
        raise ValueError(f"no protocol is called {protocol!r}; these exist: {', '.join(PROTOCOLS)}")
    if not len(rates) or not all(0 <= r <= 1 for r in rates):
        raise ValueError(f"missing rates must lie in [0, 1] and there must be one at least; got {list(rates)}")
    return PROTOCOLS[protocol](tuple(modalities), sorted(set(rates)))


def evaluate_predictions(
    run: Any,
    protocol: str = "missing",
    *,
    split: str = "test",
    rates: Sequence[float] = RATES,
    seed: int = 0,
    task: str = "",
    progress: bool = True,
) -> pd.DataFrame:
    """One row a condition and utterance (PREDICTIONS); for classes `prediction` is the arg max (-1 where a score is not finite).

    `seed` is that of the masks, `task` the head ("": the main one). `attrs["warnings"]` lists what makes the result look better than it is
    (also raised as LeakWarning).
    """
    run = about(run, task)
    todo = conditions(protocol, run.spec.modalities, rates)
    if split not in run.dataset.splits:
        raise ValueError(f"{run.dataset.name} has no split {split!r}; it has {', '.join(run.dataset.splits)}")
    told = domains.told(run, split) if protocol == domains.PROTOCOL else {}
    notes = _leaks(run, protocol)
    label = np.asarray(run.dataset.splits[split].labels[run.spec.target])
    label = label.astype(float) if label.dtype.kind == "f" else label  # what is kept as text is then read back to the bit
    frames = []
    for one in tqdm(todo, desc=f"{visible(run.name)}: {protocol}", unit="condition", disable=not progress, leave=False):
        prediction = _shown(run.predict(split, one.missingness, seed), len(label), run.spec.task)
        columns = {"rate": one.rate, "subset": one.subset, "domain": domains.domain_names(run, split), "task": run.spec.target}
        frames.append(pd.DataFrame({**columns, "example": np.arange(len(label)), "label": label, "prediction": prediction}))
    frame = pd.concat(frames, ignore_index=True).assign(**_origin(run, protocol, split))[PREDICTIONS]
    frame.attrs |= {"warnings": notes, "task": asdict(run.spec.task), **told}
    return frame


def evaluate(
    run: Any,
    protocol: str = "clean",
    *,
    split: str = "test",
    selection: str = "validation",
    rates: Sequence[float] = RATES,
    seed: int = 0,
    task: str = "",
    progress: bool = True,
) -> pd.DataFrame:
    """The protocol's table (COLUMNS): one row a condition and metric, then the summaries, whose `rate` is NaN.

    `subset` "mean": over the rates of a sweep, or over the incomplete subsets (of `subsets`); "area": under the curve over the rates
    (trapezoids), divided by their range. `floor` is what the best constant reaches. `domain` is "all" but for `domains`, which has a row
    a domain, then "mean" and "worst" over the unseen ones (named in `attrs["unseen"]`). `published` (for `clean` only) and `oracle` (for
    `domains` only) read the history of the test split. `attrs["warnings"]` holds what must be said beside the numbers. `task`: the head
    that is measured ("": the main one); every head is measured with the checkpoint that the main one chose.
    """
    chosen = named_selection(selection)
    if chosen.split == "test":
        if about(run, task) is not run:
            raise ValueError(f"selection {chosen.name!r} is for the main task {run.spec.target!r}; use selection 'validation' for {task!r}")
        return _from_history(run, protocol, split, chosen)
    frame = evaluate_predictions(run, protocol, split=split, rates=rates, seed=seed, task=task, progress=progress)
    return score(frame, run, selection=chosen.name)


def score(predictions: pd.DataFrame, run: Any, *, selection: str = "validation") -> pd.DataFrame:
    """`evaluate`'s table from the frame of `evaluate_predictions` (which costs nothing to read twice)."""
    first = predictions.iloc[0]
    run = about(run, first["task"])
    task = run.spec.task
    if first["protocol"] == domains.PROTOCOL:
        frame = domains.domain_scores(predictions, predictions.attrs, task)
    else:
        rows = []
        for (rate, subset), part in predictions.groupby(["rate", "subset"], sort=False):
            found = metrics(part["prediction"].to_numpy(), part["label"].to_numpy(), task)
            rows += [{"rate": rate, "subset": subset, "metric": name, "value": value} for name, value in found.items()]
        frame = pd.DataFrame(rows)
        frame = pd.concat([frame, *_summaries(frame, "+".join(run.spec.modalities))], ignore_index=True)
        frame = frame.assign(domain=domains.WHOLE, floor=frame["metric"].map(_floor(run, first["split"])))
    told = {name: first[name] for name in ("run", "model", "seed", "protocol", "split", "task")}
    frame = frame.assign(**told, selection=selection)[COLUMNS]
    frame.attrs |= {"warnings": list(predictions.attrs.get("warnings", [])), "unseen": list(predictions.attrs.get("unseen", []))}
    return frame


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation (n - 1; NaN for one run) over the runs of each model, condition and metric; `runs` says how many."""
    keys = ["model", "protocol", "split", "selection", "rate", "subset", "domain", "task", "metric"]
    groups = frame.groupby(keys, sort=False, dropna=False)
    return groups.agg(mean=("value", "mean"), std=("value", "std"), runs=("value", "size"), floor=("floor", "mean")).reset_index()


def compare_runs(
    a: pd.DataFrame, b: pd.DataFrame, *, task: Task | None = None, which: Sequence[str] = (), samples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Does model A beat model B? One row a metric, with paired bootstrap intervals (95%) over the test utterances.

    `a`, `b`: frames of `evaluate_predictions`, several runs (seeds) of each model put together with pd.concat; scores are averaged over
    runs and conditions for each utterance first. `difference` is A - B in the metric's unit, in [low, high]; `improvement` is in percent
    of B and positive where A is better; `wins` says that A is better and the interval excludes zero. `which`: mae, an accuracy, or corr;
    by default the task's headline. `task` is read from the frames' attrs; a frame that came from a file has lost them.
    """
    if task is None and "task" not in a.attrs:
        raise ValueError("these frames do not say what their labels are (attrs['task'] is gone): give task=, e.g. task=run.spec.task")
    task = task or Task(**a.attrs["task"])
    (one, y), (two, other) = _wide(a), _wide(b)
    same = np.array_equal(y.astype(np.float32), other.astype(np.float32), equal_nan=True)  # a frame from a CSV holds doubles
    if not one.columns.equals(two.columns) or not same:
        raise ValueError(f"the two models met other utterances or labels ({one.shape[1]} and {two.shape[1]} utterances)")
    tested = [set(w.index.droplevel(["run", "seed"])) for w in (one, two)]
    if tested[0] != tested[1]:
        raise ValueError(f"the two models were not tested under the same conditions; only one has {sorted(tested[0] ^ tested[1])}")
    which = which or (("accuracy",) if task.kind == "classes" else headline(task))
    return pd.DataFrame([_compared(m, one.to_numpy(), two.to_numpy(), y, task, {"samples": samples, "seed": seed}) for m in which])


def _compared(metric: str, one: np.ndarray, two: np.ndarray, y: np.ndarray, task: Task, options: dict[str, Any]) -> dict[str, Any]:
    """A row of `compare_runs`; `one` and `two` are Float[runs x conditions, n]."""
    if metric == "corr":
        options = {**options, "label": y, "metric": correlation}
        known = ~np.isnan(y)
        means = [float(correlation(v[:, known], y[known]).mean()) for v in (one, two)]
    else:
        one, two = (per_example(v, y, metric, task) for v in (one, two))
        means = [float(np.nanmean(v)) for v in (one, two)]
    gap, share = (paired_bootstrap(one, two, relative=r, **options) for r in (False, True))
    better = 1 if higher_is_better(metric) else -1
    bounds = sorted((better * share.low, better * share.high))
    return {
        "metric": metric,
        "a": means[0],
        "b": means[1],
        "difference": gap.mean,
        "low": gap.low,
        "high": gap.high,
        "improvement": better * share.mean,
        "improvement_low": bounds[0],
        "improvement_high": bounds[1],
        "wins": gap.excludes_zero and better * gap.mean > 0,
    }


def _wide(frame: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """(predictions, one row a run and condition and one column an utterance; Float[n] labels); ValueError where something is missing."""
    try:
        wide = frame.set_index(["run", "seed", "protocol", "rate", "subset", "example"])["prediction"].unstack("example")
    except ValueError:
        raise ValueError("an utterance occurs twice in one run and condition; give every run its own name") from None
    counts = wide.groupby(["run", "seed"]).size()
    if wide.isna().any(axis=None) or counts.nunique() != 1:
        raise ValueError(f"the runs were not all tested on the same utterances and conditions; conditions a run: {counts.to_dict()}")
    label = frame.groupby("example")["label"].first().to_numpy(float)
    return wide, label


def _leaks(run: Any, protocol: str) -> list[str]:
    leaky = sorted(set(run.dataset.contextual) & set(run.spec.modalities)) if protocol in WITHIN else []
    if not leaky:
        return []
    note = (
        f"the vectors of {', '.join(leaky)} come from a contextual encoder: each still holds the whole sentence, so the protocol "
        f"{protocol!r} removes little of it (on MOSI at r = .9 a correlation of .59 is left instead of .17). Use token ids, masked "
        "before the encoder."
    )
    warnings.warn(note, LeakWarning, stacklevel=3)
    return [note]


def _shown(prediction: np.ndarray, rows: int, task: Task) -> np.ndarray:
    """One number an utterance: the prediction, or the arg max of the class scores."""
    prediction = np.asarray(prediction)
    if len(prediction) != rows or prediction.ndim != (2 if task.kind == "classes" else 1):
        raise ValueError(f"predictions are {prediction.shape} for {rows} utterances of a {task.kind} task")
    if task.kind == "classes":
        return np.where(np.isfinite(prediction).all(-1), prediction.argmax(-1), -1)
    return prediction.astype(float)


def _floor(run: Any, split: str) -> dict[str, float]:
    target = run.spec.target
    train = run.dataset.splits["train"].labels[target] if "train" in run.dataset.splits else []
    return floor(train, run.dataset.splits[split].labels[target], run.spec.task)


def _origin(run: Any, protocol: str, split: str) -> dict[str, Any]:
    return {"run": run.name, "model": run.model_name, "seed": run.experiment.seed, "protocol": protocol, "split": split}


def _from_history(run: Any, protocol: str, split: str, selection: Selection) -> pd.DataFrame:
    """Rows of `evaluate`'s table that were chosen in the history of the test split: the best of each metric, or one epoch by domain."""
    by_domain = selection.over == "unseen"
    wanted = domains.PROTOCOL if by_domain else "clean"
    if protocol != wanted or split != selection.split:
        raise ValueError(f"selection {selection.name!r} is for protocol {wanted!r} on {selection.split!r}; got {protocol!r} on {split!r}")
    if by_domain:
        frame = domains.logged_scores(run, split, selection)
    else:
        frame = pd.DataFrame(best_per_metric(run.history(), selection).items(), columns=["metric", "value"])
        said = {"rate": 0.0, "subset": "+".join(run.spec.modalities), "domain": domains.WHOLE}
        frame = frame.assign(**said, floor=frame["metric"].map(_floor(run, split)))
    frame = frame.assign(**_origin(run, protocol, split), task=run.spec.target, selection=selection.name)[COLUMNS]
    frame.attrs |= {"warnings": [selection.warning], "unseen": list(domains.unseen_domains(run)) if by_domain else []}
    return frame


def _summaries(frame: pd.DataFrame, full: str) -> list[pd.DataFrame]:
    """The rows "mean" and "area" (see `evaluate`); none for a single condition."""
    found = []
    swept = frame["rate"].nunique() > 1
    part = frame if swept else frame[frame["subset"] != full]
    if len(part):
        mean = part.groupby("metric", sort=False)["value"].agg(lambda v: v.mean(skipna=False))
        found.append(pd.DataFrame({"rate": np.nan, "subset": "mean", "metric": mean.index, "value": mean.to_numpy()}))
    if swept:
        curve = part.pivot(index="rate", columns="metric", values="value")[list(dict.fromkeys(part["metric"]))]
        area = np.trapezoid(curve.to_numpy(), curve.index.to_numpy(), axis=0) / (curve.index[-1] - curve.index[0])
        found.append(pd.DataFrame({"rate": np.nan, "subset": "area", "metric": curve.columns, "value": area}))
    return found
