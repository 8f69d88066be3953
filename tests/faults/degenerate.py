"""Data at their worst, each as small as can be, and everything that the project does with a run of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matrix import comparison
from planted_results import results_frame

from msaviz import Dataset, Experiment, Run, attribute, evaluate, override, train
from msaviz.catalog import TABLES, VIEWS
from msaviz.data.missing import Subset
from msaviz.data.msa import save
from msaviz.training.protocols import PROTOCOLS
from msaviz.types import Task

SPLITS = ("train", "valid", "test")
WIDTHS = {"speech": 5, "face": 3, "hands": 4}
CLASSES = {"emotion": Task("classes", classes=("a", "b", "c"))}
MANY = {"emotion": Task("classes", classes=tuple(f"class {i}" for i in range(40)))}
Labels = Callable[[np.random.Generator, np.ndarray], np.ndarray]
"""(random numbers, the split of each row) -> labels."""
Values = Callable[[np.ndarray], Any]
"""What the features of a modality become."""


def dataset(
    rows: int | Mapping[str, int] = 6,
    *,
    y: Labels | None = None,
    values: Values = lambda x: x,
    absent: Mapping[str, tuple[str, ...]] | None = None,
    widths: Mapping[str, int] = WIDTHS,
    steps: int = 4,
    domains: int = 2,
    tasks: Mapping[str, Task] | None = None,
) -> Dataset:
    """`rows` of each split with real labels and up to `steps` steps; `absent`: the splits that lack a modality."""
    g = np.random.default_rng(0)
    counts = dict.fromkeys(SPLITS, rows) if isinstance(rows, int) else dict(rows)
    splits = np.repeat(list(counts), list(counts.values()))
    n = len(splits)
    features: dict[str, Any] = {m: np.asarray(values(g.normal(size=(n, steps, width)))) for m, width in widths.items()}
    lengths = {m: np.where(np.isin(splits, (absent or {}).get(m, ())), 0, g.integers(1, steps + 1, n)) for m in widths}
    labels = y(g, splits) if y is not None else g.uniform(-3, 3, n).astype(np.float32)
    domain = np.array([f"domain {i % domains}" for i in range(n)])
    return Dataset.from_arrays(y=labels, lengths=lengths, domain=domain, splits=splits, tasks=tasks, **features)


def unlabelled(*names: str) -> Labels:
    """Real labels, none in these splits."""
    return lambda g, splits: np.where(np.isin(splits, names), np.nan, g.uniform(-3, 3, len(splits))).astype(np.float32)


def holes(x: np.ndarray) -> np.ndarray:
    """NaN in every other row, infinity at the first step of all."""
    x[::2], x[:, 0], x[1::2, :, -1:] = np.nan, np.inf, -np.inf
    return x


def lacking(modalities: tuple[str, ...], *names: str) -> Callable[[], Dataset]:
    """These splits lack these modalities."""
    return lambda: dataset(absent=dict.fromkeys(modalities, names))


DATA: dict[str, Callable[[], Dataset]] = {
    "one row": lambda: dataset(1),
    "two rows": lambda: dataset(2),
    "one row of a class": lambda: dataset(1, y=lambda g, s: g.integers(0, 3, len(s)), tasks=CLASSES),
    "one train row": lambda: dataset({"train": 1, "valid": 6, "test": 6}),
    "one test row": lambda: dataset({"train": 8, "valid": 6, "test": 1}),
    "one class": lambda: dataset(y=lambda g, s: np.zeros(len(s), int), tasks={"emotion": Task("classes", classes=("a",))}),
    "one class of three": lambda: dataset(y=lambda g, s: np.ones(len(s), int), tasks=CLASSES),
    "more classes than rows": lambda: dataset(y=lambda g, s: g.integers(0, 40, len(s)), tasks=MANY),
    "equal labels": lambda: dataset(y=lambda g, s: np.full(len(s), 1.5, np.float32)),
    "labels outside": lambda: dataset(y=lambda g, s: g.uniform(-300, 300, len(s)).astype(np.float32), tasks={"sentiment": Task()}),
    "no labels in test": lambda: dataset(y=unlabelled("test")),
    "no labels in valid": lambda: dataset(y=unlabelled("valid")),
    "no labels in train": lambda: dataset(y=unlabelled("train")),
    "no classes in test": lambda: dataset(y=lambda g, s: np.where(s == "test", -1, g.integers(0, 3, len(s))), tasks=CLASSES),
    "no test": lambda: dataset({"train": 6, "valid": 6}),
    "no valid": lambda: dataset({"train": 6, "test": 6}),
    "one modality": lambda: dataset(widths={"speech": 5}),
    "one feature a modality": lambda: dataset(widths={"speech": 1, "face": 1}),
    "one feature": lambda: dataset(widths={"speech": 1}),
    "one step": lambda: dataset(steps=1),
    "one domain": lambda: dataset(domains=1),
    "a domain a row": lambda: dataset(12, domains=1000),
    "constant": lambda: dataset(values=lambda x: 0 * x + 7),
    "zero": lambda: dataset(values=lambda x: 0 * x),
    "huge": lambda: dataset(values=lambda x: 1e30 * x),
    "nearly infinite": lambda: dataset(values=lambda x: 1e38 * np.sign(x)),
    "denormal": lambda: dataset(values=lambda x: 1e-42 * x),
    "beyond single precision": lambda: dataset(values=lambda x: 1e200 * x),
    "holes": lambda: dataset(values=holes),
    "not one number": lambda: dataset(values=lambda x: np.nan * x),
    "absent in train": lacking(("face",), "train"),
    "absent in test": lacking(("face",), "valid", "test"),
    "absent everywhere": lacking(("face",), *SPLITS),
    "all absent in test": lacking(tuple(WIDTHS), "test"),
    "all absent in train": lacking(tuple(WIDTHS), "train"),
    "all absent everywhere": lacking(tuple(WIDTHS), *SPLITS),
}
REFUSED = {
    "no labels in valid": "no row of 'valid' has a label",
    "no labels in train": "no row of 'train' has a label",
    "no valid": "no 'valid' split",
}
"""What cannot be trained on, and what is said then."""
UNTESTED = {"no test": "no split 'test'"}
"""What cannot be tested on, and what is said then."""
UNREAD = re.compile(r"\bnan\b|\bNaN\b|\binf\b|\bNone\b|\bNaT\b")
"""What no person should have to read."""


def trained(name: str, model: str, folder: Path, **options: Any) -> Run:
    """A run of one epoch, as small as the model goes."""
    source = str(save(DATA[name](), folder / "data.msa"))
    small = {"train.epochs": 1, "model.dim": 8, "train.validation_rates": [0.0, 1.0]}
    return train(override(Experiment(model=model, data=source), {**small, **options}), folder / "run", progress=False)


def measured(run: Run) -> None:
    """Every protocol gives a row a metric; predictions are numbers; what has no number is NaN, never infinite."""
    for protocol in PROTOCOLS:
        if protocol == "domains" and len(run.spec.domains) < 2:
            continue
        frame = evaluate(run, protocol, rates=(0.0, 1.0), progress=False)
        assert len(frame), protocol
        assert not np.isinf(frame[["value", "floor"]].to_numpy(float)).any(), protocol
    for split in run.dataset.splits:
        assert np.isfinite(run.predict(split)).all(), split


def subjects(run: Run) -> dict[str, Any]:
    """What each kind of table is asked of."""
    trace, few = run.observe("test"), run.observe("test", limit=10)
    names = run.spec.modalities
    alone = {m: run.observe("test", missingness=Subset(keep=(m,))) for m in names}
    methods = ("integrated_gradients", "feature_ablation")
    return {
        "trace": trace,
        "sweep": evaluate(run, "missing", rates=(0.0, 1.0), progress=False),
        "history": run.history(),
        "epochs": {1: trace, 2: trace},
        "comparison": comparison(run),
        "results": results_frame(),
        "attributions": {name: attribute(few, name, steps=4, progress=False) for name in methods},
        "conditions": {"whole": trace, "again": trace},
        "subsets": {**alone, "+".join(names): trace},
    }


def answered(run: Run) -> Iterator[tuple[str, pd.DataFrame]]:
    """The name and the answer of every table that a run can be asked."""
    asked = subjects(run)
    for name, table in TABLES.items():
        if table.of != "evolution":
            subject = evaluate(run, "subsets", progress=False) if name == "subset_scores" else asked[table.of]
            yield name, table(subject)


def looked_at(frames: Mapping[str, pd.DataFrame]) -> int:
    """Draw and read every view of these tables; how many there were."""
    views = {name: view for name, view in VIEWS.items() if view.table in frames}
    for name, view in views.items():
        frame = frames[view.table]
        legible(name, view(frame))
        said = view.read(frame)
        assert not UNREAD.search(said), f"{name}: {said}"
    return len(views)


def legible(name: str, figure: go.Figure) -> None:
    """No range of an axis, and no text of a figure, that is not a number or not a word."""
    whole = figure.to_dict()
    for key, axis in whole["layout"].items():
        if key[1:5] == "axis" and axis.get("range") is not None:
            assert np.isfinite([end for end in axis["range"] if not isinstance(end, str)]).all(), f"{name}: {key} {axis['range']}"
    texts = [np.asarray(trace.get("text", ""), dtype=object).tolist() for trace in whole["data"]]
    notes = [note["text"] for note in whole["layout"].get("annotations", [])]
    assert not UNREAD.search(json.dumps([texts, notes], default=str)), name
