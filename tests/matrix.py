"""Every model that the catalog finds with a dataset, and with every table and view that it finds: shared by `test_matrix_*.py`.

A file for each dataset, so that several workers share the work.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from planted_evolution import answers
from planted_results import results_frame

from msaviz import Dataset, Experiment, Run, attribute, evaluate, override, train
from msaviz.catalog import TABLES, VIEWS
from msaviz.data.missing import Subset
from msaviz.data.msa import save
from msaviz.types import Task


def arrays(task: str) -> Dataset:
    g = np.random.default_rng(0)
    n = 90
    y = g.uniform(-3, 3, n).astype(np.float32) if task == "regression" else g.integers(0, 3, n)
    sequences = {"speech": g.normal(size=(n, 6, 5)), "gaze": g.normal(size=(n, 9, 3))}
    lengths = {"speech": g.integers(1, 7, n), "gaze": g.integers(0, 10, n)}
    more = {} if task == "regression" else {"tasks": {"emotion": Task("classes", classes=("a", "b", "c"))}}
    domain = np.array(["red", "blue", "green"])[g.integers(0, 3, n)]
    splits = np.repeat(["train", "valid", "test"], n // 3)
    return Dataset.from_arrays(y=y, lengths=lengths, domain=domain, splits=splits, **sequences, **more)


SOURCES = {
    "synthetic": lambda: "synthetic:rows=240,seed=0",
    "own arrays, regression": lambda: arrays("regression"),
    "own arrays, classes": lambda: arrays("classes"),
}


def trained(model: str, source: str, folder: Path) -> Run:
    """A run of one epoch on one of the SOURCES."""
    data = SOURCES[source]()
    if isinstance(data, Dataset):
        data = str(save(data, folder / "data.msa"))
    experiment = override(Experiment(model=model, data=data), {"train.epochs": 1, "model.dim": 8, "train.validation_rates": [0.0]})
    return train(experiment, folder / "run", progress=False)


def comparison(run):
    """A comparison of one model with one objective, the reference: no gain over itself."""
    row = {"model": run.experiment.model_name, "objective": "erm", "protocol": "leave-one-out", "metric": "mae", "runs": 1, "floor": 1.4}
    numbers = {"mean": 1.0, "sd": np.nan, "low": 0.9, "high": 1.1, "gain": np.nan, "gain_low": np.nan, "gain_high": np.nan}
    return pd.DataFrame([{**row, **numbers, "target": target} for target in ("meal", "mean", "worst")])


def check_tables_and_views(run: Run) -> None:
    trace = run.observe("test")
    sweep = evaluate(run, "missing", rates=(0.0, 0.5), progress=False)
    subsets = evaluate(run, "subsets", progress=False)
    subjects = {"trace": trace, "sweep": sweep, "history": run.history(), "epochs": {1: trace, 2: trace}, "comparison": comparison(run)}
    subjects["results"] = results_frame()
    modalities = run.spec.modalities
    alone = {m: run.observe("test", missingness=Subset(keep=(m,)), limit=20) for m in modalities}
    few = run.observe("test", limit=10)
    subjects["attributions"] = {name: attribute(few, name, steps=4) for name in ("integrated_gradients", "feature_ablation")}
    subjects["conditions"] = {"whole": trace, "again": trace}
    subjects["subsets"] = {**alone, "+".join(modalities): trace}
    frames = {name: frame for name, frame in answers().items() if TABLES[name].of == "evolution"}  # the same for every run
    for name, table in TABLES.items():
        if name in frames:
            continue
        subject = subsets if name == "subset_scores" else subjects[table.of]
        frames[name] = table(subject)
        assert tuple(frames[name].columns) == table.columns, name
    assert len(frames["predictions"]) == len(trace.examples)
    for name, view in VIEWS.items():
        assert set(view.needs) <= set(TABLES[view.table].columns), name
        before = frames[view.table].copy()
        assert isinstance(view(frames[view.table]), go.Figure), name
        assert before.equals(frames[view.table]), f"{name} changed its frame"
        if len(before):
            assert len(view.read(before)) > 20, name


def check_protocols(run: Run) -> None:
    frame = evaluate(run, "clean", progress=False)
    assert list(frame.columns) == [
        "run",
        "model",
        "seed",
        "protocol",
        "split",
        "selection",
        "rate",
        "subset",
        "domain",
        "task",
        "metric",
        "value",
        "floor",
    ]
    assert np.isfinite(frame["value"]).all()
    assert frame["floor"].notna().all()
