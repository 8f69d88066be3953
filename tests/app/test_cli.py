"""The shell: quick help, catalogs, one line for every mistake, and the whole way from training to scores."""

from __future__ import annotations

import json
import resource
import shlex
import subprocess
import sys

import pandas as pd
import pytest

from msaviz import catalog
from msaviz.app.arguments import experiment_of, pairs
from msaviz.app.cli import _joined, main
from msaviz.app.groups import replay
from msaviz.options import paths
from msaviz.training.protocols import COLUMNS
from msaviz.training.run import Run


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return int(stop.value.code or 0)


def test_help_is_quick_and_loads_no_torch():
    lines = [
        "import sys",
        "from msaviz.app.cli import main",
        "try: main(['--help'])",
        "finally: assert not {'torch', 'pandas'} & set(sys.modules)",
    ]
    run_help = "\n".join(lines)
    spent = []
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", run_help], capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert done.returncode == 0, done.stderr
    assert "report" in done.stdout
    assert min(spent) < 1.0  # processor seconds: the wall clock is not ours on a busy machine


@pytest.mark.parametrize("kind", ["models", "datasets", "objectives", "tables", "views"])
def test_list_shows_the_catalog(kind, capsys):
    assert run("list", kind, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == list(getattr(catalog, kind.upper()))
    assert all(isinstance(question, str) for question in found.values())
    assert run("list", kind) == 0
    assert capsys.readouterr().out.count("\n") == len(found)


MISTAKES = [
    ["list", "nonsense"],
    ["no-such-command"],
    ["train"],
    ["train", "nonsense", "--out", "x"],
    ["train", "derl", "--data", "/no/such/file.pkl", "--out", "x"],
    ["train", "derl", "--out", "x", "--set", "model.nonsense=1"],
    ["train", "derl", "--out", "x", "--set", "model.experts"],
    ["train", "derl", "--out", "x", "--set", "model.experts=many"],
    ["data", "inspect", "synthetic:nonsense=1"],
    ["evaluate", "/no/such/run"],
    ["report", "/no/such/run", "--out", "x.html"],
    ["notebook", "nonsense", "--out", "x"],
    ["notebook", "01_quickstart", "--out", "x", "-p", "NONSENSE", "1"],
]


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_a_mistake_is_one_line_and_leaves_nothing(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith("msaviz: ")
    assert told.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_unknown_name_lists_what_exists(capsys):
    run("train", "nonsense", "--out", "x")
    told = capsys.readouterr().err
    assert all(name in told for name in catalog.MODELS)


def test_stopping_says_how_to_go_on(monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("msaviz.training.loop.train", stop)
    assert run("train", "derl", "--out", "runs/a b", "--seed", 3) == 130
    told = capsys.readouterr().err
    again = told.partition("go on with: msaviz ")[2]
    assert shlex.split(again) == ["train", "derl", "--out", "runs/a b", "--seed", "3", "--resume"]


def test_pairs_of_papermill_are_understood():
    given = ["notebook", "x", "-p", "RATE", "-1", "-p", "RUN=a=b", "--out", "o"]
    assert _joined(given) == ["notebook", "x", "-p", "RATE=-1", "-p", "RUN=a=b", "--out", "o"]
    assert pairs(["RUN=a=b"]) == {"RUN": "a=b"}


def test_options_are_the_paths_of_an_experiment(capsys):
    assert run("options", "derl", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads(json.dumps(paths(experiment_of("derl", "synthetic", 0, []))))
    assert found["model.experts"] == 4


def test_inspect_and_convert(capsys, tmp_path):
    assert run("data", "inspect", "synthetic:rows=200", "--json") == 0
    before = json.loads(capsys.readouterr().out)
    assert sum(split["rows"] for split in before["splits"]) == 200
    assert run("data", "convert", "synthetic:rows=200", tmp_path / "small.msa") == 0
    assert run("data", "inspect", tmp_path / "small.msa", "--json") == 0
    after = json.loads(capsys.readouterr().out.partition("\n")[2])
    assert after["modalities"] == before["modalities"]
    assert run("data", "inspect", "synthetic:rows=200") == 0
    assert "fingerprint" in capsys.readouterr().out


def test_train_then_evaluate(capsys, tmp_path):
    out = tmp_path / "run"
    small = ["--set", "train.epochs=1", "--set", "model.dim=16", "--set", "missing.clean=0.25"]
    assert run("train", "early_fusion", "--data", "synthetic:rows=200", "--out", out, "--seed", 7, "--quiet", *small) == 0
    experiment = Run.open(out).experiment
    assert (experiment.seed, experiment.train.epochs, experiment.model.dim, experiment.missing.clean) == (7, 1, 16, 0.25)
    assert run("evaluate", out, "--protocol", "missing", "--out", tmp_path / "scores.csv") == 0
    frame = pd.read_csv(tmp_path / "scores.csv")
    assert list(frame.columns) == COLUMNS
    assert frame["rate"].nunique() == 10
    assert "floor" in capsys.readouterr().out
    assert run("evaluate", out, "--protocol", "nonsense") == 2


def test_replay_trains_the_same_experiment(tiny):
    for folder in tiny.values():
        _, command, model, *rest = shlex.split(replay(Run.open(folder)))
        given = dict(zip(rest[::2], rest[1::2], strict=True))
        changes = [value for name, value in zip(rest[::2], rest[1::2], strict=True) if name == "--set"]
        assert command == "train"
        assert experiment_of(model, given["--data"], int(given["--seed"]), changes) == Run.open(folder).experiment


def test_several_data_are_one_source_each_a_domain(tmp_path, capsys):
    one, two = "synthetic:rows=200,seed=1,domains=1", "synthetic:rows=200,seed=2,domains=1"
    quick = ("--set", "train.epochs=1", "--set", "model.dim=8", "--quiet")
    assert run("train", "early_fusion", "--data", one, "--data", two, "--out", tmp_path / "both", *quick) == 0
    both = Run.open(tmp_path / "both")
    assert both.experiment.data == f"{one} | {two}"
    assert len(both.spec.domains) == 2
    assert run("evaluate", tmp_path / "both", "--protocol", "domains") == 0
    told = capsys.readouterr().out
    assert all(name in told for name in both.spec.domains)
