"""Is a training that lost its numbers stopped with a word of where, and what it had reached kept?"""

import os
import re
import subprocess
import sys

import pytest
import torch
from degenerate import dataset
from endurance import TIMES, tell

from msaviz import Experiment, Run, override, train
from msaviz.app.cli import main
from msaviz.catalog import MODELS
from msaviz.data.msa import save
from msaviz.training.loop import Trainer


def broken(folder, monkeypatch, harm, **options):
    """What is raised when `harm(trainer)` is done before the second epoch."""
    whole = Trainer._train_epoch

    def epoch(trainer):
        if trainer.state.epoch == 1:
            harm(trainer)
        whole(trainer)

    monkeypatch.setattr(Trainer, "_train_epoch", epoch)
    source = str(save(dataset(12), folder / "data.msa"))
    small = {"train.epochs": 3, "model.dim": 8, "train.validation_rates": [0.0]}
    with pytest.raises(FloatingPointError) as error:
        train(override(Experiment(model="early_fusion", data=source), {**small, **options}), folder / "run", progress=False)
    return str(error.value)


def head(trainer):
    return [p for p in trainer.system.model.head.parameters() if p.ndim > 1]


def poison(trainer):
    with torch.no_grad():
        head(trainer)[0].fill_(float("nan"))


def explode(trainer):
    for p in head(trainer):
        p.register_hook(lambda g: g * float("inf"))


def overflow(trainer):
    for p in trainer.system.parameters():
        p.register_hook(lambda g: torch.full_like(g, 1e30))


@pytest.mark.parametrize("options", [{}, {"train.accumulate": 4}, {"train.ema": 0.9}], ids=["plain", "accumulate", "ema"])
@pytest.mark.parametrize(
    ("harm", "where"),
    [
        (poison, r"loss is not finite in epoch 2 \(terms: task\)"),
        (explode, r"gradients are not finite in epoch 2 \(model.head\)"),
        (overflow, r"gradients are not finite in epoch 2 \(all parts together\)"),
    ],
)
def test_a_lost_number_is_told_and_the_epoch_before_it_survives(harm, where, options, tmp_path, monkeypatch):
    said = broken(tmp_path, monkeypatch, harm, **options)
    assert re.search(where, said), said
    assert "lower train.lr" in said
    run = Run.open(tmp_path / "run")
    kept = Trainer(run.experiment, run.dataset, run)
    kept.restore()
    assert kept.state.epoch == 1
    assert all(weight.isfinite().all() for weight in kept.system.parameters())
    assert not (tmp_path / "run" / "done").exists()
    tell("numbers lost in training", 1, told=1)


def test_weights_that_the_last_step_of_an_epoch_broke_are_not_kept(tmp_path, monkeypatch):
    said = broken(tmp_path, monkeypatch, lambda trainer: None, **{"train.lr": 1e38, "train.batch": 64})
    assert "weights are not finite after epoch 1 (model." in said
    assert not (tmp_path / "run" / "checkpoint").exists()


def test_the_command_line_ends_with_one_line(tmp_path, capsys):
    source = str(save(dataset(12), tmp_path / "data.msa"))
    with pytest.raises(SystemExit) as ended:
        main(["train", "early_fusion", "--data", source, "--out", str(tmp_path / "run"), "--set", "train.lr=1e38", "--quiet"])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.startswith("msaviz: ")
    assert "not finite" in said
    assert said.count("\n") == 1


LONG = """
import resource, sys
import numpy as np
import torch
from msaviz.catalog import MODELS
from msaviz.types import Batch, Spec, Task
steps, rows, width = int(sys.argv[2]), 4, 8
spec = Spec({m: width for m in ("text", "audio", "vision")}, {"sentiment": Task()})
model = MODELS[sys.argv[1]](spec, MODELS[sys.argv[1]].Config(dim=8))
g = torch.Generator().manual_seed(0)
x = {m: torch.randn(rows, steps, width, generator=g) for m in spec.modalities}
mask = {m: torch.ones(rows, steps, dtype=torch.bool) for m in x}
index = torch.arange(rows)
batch = Batch(x, mask, {"sentiment": torch.zeros(rows)}, torch.zeros_like(index), index)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model.eval()(batch).prediction.sum().backward()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("model", list(MODELS) if TIMES >= 10 else ["mult"])
def test_ten_thousand_steps_cost_what_they_are_long(model):
    """Attention over all steps of three modalities would take 4 rows x 10,000^2 x 4 bytes = 1.6 GB a head; windows take some megabytes."""
    asked = [sys.executable, "-c", LONG, model, "10000"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 300
    tell("sequences of 10,000 steps", 1, read=1)
