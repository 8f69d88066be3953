"""Does the same seed on the same machine give the same bytes, whatever came before, however often it was stopped, and where it runs?

The law: weights, history and predictions are equal to the byte for equal options, data, seed and `train.threads`, on one machine with one
version of each package. Another number of threads adds up in another order: equal to rounding, and not promised.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from endurance import TIMES, tell

from msaviz.app.report import report
from msaviz.catalog import MODELS
from msaviz.options import override
from msaviz.training.experiment import Experiment
from msaviz.training.kept import predicted
from msaviz.training.loop import Trainer, train

FILES = ("weights.safetensors", "history.jsonl", "predictions.csv")
SOME = list(MODELS) if TIMES > 1 else ["derl", "midg", "self_mm"]
MORE = {
    "midg": {"model.stage_one": 0.4},
    "derl": {"train.ema": 0.9, "components.absent": "imagined"},
    "tfn": {"components.modulation": "feature"},
}
"""Options with something to remember from epoch to epoch."""


class Stopped(Exception):
    pass


def experiment(model: str, **options: object) -> Experiment:
    plain = Experiment(model=model, data="synthetic:rows=200", seed=5)
    few = {"train.epochs": 3, "train.batch": 64, "train.validation_rates": [0.5], "model.dim": 8, **MORE.get(model, {})}
    return override(plain, {**few, **options})


def bytes_of(path: Path) -> dict[str, bytes]:
    return {name: (path / name).read_bytes() for name in FILES}


@pytest.mark.parametrize("model", SOME)
def test_stopped_after_every_epoch_in_a_disturbed_process_it_is_the_same(model, tmp_path, monkeypatch):
    """All of torch's and numpy's global generators moved in between, a bar drawn or not, gradients switched off and on again."""
    one = train(experiment(model), tmp_path / "whole", progress=False)
    save, stops = Trainer.save, 0

    def stopping(trainer, *rest):
        save(trainer, *rest)
        raise Stopped

    monkeypatch.setattr(Trainer, "save", stopping)
    for _ in range(3):
        torch.manual_seed(stops)
        torch.rand(7 + stops)
        np.random.default_rng(stops).random(3)
        with torch.no_grad():
            torch.nn.Linear(3, 3)(torch.rand(2, 3))
        with pytest.raises(Stopped):
            train(experiment(model), tmp_path / "chopped", resume=stops > 0, progress=stops % 2 == 1)
        stops += 1
    monkeypatch.setattr(Trainer, "save", save)
    again = train(experiment(model), tmp_path / "chopped", resume=True, progress=False)
    assert bytes_of(again.path) == bytes_of(one.path)
    tell("same bytes: stopped after every epoch and resumed", stops)


def trained_apart(out: Path, model: str, *, hashing: str, threads: int) -> dict[str, bytes]:
    """The files of a training in a process of its own."""
    told = json.dumps(experiment(model, **{"train.threads": threads}).model_dump(mode="json"))
    code = "import json, sys; from msaviz import Experiment, train; train(Experiment(**json.loads(sys.argv[1])), sys.argv[2])"
    environment = {**os.environ, "PYTHONHASHSEED": hashing, "OMP_NUM_THREADS": str(threads)}
    subprocess.run([sys.executable, "-c", code, told, str(out)], env=environment, check=True, capture_output=True, timeout=240)
    return bytes_of(out)


@pytest.mark.parametrize("model", list(MODELS) if TIMES > 1 else ["haemsa"])
def test_another_process_with_another_hash_seed_gives_the_same_bytes(model, tmp_path):
    torch.manual_seed(99)
    here = bytes_of(train(experiment(model, **{"train.threads": 1}), tmp_path / "here", progress=False).path)
    hashing = ("1", "2", "random") if TIMES > 1 else ("1",)
    for name in hashing:
        assert trained_apart(tmp_path / name, model, hashing=name, threads=1) == here, f"PYTHONHASHSEED={name}"
    tell("same bytes: another process and hash seed", len(hashing))


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_two_threads_give_the_same_bytes_as_two_threads(model, tmp_path):
    """And one thread's numbers to rounding: the validation score of the last epoch to a hundredth."""
    one, two, again = (trained_apart(tmp_path / f"{i}", model, hashing="0", threads=t) for i, t in enumerate((1, 2, 2)))
    assert two == again
    scores = [[json.loads(line)["value"] for line in found["history.jsonl"].splitlines() if b'"score"' in line] for found in (one, two)]
    np.testing.assert_allclose(*scores, rtol=1e-2)
    tell("same bytes: two threads", 1, **{"equal to one thread": int(one == two)})


def test_what_was_measured_is_read_back_to_the_bit(tmp_path):
    run = train(experiment("unimodal"), tmp_path / "run", progress=False)
    fresh, kept = predicted(run, "missing"), predicted(run, "missing")
    pd.testing.assert_frame_equal(kept, fresh, check_exact=True)


def test_another_default_type_is_refused_in_words(tmp_path):
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(ValueError, match=r"default type is torch.float64"):
            train(experiment("derl"), tmp_path / "run", progress=False)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.slow
def test_a_report_written_twice_is_the_same(tmp_path):
    run = train(experiment("late_fusion"), tmp_path / "run", progress=False)
    one, two = (report([run.path], tmp_path / f"{name}.html") for name in "ab")
    assert one.read_bytes() == two.read_bytes()
    tell("same bytes: reports", 1)
