"""Are the published figures what was published, and does each say how it was made?"""

from __future__ import annotations

import tomllib

import pytest
from places import ROOT

from msaviz.training.protocols import PROTOCOLS
from msaviz.training.published import COLUMNS, named_in, published, told, wide


def value(model: str, **which: str) -> float:
    frame = published("mosi", **which)
    (found,) = frame.loc[frame["model"] == model, "value"]
    return float(found)


def test_figures_of_each_kind():
    """By hand from the tables: percent become shares."""
    best, single = {"protocol": "missing", "selection": "published"}, {"protocol": "missing", "selection": "validation"}
    assert value("TF-Mamba", **best, metric="acc2_nonneg") == pytest.approx(0.7346)
    assert value("TF-Mamba", **best, metric="acc2_negpos") == pytest.approx(0.7254)
    assert value("LNLN", **best, metric="acc7") == pytest.approx(0.3426)
    assert value("TFR-Net", **best, metric="corr") == pytest.approx(0.459)
    assert value("LNLN", **best, metric="mae") == 1.046
    assert value("LNLN", **single, metric="mae") == 1.145
    assert value("TCMR", **single, metric="acc2_negpos") == pytest.approx(0.7201)
    assert value("MulT", protocol="clean", metric="mae") == 0.880


def test_there_are_as_many_as_were_published_and_each_once():
    frame = published("mosi")
    assert list(frame.columns) == COLUMNS
    assert frame.groupby(["protocol", "selection"]).size().to_dict() == {
        ("missing", "published"): 8 * 5,
        ("missing", "validation"): 7 * 2,
        ("clean", "not stated"): 3,
    }
    assert not frame.duplicated(["model", "dataset", "protocol", "selection", "metric"]).any()
    assert set(frame["protocol"]) <= set(PROTOCOLS)
    shares = frame["metric"].isin(["acc2_negpos", "acc2_nonneg", "acc7", "corr"])
    assert frame.loc[shares, "value"].between(0, 1).all()
    assert frame.loc[~shares, "value"].between(0.5, 1.5).all()
    assert all(source.startswith(model) for model, source in zip(frame["model"], frame["source"], strict=True))


def test_choosing_on_the_test_split_flatters():
    """Of every model that was published both ways the per-metric best is better, which is why the two never share a column."""
    both = published("mosi", protocol="missing", metric="mae").pivot(index="model", columns="selection", values="value").dropna()
    assert len(both) == 6
    assert (both["published"] < both["validation"]).all()


def test_unknown_data_have_none():
    for name in ("synthetic", "", "mosei"):
        assert published(name).empty
        assert list(published(name).columns) == COLUMNS
    assert len(published("MOSI")) == len(published("mosi"))


def test_wide_has_a_row_a_model_protocol_and_selection():
    table = wide(published("mosi"))
    assert len(table) == 8 + 7 + 3
    metrics = ["mae", "corr", "acc2_negpos", "acc2_nonneg", "acc7"]
    assert list(table.columns) == ["model", "dataset", "protocol", "selection", *metrics, "source"]
    row = table[(table["model"] == "MISA") & (table["selection"] == "validation")].iloc[0]
    assert (row["mae"], row["acc2_negpos"]) == (1.164, pytest.approx(0.6877))
    assert row[["corr", "acc7"]].isna().all()
    assert "validation-chosen" in row["source"]


def test_the_sentence_says_what_may_be_set_beside_what():
    figures = published("mosi")
    assert told("synthetic", figures).startswith("No published figure exists for synthetic. Those of mosi are for orientation")
    assert told("mosi_standard", figures).startswith("Published figures of mosi; make sure that mosi_standard is the same split")
    assert told("mosei", figures).startswith("No published figure exists for mosei")
    assert "(missing / published, missing / validation, clean / not stated)" in told("mosi", figures)
    assert told("synthetic", published("synthetic")) == "No published figures are known for synthetic."


def test_the_figures_travel_with_the_package():
    """The wheel holds every file below the package that git knows; nothing leaves this one out."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["msaviz"]
    assert not {"exclude", "only-include", "include"} & set(wheel)
    assert (ROOT / "msaviz" / "training" / "published.csv").is_file()


def test_figures_of_the_dataset_that_a_name_speaks_of():
    found = named_in("MOSI_standard")
    assert len(found) == len(published("mosi")) > 0
    assert found["dataset"].eq("mosi").all()
    assert named_in("synthetic").empty
    assert named_in("mosix").empty
    assert list(named_in("synthetic").columns) == list(found.columns)
