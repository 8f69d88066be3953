"""The comparison from the shell: tables, one page, one line for every mistake, and exit codes that tell."""

from __future__ import annotations

import shlex

import pandas as pd
import pytest

from msaviz.app.cli import main
from msaviz.app.comparison import _spent, told
from msaviz.catalog import VIEWS
from msaviz.training import jobs
from msaviz.training.compare import Comparison
from msaviz.types import Task

ASKED = [
    "compare",
    "--protocol",
    "lodo",
    "--models",
    "early_fusion",
    "--objectives",
    "erm",
    "--data",
    "synthetic:rows=240,domains=3",
    "--seeds",
    "1",
]
TINY = ["--set", "train.epochs=1", "--set", "early_fusion:model.dim=8", "--quiet"]


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return int(stop.value.code or 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("compare") / "out"
    assert run(*ASKED, *TINY, "--out", out) == 0
    return out


def test_it_prints_and_writes_what_was_found(folder, capsys):
    assert run(*ASKED, *TINY, "--out", folder) == 0
    said = capsys.readouterr()
    assert said.err == "", "quiet, and nothing to train"
    for words in (
        "MAE, mean over unseen domains",
        "MAE, worst unseen domain",
        "Acc-2 neg/pos, mean",
        "floor",
        "3 runs, ",
        "comparison.csv",
    ):
        assert words in said.out
    frame = pd.read_csv(folder / "comparison.csv")
    mean = frame[(frame["metric"] == "mae") & (frame["target"] == "mean")].iloc[0]
    assert f"{mean['mean']:.3f}" in said.out
    assert f"{mean['floor']:.3f}" in said.out
    assert (folder / "comparison.html").is_file() == ("domain_comparison" in VIEWS)


def test_before_it_starts_it_says_what_is_done(folder, capsys):
    assert run(*ASKED, *TINY[:-1], "--out", folder) == 0
    assert "3 runs: 3 done, 0 to do" in capsys.readouterr().err


def test_the_page_holds_the_numbers_and_asks_for_nothing_outside(folder):
    if "domain_comparison" not in VIEWS:
        pytest.skip("the view is not installed")
    html = (folder / "comparison.html").read_text(encoding="utf-8")
    assert "could not be made" not in html
    assert "MAE in unseen domains" in html
    assert "default-src 'none'" in html
    assert html.count("plotly.js v") == 1


def test_a_run_by_domain_names_the_unseen(folder, capsys):
    one = next(iter(sorted((folder / "runs").glob("early_fusion-erm-meal-0-*"))))
    assert run("evaluate", one, "--protocol", "domains") == 0
    said = capsys.readouterr().out
    assert "meal (unseen)" in said
    assert "film (unseen)" not in said
    assert run("evaluate", one, "--protocol", "domains", "--selection", "oracle") == 2
    assert "log_test=true" in capsys.readouterr().err


def test_a_failed_run_is_listed_and_the_exit_code_is_1(tmp_path, monkeypatch, capsys):
    real = jobs.train

    def broken(experiment, path, **options):
        if experiment.domains.targets == ("phone",):
            raise MemoryError("too large")
        return real(experiment, path, **options)

    monkeypatch.setattr(jobs, "train", broken)
    assert run(*ASKED, *TINY, "--out", tmp_path) == 1
    said = capsys.readouterr()
    assert said.err.startswith("msaviz: early_fusion-erm-phone-0-")
    assert said.err.rstrip().endswith("MemoryError: too large")
    assert "No model was tested on every unseen domain" in said.out


def test_stopping_says_how_to_go_on(monkeypatch, capsys, tmp_path):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "train", stop)
    assert run(*ASKED, *TINY, "--out", tmp_path / "a b") == 130
    again = capsys.readouterr().err.partition("go on with: msaviz ")[2]
    assert shlex.split(again) == [*ASKED, *TINY, "--out", str(tmp_path / "a b")]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--models", "nonsense"],
        ["--objectives", "nonsense"],
        ["--objectives", ","],
        ["--protocol", "nonsense"],
        ["--selection", "published"],
        ["--seeds", "0"],
        ["--data", "synthetic:rows=240,domains=1"],
        ["--set", "derl:model.dim=8"],
        ["--set", "model.dim"],
        ["--against", "derl/erm"],
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_line_and_leaves_nothing(arguments, capsys, tmp_path):
    start = ["compare", "--protocol", "lodo", "--models", "early_fusion", "--out", tmp_path / "out"]
    assert run(*start, *arguments) == 2
    told_ = capsys.readouterr().err
    assert told_.startswith("msaviz: ")
    assert told_.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_gains_and_intervals_are_printed_with_their_signs(tmp_path):
    numbers = {
        "mean": 0.8,
        "sd": float("nan"),
        "low": 0.7,
        "high": 0.9,
        "runs": 1,
        "floor": 1.2,
        "gain": 5.0,
        "gain_low": -1.0,
        "gain_high": 9.0,
    }
    row = {"model": "midg", "objective": "irm", "protocol": "lodo", "target": "mean", "metric": "mae", **numbers}
    text = told(Comparison(pd.DataFrame([row]), pd.DataFrame(), (), tmp_path, Task(), warnings=("Beware.",)))
    line = next(line for line in text.splitlines() if "midg" in line)
    assert line.split() == ["midg", "irm", "0.800", "0.700", "to", "0.900", "1.200", "+5.0", "-1.0", "to", "+9.0", "1"]
    assert "! Beware." in text
    assert [_spent(s) for s in (9.4, 61, 3720)] == ["9 s", "1 min 1 s", "1 h 2 min"]


def test_a_results_table_is_the_default(tmp_path, capsys):
    small = ["--data", "synthetic:rows=240", "--seeds", "1", "--set", "train.epochs=1", "--set", "model.dim=8", "--quiet"]
    asked = ["compare", "--models", "unimodal", *small, "--out", tmp_path / "out"]
    assert run(*asked, "--protocol", "clean,subsets") == 0
    text = capsys.readouterr().out
    assert "constant predictor" in text
    assert "subsets: mean over what is missing" in text
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"runs", "results.csv", "results.md", "results.tex", "results.html"}
    assert run(*asked, "--reuse", tmp_path / "out", "--out", tmp_path / "again") == 0
    assert not (tmp_path / "again" / "runs").exists(), "the run is found, not made again"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--protocol", "lodo,clean"], "by themselves"),
        (["--protocol", "lodo", "--reuse", "x"], "for a table of results"),
        (["--selection", "oracle"], "for unseen domains"),
        (["--domains", "meal"], "for unseen domains"),
        (["--protocol", "nonsense"], "clean, missing, subsets"),
    ],
)
def test_what_does_not_go_together_is_one_line(arguments, words, capsys, tmp_path):
    assert run("compare", "--models", "early_fusion", "--out", tmp_path / "out", *arguments) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
