"""Do several processes under torchrun train to the numbers of one?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from places import ROOT
from safetensors.torch import load_file

from msaviz import Run
from msaviz.catalog import MODELS
from msaviz.training.parallel import share_of


def launch(*command: object, processes: int = 1) -> subprocess.CompletedProcess[str]:
    """`python COMMAND`, or by torchrun in several processes."""
    # torch's gloo was seen to abort a process while it closes; a restart finds the run done and changes nothing
    several = ["-m", "torch.distributed.run", "--standalone", "--max-restarts", "2", "--nproc-per-node", str(processes)]
    several = several if processes > 1 else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *several, *map(str, command)], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    return done


def train(out: Path, model: str, processes: int = 1, *, start: tuple[object, ...] = ("-m", "msaviz"), **options: object) -> Run:
    """What `msaviz train` leaves, without dropout."""
    changes = {
        "model.dim": 8,
        "model.dropout": 0,
        "train.lr": 3e-3,
        "train.epochs": 2,
        "train.validation_rates": "[0]",
        "train.threads": 1,
        **options,
    }
    sets = [part for name, value in changes.items() for part in ("--set", f"{name}={value}")]
    data = ["--data", "synthetic:rows=240,domains=3,seed=1"]
    launch(*start, "train", model, *data, "--out", out, "--quiet", "--resume", *sets, processes=processes)
    return Run.open(out)


def seen_weights(run: Run) -> dict[str, torch.Tensor]:
    """The kept weights without those that a softmax does not see, as they add the same to all that it compares (a key's bias, a score's).

    Their gradient is rounding alone, and Adam makes whole steps of it.
    """
    weights = load_file(run.path / "weights.safetensors")
    weights = {name: torch.cat(w.chunk(3)[::2]) if name.endswith("qkv.bias") else w for name, w in weights.items()}
    weights = {name: w.chunk(2, -1)[1] if name.endswith("read.bias") else w for name, w in weights.items()}
    return {name: w for name, w in weights.items() if not name.endswith("fusion.score.2.bias")}


def assert_equal(one: Run, two: Run, tolerance: float = 1e-4) -> None:
    """The same weights, predictions and numbers in the history."""
    weights, others = seen_weights(one), seen_weights(two)
    assert weights.keys() == others.keys()
    for name, value in weights.items():
        torch.testing.assert_close(others[name], value, rtol=tolerance, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}")
    np.testing.assert_allclose(two.predictions().prediction, one.predictions().prediction, rtol=tolerance, atol=tolerance)
    a, b = (run.history().drop(columns="run") for run in (one, two))
    pd.testing.assert_frame_equal(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("rows", [1, 2, 3, 8])
def test_the_shares_of_a_batch_are_the_batch(rows, views):
    world, whole, parts = 3, np.arange(rows * views), []
    for rank in range(world):
        loaded, places = share_of(rows, views, rank, world)
        parts.append((np.arange(views)[:, None] * rows + loaded[None]).ravel()[places])
        assert set(parts[-1] % rows) == set(loaded)
    if rows * views < world:
        assert all(part.tolist() == whole.tolist() for part in parts)
    else:
        assert all(part.tolist() == whole[rank::world].tolist() for rank, part in enumerate(parts))


@pytest.mark.slow
def test_the_laws_of_several_processes():
    """`processes.py` holds them: every penalty and objective, to 1e-9; one launch for all."""
    assert launch(Path(__file__).with_name("processes.py"), processes=2).stdout.count("equal") >= 2


def test_two_processes_train_to_the_numbers_of_one(tmp_path):
    """All at once: DERL's penalties, the weights of GroupDRO, shares of unequal size and a step of several batches."""
    options = {"objective": '{"name": "groupdro", "eta": 0.1}', "train.batch": 23, "train.accumulate": 2}
    assert_equal(train(tmp_path / "one", "derl", **options), train(tmp_path / "two", "derl", processes=2, **options))


CASES = {
    "early_fusion": {"objective": "irm", "train.batch": 7, "train.views": 2, "train.ema": 0.9},
    "derl": {"train.batch": 24, "model.router": "top_k", "model.orthogonality": "hsic"},
    "midg": {"train.batch": 16, "model.invariance": "none", "model.gate_weight": 0, "model.price_weight": 0, "model.router": "soft"},
    "haemsa": {"train.batch": 23},
}


@pytest.mark.slow
@pytest.mark.parametrize("model", [model for model in CASES if model in MODELS])
def test_every_model_in_two_processes(model, tmp_path):
    assert_equal(train(tmp_path / "one", model, **CASES[model]), train(tmp_path / "two", model, processes=2, **CASES[model]))


STOPPED = """
import os
from msaviz.training import loop
validate = loop.Trainer._validate
loop.Trainer._validate = lambda self: validate(self) if self.state.epoch == 0 else os._exit(0)
from msaviz.app.cli import main
main()
"""


@pytest.mark.slow
def test_a_stopped_run_of_two_processes_resumes_to_the_same_numbers(tmp_path):
    """With dropout and noisy routers: every process draws what it would have drawn."""
    options = {"model.dropout": 0.2, "model.router": "noisy_top_k", "train.epochs": 3, "train.batch": 23}
    whole = train(tmp_path / "whole", "derl", processes=2, **options)
    script = tmp_path / "stopped.py"
    script.write_text(STOPPED)
    out = tmp_path / "stopped"
    train(out, "derl", processes=2, start=(script,), **options)
    assert not Run.open(out).done
    resumed = train(out, "derl", processes=2, **options)
    assert (resumed.path / "history.jsonl").read_bytes() == (whole.path / "history.jsonl").read_bytes()
    assert (resumed.path / "weights.safetensors").read_bytes() == (whole.path / "weights.safetensors").read_bytes()
