"""Does the one loop learn, stop, resume after a kill to the same numbers, and never look at the test split?"""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from places import ROOT

from msaviz import Experiment, Run, override, train
from msaviz.training.loop import Trainer
from msaviz.training.optimization import choose_device

SMALL = "synthetic:rows=240,seed=1"
QUICK = {"train.epochs": 4, "train.batch": 32, "model.dim": 16, "train.threads": 1}


def experiment(model="early_fusion", **changes):
    return override(Experiment(model=model, data=SMALL), {**QUICK, **changes})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(experiment("derl", **{"model.hidden": 16}), tmp_path_factory.mktemp("runs") / "derl", progress=False)


def test_a_run_folder_holds_what_design_says(run):
    held = {p.name for p in run.path.iterdir()}
    assert held == {"options.json", "environment.json", "history.jsonl", "weights.safetensors", "predictions.csv", "done"}
    assert Run.open(run.path).experiment == run.experiment
    assert run.options["data"]["fingerprint"] == run.dataset.fingerprint
    assert not any(str(value).startswith("/") for value in run.environment.values())


def test_kept_weights_give_the_logged_validation_score_and_the_saved_predictions(run):
    history = run.history()
    scores = history[history.metric == "score"]
    best = scores.loc[scores.value.idxmin()]
    logged = history[(history.epoch == best.epoch) & (history.metric == "mae@0")].value.item()
    predictions = run.predict("valid")
    label = run.dataset.splits["valid"].labels[run.spec.target]
    assert np.abs(predictions - label).mean() == pytest.approx(logged, abs=1e-5)
    np.testing.assert_allclose(run.predictions("test").prediction, run.predict("test"), atol=1e-5)


def test_learning_beats_the_constant_predictor(tmp_path):
    run = train(experiment("derl", **{"train.batch": 8, "train.epochs": 8, "train.lr": 3e-3}), tmp_path / "run", progress=False)
    label = run.dataset.splits["test"].labels[run.spec.target]
    constant = np.median(run.dataset.splits["train"].labels[run.spec.target])
    assert np.abs(run.predict("test") - label).mean() < 0.85 * np.abs(constant - label).mean()


def test_the_same_seed_gives_the_same_run(run, tmp_path):
    again = train(run.experiment, tmp_path / "again", progress=False)
    assert (again.path / "history.jsonl").read_text() == (run.path / "history.jsonl").read_text()
    assert (again.path / "weights.safetensors").read_bytes() == (run.path / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("after", [1, 2])
def test_a_run_killed_with_sigkill_resumes_to_the_same_numbers(run, tmp_path, after):
    """A real process, killed with signal 9 once `after` epochs are on disk."""
    out = tmp_path / "killed"
    dump = json.dumps(run.experiment.model_dump(mode="json"))
    slow = f"""
import json, os, time
import msaviz.training.loop as loop
from msaviz import Experiment
save = loop.Trainer.save
def slow(self, run):
    save(self, run)
    if self.state.epoch == {after}: print("now", flush=True); time.sleep(60)
loop.Trainer.save = slow
loop.train(Experiment.model_validate(json.loads({dump!r})), {str(out)!r}, progress=False)
"""
    process = subprocess.Popen([sys.executable, "-c", slow], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout.readline() == "now\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert (out / "checkpoint").exists()
    assert not (out / "done").exists()
    with pytest.raises(ValueError, match="--resume"):
        train(run.experiment, out, progress=False)
    resumed = train(run.experiment, out, resume=True, progress=False)
    assert (resumed.path / "history.jsonl").read_text() == (run.path / "history.jsonl").read_text()
    assert (resumed.path / "weights.safetensors").read_bytes() == (run.path / "weights.safetensors").read_bytes()


def test_a_finished_run_is_not_trained_again(run):
    before = (run.path / "done").stat().st_mtime_ns
    start = time.perf_counter()
    assert train(run.experiment, run.path, progress=False).done
    assert (run.path / "done").stat().st_mtime_ns == before
    assert time.perf_counter() - start < 5


def test_another_experiment_is_refused_in_the_same_folder(run):
    with pytest.raises(ValueError, match=r"already holds another experiment.*seed"):
        train(override(run.experiment, {"seed": 9}), run.path)


def test_test_labels_never_reach_selection(monkeypatch, tmp_path):
    """Permuting the test labels changes nothing of what is trained or chosen."""
    plain = train(experiment(), tmp_path / "plain", progress=False)
    import msaviz.training.loop as loop

    dataset = loop.load(SMALL)
    labels = dataset.splits["test"].labels[dataset.spec.target]
    labels[:] = np.random.default_rng(0).permutation(labels)
    monkeypatch.setattr(loop, "load", lambda source: dataset)
    scrambled = train(experiment(), tmp_path / "scrambled", progress=False)
    assert (scrambled.path / "weights.safetensors").read_bytes() == (plain.path / "weights.safetensors").read_bytes()
    assert set(plain.history().split) == {"train", "valid"}


def test_every_batch_steps_the_tail_too(tmp_path):
    e = experiment(**{"train.accumulate": 4, "train.epochs": 1})
    run = train(e, tmp_path / "run", progress=False)
    batches = -(-len(run.dataset.splits["train"]) // 32)
    assert batches % 4 != 0
    assert run.history().step.max() == -(-batches // 4)


def test_fewer_batches_than_accumulate_still_learn(tmp_path):
    e = experiment(**{"train.accumulate": 100, "train.epochs": 1})
    run = Run.create(tmp_path / "run", e, __import__("msaviz").load(SMALL))
    trainer = Trainer(e, run.dataset, run)
    before = {k: v.clone() for k, v in trainer.system.state_dict().items()}
    trainer._train_epoch()
    assert any(not torch.equal(v, before[k]) for k, v in trainer.system.state_dict().items())


def test_moving_average_is_what_is_kept(tmp_path):
    run = train(experiment(**{"train.ema": 0.9}), tmp_path / "run", progress=False)
    history = run.history()
    scores = history[history.metric == "score"].value
    assert run.done
    assert scores.min() < scores.iloc[0] or len(scores) == 1


def test_bfloat16_learns(tmp_path):
    run = train(experiment(**{"train.precision": "bfloat16"}), tmp_path / "run", progress=False)
    losses = run.history().query("metric == 'loss/total'").value
    assert losses.iloc[-1] < losses.iloc[0]


def test_device_auto_never_raises():
    assert choose_device("auto").type in ("cpu", "cuda")
    assert choose_device("cpu").type == "cpu"


def test_a_changed_data_file_is_noticed(tmp_path):
    import msaviz.training.run as module

    run = train(experiment(**{"train.epochs": 1}), tmp_path / "run", progress=False)
    options = json.loads((run.path / "options.json").read_text())
    options["data"]["fingerprint"] = "other"
    (run.path / "options.json").write_text(json.dumps(options))
    with pytest.raises(ValueError, match="has changed since"):
        _ = module.Run.open(run.path).dataset


def test_a_folder_that_is_no_run_says_how_to_make_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="msaviz train"):
        Run.open(tmp_path)


def test_a_validation_score_that_is_never_a_number_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, "_validate", lambda self: float("nan"))
    with pytest.raises(FloatingPointError, match="no finite number in any epoch"):
        train(Experiment(data="synthetic:rows=240", train={"epochs": 2}), tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "done").exists()
