"""Are the numbers of a comparison right by hand, and its intervals honest about chance?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from msaviz.training.bootstrap import draws, interval, resampled_metrics
from msaviz.training.gains import Trial, comparison
from msaviz.training.metrics import metrics
from msaviz.types import Task

CLASSES = Task("classes", classes=("a", "b", "c"))
LABELS = {d: np.random.default_rng(i).uniform(-3, 3, 400) for i, d in enumerate("ab")}


def planted(errors: dict[tuple[str, int, str], float], model: str = "m", spread: float = 0.0) -> list[Trial]:
    """One test for each (objective, seed, domain): the label missed by `error`, up or down at random by as much more as `spread`."""
    found = []
    for (objective, seed, domain), error in errors.items():
        y = LABELS[domain]
        noise = np.random.default_rng([seed, len(objective), ord(domain)]).uniform(-spread, spread, len(y))
        found.append(Trial(model, objective, seed, domain, domain, y + error + noise, y, dict.fromkeys(metrics(y, y, Task()), 1.0)))
    return found


def rows(tested: list[Trial], metric: str = "mae", **options) -> pd.DataFrame:
    frame = comparison(tested, ["a", "b"], Task(), "lodo", samples=300, **options)
    return frame[frame["metric"] == metric].set_index(["objective", "target"])


# -- resamples ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [Task(), Task(low=-1, high=1), Task(low=0, high=4), CLASSES], ids=["mosi", "sims", "other", "classes"])
def test_resampled_metrics_are_the_metrics_of_the_resampled_rows(task):
    """Every metric, against `metrics` on rows that are really drawn; row 0 is the sample itself."""
    generator = np.random.default_rng(1)
    if task.kind == "classes":
        y, p = generator.integers(-1, 3, 60).astype(float), generator.integers(0, 3, (2, 60)).astype(float)
    else:
        y, p = np.round(generator.uniform(task.low, task.high, 60), 1), generator.uniform(task.low, task.high, (2, 60))
        y[:5], y[5:8] = np.nan, 0
    weights = draws(60, 20, seed=3)
    assert (weights[0] == 1).all()
    assert (weights.sum(1) == 60).all()
    found = resampled_metrics(weights, p, y, task)
    for k in (0, 1, 20):
        index = np.repeat(np.arange(60), weights[k].astype(int))
        for r in range(2):
            expected = metrics(p[r, index], y[index], task)
            assert {name: values[k, r] for name, values in found.items()} == pytest.approx(expected, abs=1e-9)


def test_a_broken_run_scores_nothing_and_a_constant_one_correlates_with_nothing():
    y = LABELS["a"]
    p = np.stack([y, np.full_like(y, 0.3), np.where(np.arange(len(y)) == 7, np.nan, y)])
    found = resampled_metrics(draws(len(y), 10, 0), p, y, Task())
    assert np.isnan(np.stack([v[:, 2] for v in found.values()])).all()
    assert found["corr"][:, 0] == pytest.approx(1)
    assert (found["corr"][:, 1] == 0).all()
    empty = resampled_metrics(draws(4, 5, 0), np.zeros((1, 4)), np.full(4, np.nan), Task())
    assert all(np.isnan(v).all() for v in empty.values())


def test_an_interval_leaves_the_observed_value_out():
    assert interval(np.array([99.0, *np.linspace(0, 1, 201)])) == pytest.approx((0.025, 0.975))
    assert np.isnan(interval(np.array([1.0, np.nan, np.nan, 1.0, np.nan]))).all()


# -- rows ---------------------------------------------------------------------------------------------------------------


def test_means_worst_and_gains_by_hand():
    errors = {
        ("erm", 0, "a"): 0.4,
        ("erm", 1, "a"): 0.6,
        ("erm", 0, "b"): 0.2,
        ("erm", 1, "b"): 0.8,
        ("irm", 0, "a"): 0.4,
        ("irm", 1, "a"): 0.4,
        ("irm", 0, "b"): 0.6,
        ("irm", 1, "b"): 0.2,
    }
    frame = rows(planted(errors))
    assert frame.loc[("erm", "a"), "mean"] == pytest.approx(0.5)
    assert frame.loc[("erm", "a"), "sd"] == pytest.approx(np.std([0.4, 0.6], ddof=1))
    assert frame.loc[("erm", "mean"), ["mean", "sd"]].tolist() == pytest.approx([0.5, np.std([0.3, 0.7], ddof=1)])
    assert frame.loc[("erm", "worst"), ["mean", "sd"]].tolist() == pytest.approx([0.6, np.std([0.4, 0.8], ddof=1)])
    assert frame.loc[("irm", "worst"), "mean"] == pytest.approx(0.5)
    gains = frame.loc["irm", "gain"].to_dict()
    assert gains == pytest.approx({"a": 20.0, "b": 20.0, "mean": 20.0, "worst": 100 / 6})
    assert frame.loc["erm", ["gain", "gain_low", "gain_high"]].isna().all(axis=None)
    assert (frame["runs"] == 2).all()
    assert (frame["floor"] == 1).all()
    assert frame["low"].to_numpy() == pytest.approx(frame["mean"].to_numpy()), "every row misses alike: no resample differs"


def test_the_worst_accuracy_is_the_lowest_and_higher_gains():
    errors = {("erm", 0, "a"): 3.0, ("erm", 0, "b"): 1.0, ("irm", 0, "a"): 1.0, ("irm", 0, "b"): 0.0}
    frame = rows(planted(errors), "acc2_negpos")
    each = {(o, d): np.mean((LABELS[d] + e > 0) == (LABELS[d] > 0)) for (o, _, d), e in errors.items()}
    assert frame.loc[("erm", "worst"), "mean"] == pytest.approx(each["erm", "a"])
    assert each["erm", "a"] < each["erm", "b"]
    assert frame.loc[("irm", "worst"), "gain"] == pytest.approx(100 * (each["irm", "a"] / each["erm", "a"] - 1))
    assert frame.loc[("irm", "a"), "gain"] > 0


def test_a_gain_may_be_measured_against_one_pair_for_all():
    tested = planted({("erm", 0, "a"): 0.5, ("erm", 0, "b"): 0.5}) + planted({("erm", 0, "a"): 0.25, ("erm", 0, "b"): 0.25}, model="n")
    frame = comparison(tested, ["a", "b"], Task(), "lodo", against="m/erm", samples=50)
    mean = frame[(frame["metric"] == "mae") & (frame["target"] == "mean")].set_index("model")["gain"]
    assert np.isnan(mean["m"])
    assert mean["n"] == pytest.approx(50)


def test_a_seed_that_lacks_a_target_has_no_mean():
    tested = planted({("erm", 0, "a"): 0.2, ("erm", 0, "b"): 0.4, ("erm", 1, "a"): 0.4})
    frame = rows(tested)
    assert frame.loc[("erm", "a"), ["mean", "runs"]].tolist() == pytest.approx([0.3, 2])
    assert frame.loc[("erm", "mean"), ["mean", "runs"]].tolist() == pytest.approx([0.3, 1])
    only = rows(planted({("erm", 0, "a"): 0.2}))
    assert list(only.index.get_level_values("target")) == ["a"]
    assert comparison([], ["a", "b"], Task(), "lodo").empty


def test_other_utterances_are_not_compared():
    one, two = planted({("erm", 0, "a"): 0.2, ("irm", 0, "a"): 0.2})
    other = Trial(**{**vars(two), "label": two.label + 1})
    with pytest.raises(ValueError, match="other utterances or labels of the domain 'a'"):
        rows([one, other])


def test_equal_models_gain_nothing_beyond_chance_and_better_ones_do():
    errors = {(o, s, d): 0.0 for o in ("erm", "alike") for s in range(3) for d in "ab"} | {
        ("best", s, d): 0.0 for s in range(3) for d in "ab"
    }
    tested = planted({k: v for k, v in errors.items() if k[0] != "best"}, spread=1.0)
    tested += planted({k: v for k, v in errors.items() if k[0] == "best"}, spread=0.8)
    frame = rows(tested)
    alike, best = frame.loc["alike"], frame.loc["best"]
    assert (alike["gain_low"] < 0).all()
    assert (alike["gain_high"] > 0).all()
    assert (best["gain_low"] > 0).all()
    assert best.loc["mean", "gain_low"] < 20 < best.loc["mean", "gain_high"]


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    """|error| is uniform on [0, 1] in both domains: the true mean over them is .5."""
    inside, draws_of = 0, np.random.default_rng(0)
    for _ in range(200):
        tested = []
        for domain in "ab":
            y = draws_of.uniform(-3, 3, 60)
            p = y + draws_of.uniform(-1, 1, 60)
            tested.append(Trial("m", "erm", 0, domain, domain, p, y, dict.fromkeys(metrics(y, y, Task()), 1.0)))
        row = rows(tested).loc[("erm", "mean")]
        inside += row["low"] <= 0.5 <= row["high"]
    assert 0.9 <= inside / 200 <= 0.98
