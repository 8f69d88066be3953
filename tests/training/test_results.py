"""Is a results table what its runs say, and is no run made twice?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from msaviz import Experiment, Run, evaluate, override, results, train
from msaviz.catalog import TABLES
from msaviz.training import jobs
from msaviz.training.kept import predicted
from msaviz.training.protocols import compare_runs
from msaviz.training.published import published

SOURCE = "synthetic:rows=240"
TINY = {"train.epochs": 2, "model.dim": 8}


def tiny(out, **options):
    asked = {"models": ["early_fusion", "late_fusion"], "data": SOURCE, "seeds": 2, "changes": TINY, "progress": False, "out": out}
    return results(**{**asked, **options})


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return tiny(tmp_path_factory.mktemp("results"))


def one(found, model, protocol, condition, metric="mae"):
    f = found.frame
    return f[(f["model"] == model) & (f["protocol"] == protocol) & (f["condition"] == condition) & (f["metric"] == metric)].iloc[0]


def test_numbers_are_those_of_the_protocols(done):
    runs = [Run.open(path) for path in done.runs if "late" in path.name]
    for protocol, condition, subset in (("clean", "complete", None), ("missing", "mean", "mean"), ("subsets", "mean", "mean")):
        frames = [evaluate(run, protocol, progress=False) for run in runs]
        values = [f[(f["metric"] == "mae") & (f["subset"] == (subset or f["subset"].iloc[0]))]["value"].iloc[0] for f in frames]
        row = one(done, "late_fusion", protocol, condition)
        assert row["mean"] == pytest.approx(np.mean(values), rel=1e-5)
        assert row["sd"] == pytest.approx(np.std(values, ddof=1), rel=1e-4)
        assert row["floor"] == pytest.approx(frames[0][frames[0]["metric"] == "mae"]["floor"].iloc[0], rel=1e-6)
        assert row["low"] < row["mean"] < row["high"]
    assert pd.read_csv(done.path / "results.csv")["mean"].to_numpy() == pytest.approx(done.frame["mean"].to_numpy(), nan_ok=True)
    assert len(TABLES["results"](pd.read_csv(done.path / "results.csv"))) == len(done.frame)


def test_every_condition_has_a_row_and_complete_input_is_one_number(done):
    rates = [f"{r / 10:g}" for r in range(10)]
    sets = ["text", "audio", "vision", "text+audio", "text+vision", "audio+vision"]
    rows = done.frame[(done.frame["model"] == "late_fusion") & (done.frame["metric"] == "mae")]
    assert rows[rows["protocol"] == "missing"]["condition"].tolist() == [*rates, "mean"]
    assert rows[rows["protocol"] == "subsets"]["condition"].tolist() == [*sets, "mean", "text+audio+vision"]
    whole = [
        one(done, "late_fusion", *where)["mean"] for where in (("clean", "complete"), ("missing", "0"), ("subsets", "text+audio+vision"))
    ]
    assert whole == pytest.approx([whole[0]] * 3, rel=1e-5)
    assert one(done, "late_fusion", "subsets", "mean")["mean"] == pytest.approx(rows[rows["condition"].isin(sets)]["mean"].mean())


def test_a_gain_is_the_paired_one_over_the_first_model(done):
    one_, two = (pd.concat([predicted(Run.open(p), "missing") for p in done.runs if word in p.name]) for word in ("late", "early"))
    expected = compare_runs(one_, two, task=next(iter(done.tasks.values())), which=["mae"]).iloc[0]
    row = one(done, "late_fusion", "missing", "mean")
    assert row["gain"] == pytest.approx(expected["improvement"], rel=1e-4)
    assert row["gain_low"] == pytest.approx(expected["improvement_low"], abs=0.5)
    assert row["gain_high"] == pytest.approx(expected["improvement_high"], abs=0.5)
    assert np.isnan(one(done, "early_fusion", "missing", "mean")["gain"])


def test_runs_that_are_done_are_found_wherever_they_lie(done, tmp_path, monkeypatch):
    """One that `train` made under another name, of the same content, counts; one with other options does not."""
    mine = train(override(Experiment(model="unimodal", data=SOURCE), TINY), tmp_path / "mine" / "by_hand", progress=False)
    train(
        override(Experiment(model="unimodal", data=SOURCE, seed=1), {**TINY, "train.lr": 0.1}), tmp_path / "mine" / "other", progress=False
    )
    trained = []
    real = jobs.train
    monkeypatch.setattr(jobs, "train", lambda e, path, **o: (trained.append((e.model_name, e.seed)), real(e, path, **o))[1])
    assert tiny(done.path).frame.equals(done.frame)
    assert trained == []
    more = tiny(tmp_path / "new", models=["early_fusion", "late_fusion", "unimodal"], reuse=[done.path, tmp_path / "mine"])
    assert trained == [("unimodal", 1)]
    assert mine.path in more.runs
    assert set(done.runs) < set(more.runs)
    old = more.frame[more.frame["model"] != "unimodal"].reset_index(drop=True)
    pd.testing.assert_frame_equal(old, done.frame)


def test_published_figures_stand_beside_data_of_their_name_only(done, tmp_path):
    from msaviz import Dataset
    from msaviz.data.msa import save

    assert set(done.frame["source"]) == {"measured"}
    g = np.random.default_rng(0)
    arrays = {"text": g.normal(size=(90, 4, 3)), "audio": g.normal(size=(90, 5, 2))}
    data = Dataset.from_arrays(name="mosi", y=g.uniform(-3, 3, 90), splits=np.repeat(["train", "valid", "test"], 30), **arrays)
    found = tiny(tmp_path / "out", models=["unimodal"], data=str(save(data, tmp_path / "mosi.msa")), seeds=1, protocols=["missing"])
    others = found.frame[found.frame["source"] != "measured"]
    expected = published("mosi", protocol="missing")
    assert len(others) == len(expected)
    assert others["mean"].tolist() == expected["value"].tolist()
    assert set(others["condition"]) == {"mean"}
    assert others["low"].isna().all()
    assert set(others["selection"]) == {"published", "validation"}


def test_two_datasets_are_two_parts_of_the_table(tmp_path):
    found = tiny(tmp_path, models=["unimodal"], data=[SOURCE, f"{SOURCE},seed=1"], seeds=1, protocols=["clean"])
    assert list(dict.fromkeys(found.frame["data"])) == [SOURCE, f"{SOURCE},seed=1"]
    assert len(found.runs) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"models": ["nonsense"]}, r"no model is called 'nonsense'.*early_fusion"),
        ({"protocols": ["nonsense"]}, r"no protocol of a results table is called 'nonsense'.*clean, missing, subsets"),
        ({"protocols": []}, "no protocol of a results table is called 'none'"),
        ({"against": "derl"}, r"nothing to measure against is called 'derl'.*early_fusion/erm, late_fusion/erm"),
        ({"seeds": 0}, "at least one seed"),
        ({"changes": {"seed": 8}}, "the comparison itself varies"),
        ({"changes": {"model.nonsense": 8}}, "unknown option"),
    ],
)
def test_a_mistake_is_told_before_anything_is_trained(options, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        tiny(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_run_that_fails_is_told_and_the_table_is_made_of_the_others(tmp_path, monkeypatch):
    real = jobs.train

    def broken(experiment, path, **options):
        if experiment.model_name == "late_fusion":
            raise FloatingPointError("loss is not finite")
        return real(experiment, path, **options)

    monkeypatch.setattr(jobs, "train", broken)
    found = tiny(tmp_path, seeds=1, protocols=["clean"])
    assert list(found.failed.values()) == ["FloatingPointError: loss is not finite"]
    assert set(found.frame["model"]) == {"early_fusion"}
