"""Does the calibration table find the slope, the intercept and the error that were planted?"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from msaviz.catalog import TABLES

HALVES = np.arange(400) % 2


def table(planted, label, prediction, domain=HALVES, **options):
    trace = planted.given(np.zeros((len(label), 1)), domain, label=label, prediction=prediction)
    return TABLES["calibration"](trace, **options).set_index(["domain", "bin"])


def test_a_perfect_prediction_is_calibrated(planted):
    label = np.random.default_rng(0).uniform(-3, 3, 400)
    frame = table(planted, label, label)
    assert frame["slope"].to_numpy() == pytest.approx(1)
    assert frame["intercept"].to_numpy() == pytest.approx(0, abs=1e-6)
    assert frame["error"].max() < 1e-6
    assert frame["predicted"].to_numpy() == pytest.approx(frame["observed"].to_numpy())


def test_slope_and_error_are_recovered_by_domain(planted):
    label = np.random.default_rng(0).uniform(-3, 3, 400)
    prediction = np.where(HALVES == 0, label / 2, label + 1)
    frame = table(planted, label, prediction)
    group = frame.groupby("domain", sort=False)[["slope", "intercept", "error"]].first()
    assert list(group.index) == ["all", "place 0", "place 1"]
    assert tuple(group.loc["place 0", ["slope", "intercept"]]) == pytest.approx((2, 0), abs=1e-5)
    assert tuple(group.loc["place 1"]) == pytest.approx((1, -1, 1), abs=1e-5)
    low = frame.loc["place 0"]
    by_hand = np.average(np.abs(low["predicted"] - low["observed"]), weights=low["examples"])
    assert group.loc["place 0", "error"] == pytest.approx(by_hand)
    assert (frame.groupby("domain")[["slope", "intercept", "error"]].nunique() == 1).all(axis=None)


def test_bins_are_equal_ordered_and_hold_everyone(planted):
    g = np.random.default_rng(1)
    label = g.uniform(-3, 3, 400)
    frame = table(planted, label, label + g.normal(size=400))
    assert (frame["examples"].groupby("domain").sum() == [400, 200, 200]).all()
    assert (frame.groupby("domain")["examples"].agg(np.ptp) <= 1).all()
    assert all(part.is_monotonic_increasing for _, part in frame["predicted"].groupby("domain"))
    assert (frame.groupby("domain").size() == 10).all()
    assert ((frame["low"] <= frame["observed"]) & (frame["observed"] <= frame["high"])).all()
    few = table(planted, label[:43], label[:43], np.repeat([0, 1], [38, 5]))
    assert few.groupby("domain").size().to_dict() == {"all": 4, "place 0": 3, "place 1": 1}
    assert len(table(planted, label, label, np.zeros(400), bins=3)) == 3


def test_a_constant_prediction_has_no_slope(planted):
    label = np.random.default_rng(0).normal(size=400)
    frame = table(planted, label, np.zeros(400))
    assert frame["slope"].isna().all()
    assert frame["observed"].abs().max() < 1
    # sorted labels behind equal predictions: the bins must not sort them again
    ties = table(planted, np.sort(label), np.zeros(400), np.zeros(400))
    assert ties["observed"].abs().max() < 0.7
    with pytest.raises(ValueError, match="at least 1 bin"):
        table(planted, label, label, bins=0)


def test_utterances_without_a_label_are_left_out(planted):
    label = np.random.default_rng(0).uniform(-3, 3, 400)
    label[:100] = np.nan
    frame = table(planted, label, np.nan_to_num(label))
    assert frame.loc["all", "examples"].sum() == 300
    assert np.isfinite(frame["error"]).all()
    assert table(planted, np.full(400, np.nan), np.zeros(400)).empty


def test_confidence_of_classes(planted):
    """In domain 0 an answer with confidence c is right in a share c of the cases, in domain 1 in half of them."""
    g = np.random.default_rng(0)
    rows, domain = 4000, np.arange(4000) % 2
    confidence = g.uniform(0.5, 0.95, rows)
    right = g.random(rows) < np.where(domain == 0, confidence, 0.5)
    probability = np.stack([confidence, (1 - confidence) / 2, (1 - confidence) / 2], 1)
    label = np.where(right, 0, 1)
    trace = planted.given(np.zeros((rows, 1)), domain, label=label, prediction=np.log(probability), task=planted.CLASSES)
    frame = TABLES["calibration"](trace).set_index(["domain", "bin"])
    error = frame["error"].groupby("domain").first()
    assert error["place 0"] < 0.05
    assert error["place 1"] == pytest.approx(0.725 - 0.5, abs=0.04)
    assert frame[["slope", "intercept"]].isna().all(axis=None)
    assert frame["predicted"].between(0.5, 0.95).all()
    unknown = replace(trace.batches[0], labels={"sentiment": torch.full((rows,), -1)})
    assert TABLES["calibration"](replace(trace, batches=(unknown,))).empty
