"""The evolution from the shell: what is asked reaches the engine, what is told is what was found, and one page shows it."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browser_tools import Visit, chromium

from msaviz.app import evolution
from msaviz.app.cli import main
from msaviz.interpret.domain_comparison import COLUMNS
from msaviz.interpret.evolution import GENES, TRIALS, Evolution
from msaviz.options import override
from msaviz.search.record import Search
from msaviz.training.experiment import Experiment
from msaviz.training.run import Run

ASKED = ["search", "early_fusion", "--data", "synthetic:rows=240", "--trials", "2"]
TINY = [
    "--genes",
    "train.lr",
    "--population",
    "2",
    "--epochs",
    "1",
    "--seeds",
    "1",
    "--finalists",
    "1",
    "--set",
    "train.epochs=1",
    "--set",
    "model.dim=16",
]
BAD = "<script>alert(1)</script>"


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return int(stop.value.code or 0)


@dataclass(frozen=True)
class Planted:
    """A search as the page and the terminal see it."""

    path: Path
    settings: SimpleNamespace
    evolution: Evolution
    results: pd.DataFrame
    winners: dict[str, Experiment]
    warnings: tuple[str, ...] = ()
    trained: tuple[Path, ...] = ()

    def runs(self, arm: str) -> list[Run]:
        return [Run.open(path) for path in self.trained]


def _trials() -> pd.DataFrame:
    plain = {"generation": 0, "state": "complete", "error": 1.0, "parameters": 100, "seconds": 30.0, "parent": -1, "other": -1}
    plain |= {"crossed": "", "mutated": "", "inherited": 0.0, "copy_of": -1, "epochs": 2}
    rows = [
        {"arm": "nsga2", "trial": 0},
        {"arm": "nsga2", "trial": 1, "error": 0.7, "generation": 1, "parent": 0, "mutated": "model.dim"},
        {"arm": "nsga2", "trial": 2, "error": 0.7, "generation": 1, "copy_of": 1},
        {"arm": "nsga2", "trial": 3, "error": 0.1, "generation": 1, "state": "pruned"},
        {"arm": "nsga2", "trial": 4, "error": np.nan, "state": "failed"},
        {"arm": "default", "trial": 0, "error": 0.9},
    ]
    return pd.DataFrame([{**plain, **row} for row in rows])[list(TRIALS)]


def _results() -> pd.DataFrame:
    plain = {"objective": "early_fusion", "protocol": "subsets", "sd": 0.01, "low": 0.7, "high": 0.9, "runs": 2, "floor": 1.25}
    rows = []
    for target in ("text", "text+audio", "mean", "worst"):
        for metric in ("corr", "mae", "acc5"):
            gains = {"nsga2": (0.8, 11.11, 5.0, 15.0), "default": (0.9, np.nan, np.nan, np.nan)}
            for arm, (mean, gain, low, high) in gains.items():
                numbers = {"mean": mean, "gain": gain, "gain_low": low, "gain_high": high}
                rows.append({**plain, "model": arm, "target": target, "metric": metric, **numbers, "against": "default"})
    return pd.DataFrame(rows)[[*COLUMNS, "against"]]


def planted(path: Path, **changes: Any) -> Any:
    start = Experiment(model={"name": "early_fusion", "dim": 16}, data="synthetic:rows=240")
    genes = pd.DataFrame([("nsga2", 1, "model.dim", "32", 32.0), ("nsga2", 0, "model.dim", "16", 16.0)], columns=list(GENES))
    record = Evolution("planted", _trials(), genes, {"model.dim": {"choices": [16, 32]}})
    winners = {"default": start, "nsga2": override(start, {"model.dim": 32, "train.epochs": 7})}
    facts = {"evolution": record, "results": _results(), "winners": winners, **changes}
    return Planted(path, SimpleNamespace(experiment=start), **facts)


def test_the_terminal_tells_scores_gains_genes_and_trials(tmp_path):
    text = evolution.told(planted(tmp_path, warnings=("Beware.",)), 61)
    assert "Mean over all 2 sets of modalities, test split; gains in %" in text
    assert "Complete input (text+audio), test split; gains" in text
    line = next(line for line in text.splitlines() if line.split()[:2] == ["MAE", "nsga2"])
    assert line.split() == ["MAE", "nsga2", "0.800", "0.010", "0.700", "to", "0.900", "1.250", "2", "+11.1", "[+5.0,", "+15.0]", "●"]
    assert text.index("MAE ") < text.index(" Corr  "), "in the order of papers"
    assert "acc5" not in text
    assert "! Beware." in text
    assert "0:01:01 here; the trials took 0:03:00 in all" in text


def test_only_genes_that_changed_are_told(tmp_path):
    table = evolution.changed(planted(tmp_path))
    assert table.to_dict("records") == [{"option": "model.dim", "default": "16", "winner": "32"}], "epochs are no gene"
    start = planted(tmp_path).settings.experiment
    assert "nsga2 is the default genome" in evolution.genes_told(planted(tmp_path, winners={"default": start, "nsga2": start}))


def test_every_trial_is_counted_once(tmp_path):
    table = evolution.tally(planted(tmp_path)).set_index("arm")
    assert table.loc["nsga2"].to_dict() == {"trained": 2, "pruned": 1, "copied": 1, "failed": 1, "lowest validation error": 0.7}
    assert table.loc["default", "trained"] == 1
    counts = table[["trained", "pruned", "copied", "failed"]]
    assert counts.to_numpy().sum() == len(planted(tmp_path).evolution.trials)


@pytest.mark.parametrize(
    ("arms", "found"), [(("default", "random", "tpe"), "tpe"), (("default", "random"), "random"), (("random",), "random")]
)
def test_the_leading_arm_is_the_one_that_was_asked_for(arms, found, tmp_path):
    start = planted(tmp_path).settings.experiment
    assert evolution.leading(planted(tmp_path, winners=dict.fromkeys(arms, start))) == found


def test_a_search_without_a_winner_is_told(tmp_path):
    empty = planted(tmp_path, results=_results().head(0), winners={})
    assert "No winner was trained." in evolution.told(empty, 1)
    assert evolution.write_page(empty).is_file()


def test_the_page_is_one_closed_file_and_nothing_of_the_data_is_markup(tmp_path):
    frame = _results().replace({"text+audio": f"text+{BAD}", "nsga2": BAD})
    start = planted(tmp_path).settings.experiment
    html = evolution.write_page(planted(tmp_path, results=frame, warnings=(BAD,), winners={BAD: start})).read_text(encoding="utf-8")
    assert BAD not in html
    assert "default-src 'none'" in html
    assert html.count("plotly.js v") == 1
    assert "Evolution of early_fusion" in html


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("search") / "out"
    assert run(*ASKED, *TINY, "--quiet", "--out", out) == 0
    return out


def test_the_whole_way(folder, capsys):
    before = pd.read_csv(folder / "trials.csv")
    assert run(*ASKED, *TINY, "--quiet", "--out", folder) == 0, "the same command finds all of it done"
    said = capsys.readouterr()
    assert said.err == ""
    pd.testing.assert_frame_equal(pd.read_csv(folder / "trials.csv"), before)
    mean = Search.open(folder).results.query("metric == 'mae' and target == 'mean' and model == 'nsga2'").iloc[0]
    line = next(line for line in said.out.splitlines() if line.split()[:2] == ["MAE", "nsga2"])
    assert line.split()[2] == f"{mean['mean']:.3f}"
    assert "search.html, results.csv, trials.csv, genes.csv, search.json, journal.log, runs" in said.out
    page = (folder / "search.html").read_text(encoding="utf-8")
    assert "could not be made" not in page
    for name in ("subset_scores", "search_progress", "pareto_front", "gene_frequency"):
        assert f'<section class="page" id="{name}">' in page
    assert 'id="lineage"' not in page, "nobody has a parent yet"
    assert "Evolution: there is too little for" in page


def test_a_browser_draws_every_figure_and_complains_of_nothing(folder):
    address = (folder / "search.html").as_uri()
    with chromium() as browser:
        visit = Visit(browser, address, "html[data-figures]", viewport={"width": 1280, "height": 900})
        figures = visit.count(".figure")
        assert figures >= 4
        assert visit.page.get_attribute("html", "data-figures") == f"{figures}/{figures}"
        assert visit.count(".failed") == 0
        assert visit.complaints == []
        assert [url for url in visit.asked if not url.startswith(("data:", "blob:"))] == [address]


def test_another_search_is_refused(folder, capsys):
    assert run(*ASKED, *TINY, "--quiet", "--out", folder, "--epochs", "2") == 2
    said = capsys.readouterr().err
    assert "epochs: 1 there, 2 asked" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--sampler", "default"],
        ["--objectives", "nonsense"],
        ["--genes", "nonsense"],
        ["--genes", ","],
        ["--trials", "0"],
        ["--set", "model.x=1"],
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_line_and_leaves_nothing(arguments, capsys, tmp_path):
    assert run(*ASKED, "--out", tmp_path / "out", *arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("msaviz: ")
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_stopping_says_that_the_same_command_goes_on(monkeypatch, capsys, tmp_path):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("msaviz.search.evolve.search", stop)
    assert run(*ASKED, "--out", tmp_path / "a b") == 130
    again = capsys.readouterr().err.partition("go on with: msaviz ")[2]
    assert shlex.split(again) == [*ASKED, "--out", str(tmp_path / "a b")]


def test_without_optuna_the_extras_are_named(monkeypatch, capsys, tmp_path):
    for name in [name for name in sys.modules if name.split(".")[0] == "optuna"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert run(*ASKED, "--out", tmp_path / "out", "--quiet") == 2
    said = capsys.readouterr().err
    assert said.startswith("msaviz: ")
    assert "optuna" in said
    assert "search" in said.partition("extra")[2], "which extra it needs"


def test_what_is_asked_reaches_the_engine(monkeypatch, capsys, tmp_path):
    asked = {}

    def fake(experiment, out, **options):
        asked.update(options, experiment=experiment, out=out)
        return planted(tmp_path)

    monkeypatch.setattr("msaviz.search.evolve.search", fake)
    words = ["--sampler", "tpe", "--objectives", "mae,seconds", "--no-controls", "--genes", "model.dim, train.lr", "--population", "3"]
    words += [
        "--workers",
        "2",
        "--storage",
        "grpc://host:1",
        "--seed",
        "4",
        "--no-inherit",
        "--no-prune",
        "--set",
        "model.dim=8",
        "--quiet",
    ]
    assert run(*ASKED, "--out", tmp_path, *words, "--epochs", "2", "--finalists", "1", "--seeds", "3") == 0
    experiment = asked.pop("experiment")
    assert (experiment.model.dim, experiment.seed, experiment.data) == (8, 4, "synthetic:rows=240")
    expected = {"trials": 2, "sampler": "tpe", "objectives": ["mae", "seconds"], "controls": False, "genes": ["model.dim", "train.lr"]}
    expected |= {"population": 3, "epochs": 2, "seeds": 3, "finalists": 1, "workers": 2, "storage": "grpc://host:1"}
    assert asked == {**expected, "out": tmp_path, "inherit": False, "prune": False, "progress": False}
    assert f"wrote into {tmp_path}: search.html" in capsys.readouterr().out
