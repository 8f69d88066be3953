"""Every table of a planted trace, made once."""

import importlib.util
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import pandas as pd
import pytest
import torch
from planted_evolution import answers
from planted_results import results_frame

from msaviz.catalog import TABLES
from msaviz.data.load import load
from msaviz.interpret.attribution import attribute
from msaviz.interpret.trace import observe
from msaviz.models.derl import Derl


@pytest.fixture(scope="session")
def planted():
    if "planted_trace" not in sys.modules:
        path = Path(__file__).parents[1] / "interpret" / "planted_trace.py"
        spec = importlib.util.spec_from_file_location("planted_trace", path)
        sys.modules["planted_trace"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules["planted_trace"]


def comparison() -> pd.DataFrame:
    """Of midg, mmd gains 8 % over ERM on average, and nothing on the worst domain."""
    rows = []
    for objective, target in product(("erm", "mmd"), ("film", "mean", "worst")):
        gain = float("nan") if objective == "erm" else 8.0 * (target != "worst")
        mean = 0.9 if objective == "erm" else 0.9 * (1 - gain / 100)
        rows.append(("midg", objective, "lodo", target, "mae", mean, 0.02, mean - 0.04, mean + 0.04, 3, 1.2, gain, gain - 2, gain + 2))
    return pd.DataFrame(rows, columns=list(TABLES["domain_comparison"].columns))


EXPLAINED = ("modality_shapley", "expert_attribution")
"""Tables of a trace that differentiate through its model, or hide its input: asked of a real one."""


def explained(target: str):
    """A trace of a small untrained model on data with a transcript and planted evidence, and what two methods say of it."""
    data = load("synthetic:rows=200")
    spec = replace(data.spec, tasks={target: data.spec.tasks[target]})
    torch.manual_seed(0)
    model = Derl(spec, Derl.Config(dim=8, heads=1, experts=2, hidden=8, layers=0))
    batch = data["test"].batch(range(24))
    trace = observe(model, [replace(batch, labels={target: batch.labels[target]})], spec=spec)
    trace = replace(trace, **data.behind("test", range(24)))
    return trace, {name: attribute(trace, name, steps=4) for name in ("integrated_gradients", "feature_ablation")}


def every_table(planted, trace):
    subjects = {"trace": trace, "history": planted.history(), "epochs": {1: trace, 2: trace}, "comparison": comparison()}
    subjects["results"] = results_frame()
    real, subjects["attributions"] = explained("sentiment" if trace.spec.task.kind == "regression" else "emotion")
    subjects["conditions"] = {"whole": trace, "half": trace}
    frames = dict(answers())
    for name, table in TABLES.items():
        if name in frames:
            continue
        sweep = planted.sweep(protocol="subsets" if name == "subset_scores" else "missing")
        frames[name] = table(sweep if table.of == "sweep" else real if name in EXPLAINED else subjects[table.of])
    return frames


@pytest.fixture(scope="session")
def frames(planted):
    return every_table(planted, planted.planted(120))


@pytest.fixture(scope="session")
def class_frames(planted):
    return every_table(planted, planted.planted(120, task=planted.CLASSES, run="classes"))
