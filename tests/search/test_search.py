"""Does a whole search with real trainings keep its promises: no test split, weights of the parent, winners from scratch, a fair result?"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from msaviz import Experiment, load, override
from msaviz.data import msa
from msaviz.interpret.domain_comparison import COLUMNS
from msaviz.interpret.evolution import GENES, TRIALS
from msaviz.search import proxy
from msaviz.search.evolve import begin, search
from msaviz.search.proxy import inherit, learnt, measure, searched, short
from msaviz.search.record import Search
from msaviz.search.winners import validation_score
from msaviz.search.worker import work
from msaviz.training.kept import predicted
from msaviz.training.loop import Trainer
from msaviz.types import subsets

TINY = override(
    Experiment(model="early_fusion", data="synthetic:rows=240"),
    {"model.dim": 8, "model.heads": 1, "model.layers": 0, "train.epochs": 1, "train.batch": 128},
)
OPTIONS = {"trials": 3, "population": 2, "epochs": 1, "seeds": 2, "finalists": 2, "genes": ("model.layers", "model.dropout")}


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Search:
    return search(TINY, tmp_path_factory.mktemp("search") / "s", **OPTIONS, progress=False)


class Untouchable(dict):
    """Splits of which "test" may not be read."""

    def __getitem__(self, split):
        assert split != "test", "the test split was read"
        return super().__getitem__(split)

    def items(self):
        raise AssertionError("all splits were read")

    values = items


def test_nothing_reads_the_test_split_before_the_winners(tmp_path, monkeypatch):
    whole = load(TINY.data)
    guarded = replace(whole, splits=Untouchable(whole.splits))
    monkeypatch.setattr(proxy, "load", lambda source: guarded)
    with pytest.raises(AssertionError, match="was read"):
        _ = guarded.splits["test"]
    one = begin(TINY, tmp_path / "s", {**OPTIONS, "controls": False})
    work(one)
    assert (one.evolution.trials["state"] == "complete").sum() == 3
    assert set(searched(TINY).splits) == {"train", "valid"}


def test_other_test_labels_change_the_result_and_nothing_else(tmp_path):
    whole, evolutions, winners, results = load(TINY.data), [], [], []
    for name in ("as they are", "permuted"):
        labels = dict(whole.splits["test"].labels)
        if name == "permuted":
            labels = {task: np.random.default_rng(0).permutation(y) for task, y in labels.items()}
        changed = replace(whole, splits={**whole.splits, "test": replace(whole.splits["test"], labels=labels)})
        msa.save(changed, tmp_path / "data.msa", overwrite=True)
        here = tmp_path / name / "s"
        done = search(
            override(TINY, {"data": str(tmp_path / "data.msa")}), here, **{**OPTIONS, "seeds": 1, "controls": False}, progress=False
        )
        evolutions.append(done.evolution.trials.drop(columns="seconds"))
        winners.append(done.winners)
        results.append(done.results["mean"])
        shutil.rmtree(tmp_path / "data.msa")
        from msaviz.training import run

        run._whole.cache_clear()
        run._dataset.cache_clear()
    assert evolutions[0].equals(evolutions[1])
    assert winners[0] == winners[1]
    assert not results[0].equals(results[1])


def test_a_child_begins_with_its_parents_weights_where_they_fit():
    dataset = searched(TINY)
    parent, child = (Trainer(override(TINY, {"seed": seed, "model.layers": seed}), dataset) for seed in (1, 2))
    weights = {name: torch.full_like(p, 0.5) for name, p in learnt(parent.system).items()}
    weights["model.norm.weight"] = torch.zeros(9)  # another shape
    before = {name: p.clone() for name, p in learnt(child.system).items()}
    share = inherit(child, weights)
    same = {name for name, p in learnt(child.system).items() if torch.equal(p, torch.full_like(p, 0.5))}
    assert same == set(weights) & set(before) - {"model.norm.weight"} != set()
    left = {name: p for name, p in learnt(child.system).items() if name not in same}
    assert all(torch.equal(p, before[name]) for name, p in left.items())
    assert share == pytest.approx(1 - sum(p.numel() for p in left.values()) / sum(p.numel() for p in before.values()))
    assert 0 < share < 1


def test_the_moving_average_inherits_too():
    trainer = Trainer(override(TINY, {"train.ema": 0.9}), searched(TINY))
    weights = {name: torch.full_like(p, 0.5) for name, p in learnt(trainer.system).items()}
    assert inherit(trainer, weights) == 1.0
    assert trainer.average is not None
    assert all(torch.equal(p, torch.full_like(p, 0.5)) for p in learnt(trainer.average.requires_grad_()).values())


def test_the_proxy_is_the_loop_itself(tmp_path):
    """Same seed, same epochs, no parent: the trainer alone reaches the same score and weights."""
    experiment, dataset = short(override(TINY, {"train.validation": "subsets"}), 2), searched(TINY)
    found = measure(experiment, dataset, None, lambda *_: True)
    alone = Trainer(experiment, dataset)
    alone.fit(progress=False)
    assert (found.error, found.epochs, found.inherited, found.pruned) == (alone.state.best, 2, 0.0, False)
    assert all(torch.equal(alone.best_state[name], weight) for name, weight in found.weights.items())
    assert found.parameters == sum(p.numel() for p in alone.system.parameters())
    rows = [r for r in alone.state.history if r["epoch"] == alone.state.best_epoch and r["metric"] == "mae@text+audio+vision"]
    assert found.complete == rows[0]["value"]
    stopped = measure(experiment, dataset, tmp_path / "absent.safetensors", lambda *_: False)
    assert (stopped.epochs, stopped.pruned, stopped.inherited) == (1, True, 0.0)


def test_every_arm_has_its_budget_and_the_frames_their_columns(found):
    trials = found.evolution.trials
    assert tuple(trials.columns) == TRIALS
    assert tuple(found.evolution.genes.columns) == GENES
    assert found.arms == ("nsga2", "random", "default")
    assert trials[trials["copy_of"] < 0].groupby("arm").size().eq(3).all()
    assert trials.loc[trials["arm"] != "nsga2", "inherited"].eq(0).all()
    children = trials[(trials["parent"] >= 0) & (trials["copy_of"] < 0)]
    assert len(children)
    assert (children["inherited"] > 0.2).all()
    assert trials.loc[trials["arm"] == "default", "error"].nunique() == 3


def test_saved_weights_are_those_of_complete_trials(found):
    own = found.evolution.trials.query("arm == 'nsga2' and copy_of < 0 and state == 'complete'")["trial"]
    assert {path.stem for path in (found.path / "weights").iterdir()} == {f"nsga2-{turn}" for turn in own}
    count = found.evolution.trials.query("arm == 'nsga2' and trial == 0")["parameters"].iloc[0]
    assert sum(w.numel() for w in load_file(found.weights("nsga2", 0)).values()) == count


def test_winners_are_trained_from_scratch_and_validate_best(found):
    trials = found.evolution.trials
    for arm, winner in found.winners.items():
        runs = found.runs(arm)
        assert [run.experiment.seed for run in runs] == [0, 1]
        assert all(run.done and run.experiment == override(winner, {"seed": run.experiment.seed}) for run in runs)
        assert winner.train.epochs == TINY.train.epochs
        assert winner.train.validation == "subsets"
        assert getattr(winner.missing, "inter_modal", False)
        complete = trials[(trials["arm"] == arm) & (trials["state"] == "complete")]
        assert len(complete)
    assert set(found.winners) == set(found.arms)
    assert found.winners["default"] == found.settings.experiment
    finalists = [Path(run) for run in (found.path / "runs").glob("random-*-0")]
    from msaviz import Run

    scores = {path.name: validation_score(Run.open(path)) for path in finalists}
    if found.runs("random")[0].name in scores:  # else it is the default genome, which shares its runs
        assert min(scores, key=scores.__getitem__) == found.runs("random")[0].name


def test_results_are_the_means_of_the_kept_predictions(found):
    results = found.results
    assert list(results.columns) == [*COLUMNS, "against"]
    assert set(results["against"]) == {"default", "random"}
    names = ["+".join(s) for s in subsets(("text", "audio", "vision"))]
    assert set(results["target"]) == {*names, "mean", "worst"}
    frames = [predicted(run, "subsets") for run in found.runs("nsga2")]
    error = pd.concat(frames).assign(error=lambda f: (f["prediction"] - f["label"]).abs()).groupby(["run", "subset"])["error"].mean()
    mine = results[(results["model"] == "nsga2") & (results["metric"] == "mae") & (results["against"] == "random")].set_index("target")
    assert mine.loc["mean", "mean"] == pytest.approx(
        error.groupby("run").mean().mean()
    )  # over all sets of modalities, not the partial ones
    assert mine.loc["text", "mean"] == pytest.approx(error.xs("text", level="subset").mean())
    assert mine.loc["mean", "floor"] == pytest.approx(mine.loc["text", "floor"])
    itself = results[(results["model"] == "default") & (results["against"] == "default")]
    assert itself["gain"].isna().all()


def test_the_same_call_trains_nothing_again_and_another_one_is_refused(found, monkeypatch):
    before, result = found.evolution.trials, found.results
    monkeypatch.setattr("msaviz.search.winners.train", lambda *_, **__: pytest.fail("trained again"))
    again = search(TINY, found.path, **OPTIONS, progress=False)
    assert again.evolution.trials.equals(before)
    assert again.results.equals(result)
    with pytest.raises(ValueError, match="population: 2 there, 3 asked"):
        search(TINY, found.path, **{**OPTIONS, "population": 3}, progress=False)
    with pytest.raises(ValueError, match="keeps its trials in 'its journal'"):
        search(TINY, found.path, **OPTIONS, storage="sqlite:///x.db", progress=False)


def test_a_folder_is_read_without_its_storage(found, tmp_path):
    shutil.copytree(found.path, tmp_path / "s", ignore=shutil.ignore_patterns("journal.log"))
    copy = Search.open(tmp_path / "s")
    pd.testing.assert_frame_equal(copy.evolution.trials, found.evolution.trials)
    pd.testing.assert_frame_equal(copy.evolution.genes, found.evolution.genes)
    assert copy.evolution.ranges == found.evolution.ranges
    assert copy.winners == found.winners
    assert not (tmp_path / "s" / "journal.log").exists()
    with pytest.raises(FileNotFoundError, match="is no search"):
        Search.open(tmp_path)
    with pytest.raises(KeyError, match="nsga2, random, default"):
        found.study("evolution")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "cma"}, "nsga2, random, tpe"),
        ({"sampler": "default"}, "nsga2, random, tpe"),
        ({"objectives": ("mae", "size")}, "mae, params, mae_complete, seconds"),
        ({"genes": ("model.width",)}, "model.dim"),
        ({"trials": 0}, "trials"),
        ({"workers": 0}, "at least one worker"),
    ],
)
def test_what_does_not_exist_is_said_before_anything_is_trained(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        search(TINY, tmp_path / "s", **{**OPTIONS, **options}, progress=False)
    assert not (tmp_path / "s").exists()


def test_a_stopped_search_says_how_it_goes_on(tmp_path, monkeypatch, capsys):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("msaviz.search.evolve.work", stopped)
    with pytest.raises(KeyboardInterrupt) as stop:
        search(TINY, tmp_path / "s", **OPTIONS, progress=False)
    assert stop.value.__notes__ == [f"stopped; the same command goes on with {tmp_path / 's'}"]
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_two_worker_processes_find_as_many_and_the_controls_agree(found, tmp_path):
    both = search(TINY, tmp_path / "s", **OPTIONS, workers=2, progress=False)
    trials = both.evolution.trials
    assert trials[trials["copy_of"] < 0].groupby("arm").size().eq(3).all()
    alone = found.evolution.trials
    for arm in ("random", "default"):  # which need no parents, so that the order of the answers changes nothing
        assert trials.loc[trials["arm"] == arm, "error"].tolist() == alone.loc[alone["arm"] == arm, "error"].tolist()
    assert set(both.winners) == set(both.arms)
