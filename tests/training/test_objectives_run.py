"""Does the real trainer run every objective, resume it to the same numbers, and give it what it needs?"""

import json

import numpy as np
import pytest
import torch
from interrupted import resumed

from msaviz import Experiment, train
from msaviz.catalog import OBJECTIVES
from msaviz.data.load import load
from msaviz.training.loop import Trainer
from msaviz.training.run import Run


def experiment(name: str, **options: object) -> Experiment:
    return Experiment(
        model={"name": "early_fusion", "dim": 16},
        data="synthetic:rows=240",
        objective={"name": name, **options},
        train={"epochs": 2, "sampling": "domains", "threads": 1, "validation_rates": [0.0]},
        domains={"targets": ["meal"]},
    )


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_it_trains_and_a_broken_run_resumes_to_the_same_numbers(name, tmp_path, monkeypatch):
    options = {"anneal": 0.5} if name in ("irm", "vrex") else {}
    run = train(experiment(name, **options), tmp_path / "whole", progress=False)
    again = resumed(experiment(name, **options), tmp_path / "broken", monkeypatch)
    history = (run.path / "history.jsonl").read_text()
    assert (again.path / "history.jsonl").read_text() == history
    assert (again.path / "weights.safetensors").read_bytes() == (run.path / "weights.safetensors").read_bytes()
    logged = [json.loads(line) for line in history.splitlines()]
    assert any(line["metric"] == "loss/task" and np.isfinite(line["value"]) for line in logged)


def trainer(tmp_path, name: str, **options: object) -> Trainer:
    e = experiment(name, **options)
    dataset = load(e.data)
    return Trainer(e, dataset, Run.create(tmp_path / "run", e, dataset))


def test_the_trainer_gives_the_discriminator_its_width_and_trains_it(tmp_path):
    t = trainer(tmp_path, "dann")
    assert t.objective.discriminator[0].in_features == 16
    before = [p.detach().clone() for p in t.objective.parameters()]
    t._train_epoch()
    assert all(not torch.equal(a, b) for a, b in zip(before, t.objective.parameters(), strict=True))
    assert t.system.training


def test_the_optimiser_forgets_at_the_end_of_the_annealing_alone(tmp_path):
    t = trainer(tmp_path, "vrex", anneal=0.5)
    sizes = []
    step = t._step

    def watched(accumulated):
        step(accumulated)
        sizes.append(len(t.optimizer.state))

    t._step = watched
    t._train_epoch()
    t._train_epoch()
    assert len(sizes) == t.total
    assert [i + 1 for i, size in enumerate(sizes) if size == 0] == [t.total // 2]
