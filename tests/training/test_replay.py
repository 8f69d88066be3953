"""Does a repeated run say equal when it is, and name what is not?"""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from msaviz.app import cli
from msaviz.training.experiment import Experiment
from msaviz.training.loop import train
from msaviz.training.replay import replay

DATA = "synthetic:rows=200,seed=3"
OPTIONS = {"epochs": 2, "batch": 64, "ema": 0.9, "validation_rates": (0.0, 0.5)}
MODEL = {"name": "early_fusion", "dim": 16}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(Experiment(model=MODEL, data=DATA, seed=5, train=OPTIONS), tmp_path_factory.mktemp("runs") / "first", progress=False)


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run.path, tmp_path / "copy")


def test_a_run_repeats_itself_to_the_bit_and_leaves_nothing(run, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    torch.manual_seed(99)  # what happened in the process before does not matter
    found = replay(run.path, progress=False)
    assert found.equal
    assert found.surroundings == ()
    assert str(found) == "equal: history, weights and predictions are the same to the bit"
    assert list(tmp_path.iterdir()) == []


def test_the_first_number_that_differs_is_named(copy):
    lines = (copy / "history.jsonl").read_text().splitlines()
    changed = json.loads(lines[7])
    changed["value"] += 1e-12
    (copy / "history.jsonl").write_text("\n".join([*lines[:7], json.dumps(changed), *lines[8:]]))
    (told,) = replay(copy, progress=False).differences
    assert told.startswith(f"history: 1 of {len(lines)} numbers differ, first {changed['metric']} ({changed['split']}, all) in epoch 1: ")
    assert repr(changed["value"]) in told


def test_one_bit_of_one_weight_is_named(copy):
    weights = load_file(copy / "weights.safetensors")
    name = sorted(weights)[3]
    flat = weights[name].view(-1).view(torch.int32)
    flat[0] ^= 1
    save_file(weights, copy / "weights.safetensors")
    (told,) = replay(copy, progress=False).differences
    assert told.startswith(f"weights: 1 of {len(weights)} tensors differ, most {name}, by ")


def test_other_predictions_and_missing_epochs_are_told(copy):
    table = (copy / "predictions.csv").read_text().splitlines()
    (copy / "predictions.csv").write_text("\n".join([*table[:-1], table[-1] + "1"]))
    lines = (copy / "history.jsonl").read_text().splitlines()
    kept = [line for line in lines if json.loads(line)["epoch"] == 0]
    (copy / "history.jsonl").write_text("\n".join(kept))
    history, predictions = replay(copy, progress=False).differences
    assert history == f"history: {len(kept)} numbers of 1 epochs then, {len(lines)} of 2 now"
    assert predictions == f"predictions: 1 of {len(table) - 1} rows differ"


def test_what_is_not_as_it_was_is_told_beside_the_verdict(copy):
    about = json.loads((copy / "environment.json").read_text())
    about["packages"]["torch"] = "1.0"
    (copy / "environment.json").write_text(json.dumps(about))
    found = replay(copy, progress=False)
    assert found.equal
    assert found.surroundings == (f"torch: 1.0 then, {torch.__version__} now",)


def test_as_many_threads_as_then(copy, monkeypatch):
    about = json.loads((copy / "environment.json").read_text())
    (copy / "environment.json").write_text(json.dumps({**about, "threads": 2}))
    seen = []
    monkeypatch.setattr("msaviz.training.replay.train", lambda *a, **k: seen.append(torch.get_num_threads()) or train(*a, **k))
    before = torch.get_num_threads()
    assert replay(copy, progress=False).surroundings == ()
    assert seen == [2]
    assert torch.get_num_threads() == before


def test_from_the_shell(run, copy, tmp_path, capsys):
    def ask(*arguments):
        with pytest.raises(SystemExit) as end:
            cli.main(["train", *map(str, arguments)])
        return end.value.code, capsys.readouterr()

    out = tmp_path / "again"
    code, told = ask("--replay", run.path, "--out", out, "--quiet")
    assert code == 0
    assert "equal: history" in told.out
    assert (out / "done").exists()
    assert ask("--replay", run.path, "--out", out)[1].err.strip().endswith("is not empty; choose a new folder for the repetition")
    assert ask("--replay", run.path, "derl")[0] == 2
    assert "needs a model and a folder" in ask("derl")[1].err
    (copy / "predictions.csv").write_text("split,example,label,prediction\n")
    code, told = ask("--replay", copy, "--quiet")
    assert code == 1
    assert "not equal" in told.out
    (copy / "done").unlink()
    assert "is not finished" in ask("--replay", copy)[1].err


def test_changed_data_are_told_before_anything_is_trained(copy, monkeypatch):
    about = json.loads((copy / "options.json").read_text())
    about["data"]["fingerprint"] = "another"
    (copy / "options.json").write_text(json.dumps(about))
    monkeypatch.setattr("msaviz.training.replay.train", lambda *a, **k: pytest.fail("it was trained"))
    with pytest.raises(ValueError, match="has changed since"):
        replay(copy, progress=False)
