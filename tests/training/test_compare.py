"""Is a comparison on unseen domains whole, the same wherever it runs, and never done twice?"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from msaviz import compare, load
from msaviz.catalog import TABLES
from msaviz.training import jobs
from msaviz.training.compare import changes_for, folder_name
from msaviz.training.experiment import Experiment

SOURCE = "synthetic:rows=240,domains=3"
TINY = {"train.epochs": 1, "model.dim": 8}


def tiny(out, **options):
    asked = {"models": ["early_fusion"], "objectives": ["erm"], "data": SOURCE, "seeds": 1, "changes": TINY, "progress": False}
    return compare(**{**asked, "out": out, **options})


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return tiny(tmp_path_factory.mktemp("compare"))


def test_a_comparison_leaves_runs_scores_and_the_table(done):
    assert len(done.runs) == 3
    assert all((run / "done").exists() for run in done.runs)
    frame = pd.read_csv(done.path / "comparison.csv")
    assert tuple(frame.columns) == TABLES["domain_comparison"].columns
    assert len(TABLES["domain_comparison"](frame)) == len(frame) == 5 * done.frame["metric"].nunique()
    with pytest.raises(ValueError, match=r"needs the columns \['gain'\]"):
        TABLES["domain_comparison"](frame.drop(columns="gain"))
    scores = pd.read_csv(done.path / "scores.csv")
    unseen = scores[scores["unseen"] & (scores["metric"] == "mae")].set_index("domain")["value"]
    table = done.frame[done.frame["metric"] == "mae"].set_index("target")["mean"]
    assert table[["film", "phone", "meal"]].to_dict() == pytest.approx(unseen.to_dict())
    assert table["mean"] == pytest.approx(unseen.mean())
    assert table["worst"] == pytest.approx(unseen.max())
    options = json.loads((done.runs[0] / "options.json").read_text())["experiment"]
    assert options["missing"]["kind"] == "none"
    assert options["train"]["threads"] == 1
    assert options["domains"]["targets"] == ["film"]


def test_what_is_done_is_not_done_again_and_is_shared(done, monkeypatch):
    trained = []

    def counted(experiment, path, **options):
        trained.append((experiment.model_name, experiment.seed))
        return real(experiment, path, **options)

    real = jobs.train
    monkeypatch.setattr(jobs, "train", counted)
    again = tiny(done.path)
    assert trained == []
    pd.testing.assert_frame_equal(again.frame, done.frame)
    more = tiny(done.path, models=["early_fusion", "late_fusion"])
    assert trained == [("late_fusion", 0)] * 3
    assert set(done.runs) < set(more.runs)


def test_a_run_that_fails_is_told_and_the_others_finish(tmp_path, monkeypatch):
    real = jobs.train

    def broken(experiment, path, **options):
        if experiment.domains.targets == ("phone",):
            raise FloatingPointError("loss is not\nfinite")
        return real(experiment, path, **options)

    monkeypatch.setattr(jobs, "train", broken)
    found = tiny(tmp_path)
    assert list(found.failed.values()) == ["FloatingPointError: loss is not finite"]
    assert "phone" in next(iter(found.failed))
    assert set(found.frame["target"]) == {"film", "meal"}, "no mean without all targets"
    monkeypatch.setattr(jobs, "train", real)
    assert set(tiny(tmp_path).frame["target"]) == {"film", "phone", "meal", "mean", "worst"}


def test_two_workers_give_the_numbers_of_one(done, tmp_path):
    found = tiny(tmp_path, workers=2)
    pd.testing.assert_frame_equal(found.frame, done.frame)
    pd.testing.assert_frame_equal(found.scores, done.scores)


def test_a_cluster_gives_the_numbers_of_one(done, tmp_path):
    distributed = pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    with distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster:
        found = tiny(tmp_path, scheduler=cluster.scheduler_address)
    pd.testing.assert_frame_equal(found.frame, done.frame)


def test_a_scheduler_that_does_not_answer_is_a_sentence(tmp_path, monkeypatch):
    pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    monkeypatch.setattr(jobs, "WAIT", 1)
    with pytest.raises(ValueError, match="no Dask scheduler with a worker answers at 'tcp://127.0.0.1:9'"):
        tiny(tmp_path, scheduler="tcp://127.0.0.1:9")


def test_single_source_tests_on_every_other_domain(tmp_path):
    found = tiny(tmp_path, protocol="single-source", selection="oracle")
    assert list(dict.fromkeys(found.frame["target"])) == [
        *("film->phone", "film->meal", "phone->film", "phone->meal", "meal->film", "meal->phone", "mean", "worst")
    ]
    assert len(found.runs) == 3
    assert "unseen domains themselves" in found.warnings[0]
    assert set(found.scores["selection"]) == {"oracle"}


# -- what is asked ------------------------------------------------------------------------------------------------------


def test_only_some_domains_may_be_unseen(done):
    """The one run of the whole comparison that has this domain unseen is found again."""
    one = tiny(done.path, domains=["meal"])
    assert [run.name.split("-")[2] for run in one.runs] == ["meal"]
    assert set(one.runs) <= set(done.runs)
    assert set(one.frame["target"]) == {"meal", "mean", "worst"}
    with pytest.raises(ValueError, match="no domain with labels is called 'opera'; these exist: film, phone, meal"):
        tiny(done.path, domains=["opera"])


def test_a_change_may_be_for_one_model_or_objective():
    changes = {"model.dim": 8, "midg:model.experts": 2, "irm:objective.weight": 10, "missing.clean": 0.5}
    plain = changes_for("early_fusion", "erm", changes)
    assert plain == {"train.validation_rates": [0.0], "train.sampling": "domains", "train.threads": 1, "model.dim": 8, "missing.clean": 0.5}
    assert changes_for("midg", "irm", changes) == {**plain, "model.experts": 2, "objective.weight": 10}
    assert changes_for("midg", "erm", {})["missing"] == "none"


def test_a_folder_is_named_by_its_content():
    one = Experiment(data=SOURCE)
    assert folder_name(one, "a/b c", "x").startswith("early_fusion-erm-a_b_c-0-")
    names = {folder_name(e, "a", mark) for e in (one, Experiment(data=SOURCE, train={"epochs": 3})) for mark in ("x", "y")}
    assert len(names) == 4
    assert folder_name(one, "a", "x") == folder_name(Experiment(data=SOURCE), "a", "x")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"models": ["nonsense"]}, r"no model is called 'nonsense'.*early_fusion"),
        ({"objectives": ["nonsense"]}, r"no objective is called 'nonsense'.*erm"),
        ({"models": []}, "at least one model"),
        ({"protocol": "nonsense"}, r"nonsense.*lodo, single-source"),
        ({"selection": "published"}, r"published.*validation, oracle"),
        ({"seeds": 0}, "at least one seed"),
        ({"workers": 0}, "one worker"),
        ({"data": "synthetic:rows=240,domains=1"}, "single domain"),
        ({"changes": {"derl:model.dim": 8}}, r"'derl', which is not compared"),
        ({"changes": {"domains.targets": ["film"]}}, "the comparison itself varies"),
        ({"changes": {"model.nonsense": 8}}, "unknown option"),
        ({"against": "derl/erm"}, r"early_fusion/erm"),
    ],
)
def test_a_mistake_is_told_before_anything_is_trained(options, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        tiny(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_domain_without_labels_cannot_be_a_target(tmp_path, monkeypatch):
    data = load(SOURCE)
    for split in data.splits.values():
        split.labels["sentiment"][split.domain == 1] = np.nan
    monkeypatch.setattr("msaviz.training.compare.load", lambda source: data)
    with pytest.raises(ValueError, match="no utterance of the domain 'phone' has a label"):
        tiny(tmp_path)
