"""Side by side: numbers that can be checked by hand, the constant beside them, and published figures that never pass for ours."""

from __future__ import annotations

import pandas as pd
import pytest

from msaviz.app.beside import PAIRS, beside_published, paired, side_by_side, versus
from msaviz.app.groups import grouped
from msaviz.app.results import over_seeds
from msaviz.training.published import published

ROW = {"protocol": "clean", "split": "test", "selection": "validation", "rate": 0.0, "subset": "text", "domain": "all", "metric": "mae"}


def sweep(scores: dict[str, list[float]], floor: float = 1.0, **changes: object) -> pd.DataFrame:
    rows = [
        {**ROW, "run": f"{model}-{seed}", "model": model, "seed": seed, "value": value, "floor": floor, **changes}
        for model, values in scores.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def groups(tiny):
    return grouped([tiny["derl"], tiny["again"], tiny["plain"]])


def test_mean_deviation_and_the_constant():
    table = side_by_side(sweep({"one": [0.5, 0.7], "two": [1.5]}))
    assert table["model"].tolist() == ["constant predictor", "one", "two"]
    assert table["seeds"].tolist() == ["", "2", "1"]
    assert table["MAE"].tolist() == ["1.000", "0.600 ± 0.141 ▲", "1.500 ▼"]


def test_other_data_have_another_constant():
    both = pd.concat([sweep({"one": [0.5]}), sweep({"two": [0.5]}, floor=0.4)], ignore_index=True)
    table = side_by_side(both)
    assert table["MAE"].tolist() == ["1.000", "0.400", "0.500 ▲", "0.500 ▼"]


def test_of_a_sweep_the_summaries_are_shown():
    parts = [sweep({"one": [v]}, rate=r, subset=s) for v, r, s in ((0.2, 0.0, "text"), (0.4, 0.5, "text"), (0.3, float("nan"), "mean"))]
    table = side_by_side(pd.concat(parts, ignore_index=True))
    assert table["condition"].tolist() == ["mean", "mean"]
    assert table["MAE"].tolist() == ["1.000", "0.300 ▲"]


def test_every_pair_once_with_its_interval(groups):
    pairs = paired([*groups, groups[0]][:2], "clean", "test")
    assert list(pairs.columns) == list(PAIRS)
    assert set(zip(pairs["model"], pairs["other"], strict=True)) == {("derl", "early_fusion")}
    assert ((pairs["low"] <= pairs["difference"]) & (pairs["difference"] <= pairs["high"])).all()
    known = over_seeds(pd.concat([group.sweep("clean", "test") for group in groups])).set_index(["model", "metric"])["mean"]
    row = pairs[pairs["metric"] == "mae"].iloc[0]
    assert row["difference"] == pytest.approx(known["derl", "mae"] - known["early_fusion", "mae"], abs=1e-3)


def test_a_model_alone_has_nothing_to_be_compared_with(groups):
    assert paired(groups[:1], "clean", "test").empty
    assert "Nothing to compare" in versus(paired(groups[:1], "clean", "test")).layout.annotations[0].text


def test_the_picture_holds_the_intervals_and_marks_chance():
    """One gain beyond zero, one not; names are data, so they are escaped."""
    numbers = {"difference": 0.1, "low": 0.0, "high": 0.2}
    rows = [
        {
            "model": "<b>a",
            "other": o,
            "metric": "mae",
            "improvement": 10.0,
            "improvement_low": low,
            "improvement_high": 12.0,
            "wins": low > 0,
        }
        for o, low in (("b", 8.0), ("c", -1.0))
    ]
    figure = versus(pd.DataFrame(rows).assign(**numbers))
    dots = {trace.name: trace for trace in figure.data if trace.mode == "markers" and trace.error_x.array is not None}
    assert set(dots) == {"beyond chance", "no more than chance"}
    assert dots["beyond chance"].error_x.arrayminus.tolist() == [2.0]
    assert dots["no more than chance"].error_x.arrayminus.tolist() == [11.0]
    assert dots["beyond chance"].marker.symbol != dots["no more than chance"].marker.symbol
    assert list(figure.layout.yaxis.ticktext) == ["&lt;b&gt;a over b", "&lt;b&gt;a over c"]
    assert [trace.name for trace in figure.data if trace.showlegend] == ["no gain", "beyond chance", "no more than chance"]


def test_published_figures_say_whose_they_are(groups):
    sweeps = pd.concat([group.sweep("missing", "test") for group in groups], ignore_index=True)
    table = beside_published(groups, sweeps, published("mosi"))
    assert table["whose"].tolist() == ["constant predictor", "these runs", "these runs"] + ["published"] * 18
    assert (table.loc[table["whose"] == "published", ["dataset", "selection", "source"]] != "").all(axis=None)
    assert set(table.loc[table["whose"] == "these runs", "dataset"]) == {"synthetic"}
    means = over_seeds(sweeps).query("condition == 'mean' and metric == 'mae'").set_index("model")["mean"]
    assert table.loc[1:2, "MAE"].tolist() == [f"{means['derl']:.3f}", f"{means['early_fusion']:.3f}"]
    lnln = table[(table["model"] == "LNLN") & (table["selection"] == "validation")].iloc[0]
    assert (lnln["MAE"], lnln["Corr"], lnln["protocol"]) == ("1.145", "", "missing")


def test_without_published_figures_ours_stand_alone(groups):
    sweeps = pd.concat([group.sweep("clean", "test") for group in groups], ignore_index=True)
    table = beside_published(groups, sweeps, published("nothing"))
    assert table["whose"].tolist() == ["constant predictor", "these runs", "these runs"]
    assert (table.loc[1:, "MAE"] != "").all()
