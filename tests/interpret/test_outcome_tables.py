"""Do the tables about errors, sweeps and training say what their frames hold?"""

import numpy as np
import pandas as pd
import pytest

from msaviz.catalog import TABLES


def test_errors_by_group(trace):
    frame = TABLES["error_by_group"](trace).set_index(["by", "group", "metric"])
    assert frame.loc[("domain", "news", "bias"), "value"] == pytest.approx(0.5, abs=1e-5)
    assert frame.loc[("domain", "film", "mae"), "value"] == pytest.approx(1, abs=1e-5)
    assert frame.loc[("domain", "news", "correlation"), "value"] == pytest.approx(1, abs=1e-5)
    assert frame.loc[("domain", "news", "mae"), "examples"] + frame.loc[("domain", "film", "mae"), "examples"] == 400
    label = trace.examples["label"]
    assert frame.loc[("all", "all", "mae"), "floor"] == pytest.approx(np.abs(label - label.median()).mean(), rel=1e-4)
    whole = frame.loc[("all", "all", "mae")]
    spread = trace.examples["error"].abs().std() / 20
    assert whole["high"] - whole["low"] == pytest.approx(2 * 1.96 * spread, rel=0.2)
    assert ((frame["low"] <= frame["value"] + 1e-6) & (frame["value"] <= frame["high"] + 1e-6)).all()


def test_errors_of_classes(classes):
    frame = TABLES["error_by_group"](classes)
    assert (frame["value"] == 1).all()
    share = classes.examples["label"].value_counts(normalize=True).max()
    assert frame.set_index(["by", "group"]).loc[("all", "all"), "floor"] == pytest.approx(share)
    assert set(TABLES["predictions"](classes)["label_group"]) == {"angry", "calm", "glad"}


def test_predictions(trace):
    frame = TABLES["predictions"](trace)
    assert np.allclose(frame["error"], frame["prediction"] - frame["label"], atol=1e-6)
    assert (frame.loc[frame["label_group"] == "negative", "label"] < -0.5).all()
    assert (frame.loc[frame["label_group"] == "neutral", "label"].abs() <= 0.5).all()


def test_unlabelled_rows_are_in_no_group(planted):
    from dataclasses import replace

    trace = planted.planted(60)
    batches = tuple(replace(b, labels={"sentiment": b.labels["sentiment"].masked_fill(b.example % 2 == 0, np.nan)}) for b in trace.batches)
    trace = replace(trace, batches=batches)
    frame = TABLES["error_by_group"](trace)
    assert frame[(frame["by"] == "all") & (frame["metric"] == "mae")]["examples"].item() == 30
    assert (TABLES["predictions"](trace)["label_group"] == "").sum() == 30
    assert TABLES["leakage"](trace).query("target == 'label'")["examples"].max() == 30


def test_missing_curve(planted):
    frame = TABLES["missing_curve"](planted.sweep())
    assert len(frame) == 2 * 10 * 3
    rows = frame[(frame["model"] == "derl") & (frame["metric"] == "mae")].set_index("rate")
    assert rows["value"].to_numpy() == pytest.approx(0.9 + 0.4 * rows.index.to_numpy())
    assert rows["std"].to_numpy() == pytest.approx(np.full(10, np.std([-0.02, -0.01, 0, 0.01, 0.02], ddof=1)))
    half = 2.7764 * rows["std"] / np.sqrt(5)  # t with 4 degrees of freedom
    assert (rows["high"] - rows["value"]).to_numpy() == pytest.approx(half.to_numpy(), rel=1e-3)
    assert set(rows["seeds"]) == {5}
    assert set(rows["floor"]) == {1.4}
    pieces = [part for _, part in planted.sweep().groupby("run")]
    assert TABLES["missing_curve"](pieces).equals(frame)


def test_missing_summary(planted):
    frame = TABLES["missing_summary"](planted.sweep()).set_index(["model", "summary", "metric"])
    assert frame.loc[("derl", "mean", "mae"), "value"] == pytest.approx(0.9 + 0.4 * 0.45)
    assert frame.loc[("derl", "area", "mae"), "value"] == pytest.approx(0.9 + 0.4 * 0.45)  # of a straight line both are its middle
    assert frame.loc[("derl", "area", "mae"), "floor"] == pytest.approx(1.4)
    bent = planted.sweep(models=("derl",), seeds=1)
    bent.loc[bent["rate"] == 0.9, "value"] = 10.0
    area = TABLES["missing_summary"](bent).set_index(["summary", "metric"])["value"]["area", "mae"]
    values = bent[(bent["metric"] == "mae") & bent["rate"].notna()].sort_values("rate")
    assert area == pytest.approx(np.trapezoid(values["value"], values["rate"]) / 0.9)


def test_ablations_of_one_model_are_not_averaged(planted):
    a, b = planted.sweep(models=("derl",), seeds=2), planted.sweep(models=("derl",), seeds=2)
    b["run"] = b["run"].str.replace("derl-", "derl-flat-seed")
    frame = TABLES["missing_curve"]([a, b])
    assert set(frame["run"]) == {"derl", "derl-flat"}
    assert set(frame["seeds"]) == {2}
    c = a.assign(run="mine")[a["seed"] == 0]
    d = a.assign(run="yours")[a["seed"] == 0]
    assert set(TABLES["missing_curve"]([c, d])["run"]) == {"mine", "yours"}


def test_one_seed_has_no_interval(planted):
    frame = TABLES["missing_curve"](planted.sweep(seeds=1))
    assert frame[["std", "low", "high"]].isna().all().all()
    assert frame["value"].notna().all()


def test_sweeps_say_what_is_missing(planted):
    with pytest.raises(ValueError, match=r"needs the columns \['floor'\]"):
        TABLES["subset_scores"](planted.sweep(protocol="subsets").drop(columns="floor"))
    assert TABLES["missing_curve"](planted.sweep(protocol="subsets")).empty
    assert TABLES["missing_curve"](planted.sweep().assign(protocol="span"), protocol="span").equals(
        TABLES["missing_curve"](planted.sweep())
    )
    subsets = TABLES["subset_scores"](planted.sweep(protocol="subsets"))
    assert list(subsets["subset"].unique()) == ["text", "audio", "vision", "text+audio", "text+audio+vision"]


def test_learning_curves(planted):
    history = planted.history()
    frame = TABLES["learning_curves"](history, points=100)
    total = frame[frame["kind"] == "total"]
    assert len(total) == 100
    assert total["value"].mean() == pytest.approx(history[history["metric"] == "loss/total"]["value"].mean())
    assert set(frame.loc[frame["kind"] == "term", "metric"]) == {"task", "reconstruction", "orthogonality", "similarity"}
    assert len(frame.query("kind == 'metric' and domain == 'all' and metric == 'mae' and rate == 0.5")) == 12
    assert frame.loc[frame["kind"] != "metric", "rate"].isna().all()
    bare = TABLES["learning_curves"](history.drop(columns=["run", "epoch", "domain"]))
    assert set(bare["run"]) == {"run"}
    with pytest.raises(ValueError, match="needs the columns"):
        TABLES["learning_curves"](pd.DataFrame({"step": [1]}))


@pytest.mark.parametrize("name", ["expert_usage", "router_health", "fusion_importance", "space_overlap", "principal_angles"])
def test_a_model_without_experts_gives_an_empty_frame(planted, name):
    frame = TABLES[name](planted.plain())
    assert frame.empty
    assert tuple(frame.columns) == TABLES[name].columns


def test_first_column_is_always_run_and_tables_leave_the_trace_alone(trace):
    before = {name: x.copy() for name, x in trace.representations.items()}
    examples = trace.examples.copy()
    for name, table in TABLES.items():
        assert table.columns[0] == ("model" if table.of in ("comparison", "results") else "run"), name
        known = ("trace", "sweep", "history", "epochs", "comparison", "subsets", "conditions", "evolution", "attributions", "results")
        assert table.of in known, name
        if table.of == "trace" and name != "expert_attribution":  # that one looks into a real model
            assert set(table(trace)["run"]) == {"planted"}, name
    assert trace.examples.equals(examples)
    assert all(np.array_equal(before[name], x, equal_nan=True) for name, x in trace.representations.items())
