"""Is every metric what scikit-learn and scipy say, on random rows and on those that break formulas: constant, tied, huge, none?"""

from __future__ import annotations

import numpy as np
import pytest
from endurance import tell, tries
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, recall_score

from msaviz.interpret.calibration import _bins, line
from msaviz.training.bootstrap import draws, interval, resampled_metrics
from msaviz.training.metrics import correlation, floor, metrics, paired_bootstrap, per_example, schemes
from msaviz.types import Task

SCALES = {"mosi": Task(), "sims": Task(low=-1, high=1), "five": Task(low=1, high=5)}
MOODS = Task("classes", classes=("a", "b", "c"))
GRID = [-4, -3, -2.5, -2, -1.5, -1, -0.7, -0.5, -0.1, 0, 0.1, 0.5, 0.7, 1, 1.5, 2, 2.5, 3, 4, 5]
LABELS = st.one_of(st.sampled_from(GRID), st.floats(-5, 5), st.just(np.nan))
"""Often on the edges of classes, and often equal."""
GUESSES = st.one_of(st.sampled_from(GRID), st.floats(-1e6, 1e6), st.floats(-1e-6, 1e-6))
CHECKED = settings(max_examples=tries(30), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


def columns(guess: st.SearchStrategy, label: st.SearchStrategy) -> st.SearchStrategy:
    """(predictions, labels) of none to forty rows; every fourth column is constant."""
    sizes = st.integers(0, 40)

    def column(size: int, one: st.SearchStrategy) -> st.SearchStrategy:
        varied, same = arrays(float, size, elements=one), one.map(lambda value: np.full(size, float(value)))
        return st.one_of(varied, varied, varied, same)

    return sizes.flatmap(lambda n: st.tuples(column(n, guess), column(n, label)))


def binned(values: np.ndarray, edges: list[float]) -> np.ndarray:
    return np.digitize(values, edges, right=True)


def expected(p: np.ndarray, y: np.ndarray, scale: str) -> dict[str, float]:
    """Every metric by another's code; the rows have labels."""
    pearson = stats.pearsonr(p, y)[0] if len(y) > 1 and np.ptp(p) > 0 and np.ptp(y) > 0 else 0.0
    found = {"mae": mean_absolute_error(y, p), "corr": pearson}

    def scored(name: str, truth: np.ndarray, guess: np.ndarray, f1: str = "") -> None:
        some = len(truth) > 0
        found[name] = accuracy_score(truth, guess) if some else np.nan
        if f1:
            found[f1] = f1_score(truth, guess, average="weighted", zero_division=0) if some else np.nan

    if scale == "mosi":
        there = y != 0
        scored("acc2_negpos", y[there] > 0, p[there] > 0, "f1_negpos")
        scored("acc2_nonneg", y >= 0, p >= 0, "f1_nonneg")
        scored("acc5", np.round(np.clip(y, -2, 2)), np.round(np.clip(p, -2, 2)))
        scored("acc7", np.round(np.clip(y, -3, 3)), np.round(np.clip(p, -3, 3)))
    elif scale == "sims":
        scored("acc2", y > 0, p > 0, "f1")
        scored("acc3", binned(y, [-0.1, 0.1]), binned(p, [-0.1, 0.1]))
        scored("acc5", binned(y, [-0.7, -0.1, 0.1, 0.7]), binned(p, [-0.7, -0.1, 0.1, 0.7]))
    else:
        scored("acc2", y > 3, p > 3, "f1")
        scored("accuracy", np.round(np.clip(y, 1, 5)), np.round(np.clip(p, 1, 5)))
    return found


def told(what: str) -> None:
    tell(f"metrics: {what}", CHECKED.max_examples)


@pytest.mark.parametrize("scale", SCALES)
def test_every_metric_of_real_labels(scale):
    """Also with its bootstrap (whose first resample is the rows as they are) and its scores of utterances; labels of NaN do not count."""

    @CHECKED
    @given(columns(GUESSES, LABELS))
    def run(pair):
        p, y = pair
        task, found = SCALES[scale], metrics(p, y, SCALES[scale])
        known = ~np.isnan(y)
        if not known.any():
            assert np.isnan(list(found.values())).all()
            return
        by_others = expected(p[known], y[known], scale)
        assert found.keys() == by_others.keys(), "a metric without another's formula"
        assert found == pytest.approx(by_others, abs=1e-7, nan_ok=True)
        first = {name: values[0, 0] for name, values in resampled_metrics(draws(len(y), 3, 0), p[None], y, task).items()}
        assert first == pytest.approx(found, abs=1e-6, nan_ok=True)
        for name in ("mae", *schemes(task.low, task.high)):
            scores = per_example(p, y, name, task)
            scores = scores[~np.isnan(scores)]
            assert (np.mean(scores) if len(scores) else np.nan) == pytest.approx(found[name], nan_ok=True)

    run()
    told(f"{scale} beside scikit-learn and scipy")


def test_every_metric_of_classes():
    @CHECKED
    @given(st.integers(0, 40).flatmap(lambda n: st.tuples(*(arrays(int, n, elements=st.integers(low, 2)) for low in (0, -1)))))
    def run(pair):
        guess, label = pair
        found, known = metrics(guess, label, MOODS), label >= 0
        assert found.keys() == {"accuracy", "weighted_f1", "uar"}
        if not known.any():
            assert np.isnan(list(found.values())).all()
            return
        truth, said = label[known], guess[known]
        assert found == pytest.approx(
            {
                "accuracy": accuracy_score(truth, said),
                "weighted_f1": f1_score(truth, said, average="weighted", zero_division=0),
                "uar": recall_score(truth, said, labels=np.unique(truth), average="macro", zero_division=0),
            }
        )
        first = resampled_metrics(draws(len(label), 3, 0), guess[None].astype(float), label.astype(float), MOODS)
        assert {name: values[0, 0] for name, values in first.items()} == pytest.approx(found)

    run()
    told("classes beside scikit-learn")


@pytest.mark.parametrize("scale", SCALES)
def test_a_diverged_model_scores_nothing_anywhere(scale):
    """One prediction that is no number: no metric, no resample and no utterance has a score; where no label is, it does not matter."""

    @CHECKED
    @given(columns(GUESSES, LABELS).filter(lambda pair: len(pair[1]) > 0), st.sampled_from([np.nan, np.inf, -np.inf]), st.integers(0, 39))
    def run(pair, broken, row):
        p, y = pair[0].copy(), pair[1]
        p[row % len(p)] = broken
        task, scored = SCALES[scale], np.isnan(y[row % len(p)])
        found = metrics(p, y, task)
        if not scored:
            assert np.isnan(list(found.values())).all()
            assert all(np.isnan(per_example(p, y, name, task)).all() for name in ("mae", *schemes(task.low, task.high)))
            assert all(np.isnan(values).all() for values in resampled_metrics(draws(len(y), 3, 0), p[None], y, task).values())
        else:
            assert found == pytest.approx(metrics(np.where(np.isnan(y), 0, p), y, task), nan_ok=True)

    run()
    told("predictions that are no number")


@pytest.mark.parametrize("offset", [0, 1e3, 1e7, -1e9])
@pytest.mark.parametrize("size", [1e-200, 1e-8, 1, 1e8, 1e200])
def test_a_correlation_knows_neither_size_nor_offset(size, offset):
    for seed in range(tries(2)):
        generator = np.random.default_rng(seed)
        p, y = generator.normal(size=(2, 50))
        truth = stats.pearsonr(p, p + y)[0]
        assert correlation((p + offset) * size, (p + y + offset) * size) == pytest.approx(truth, abs=max(1e-12, abs(offset) * 1e-14))
        curve = resampled_metrics(draws(50, 3, 0), ((p + offset) * size)[None], p + y, Task())["corr"]
        assert curve[0, 0] == pytest.approx(truth, abs=max(1e-9, abs(offset) * 1e-14))


@pytest.mark.parametrize("constant", [0.1, 1e-300, -7e8, 1e200])
@pytest.mark.parametrize("rows", [1, 2, 3, 1000])
def test_a_constant_has_no_correlation(rows, constant):
    y = np.random.default_rng(0).normal(size=rows)
    assert correlation(np.full(rows, constant), y) == 0
    assert not resampled_metrics(draws(rows, 3, 0), np.full((1, rows), constant), y, Task())["corr"].any()


def test_an_infinite_label_is_refused():
    with pytest.raises(ValueError, match="row 1 is infinite"):
        metrics([0.0, 1.0], [0.0, np.inf], Task())


def test_no_constant_beats_the_floor():
    @CHECKED
    @given(columns(GUESSES, LABELS), st.sampled_from(sorted(SCALES)), st.floats(-6, 6))
    def run(pair, scale, constant):
        label, task = pair[1], SCALES[scale]
        bottom, one = floor(label, label, task), metrics(np.full(len(label), constant), label, task)
        assert bottom.keys() == one.keys()
        for name in schemes(task.low, task.high):
            assert not one[name] > bottom[name] + 1e-12
        assert not one["mae"] < bottom["mae"] - 1e-12

    run()
    told("floors beside constants")


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_intervals_are_those_of_scipys_bootstrap(level):
    """A mean difference of paired scores, a correlation, and the resampled MAE: the bounds but for the draw (a tenth of the width)."""
    for seed in range(tries(1)):
        generator = np.random.default_rng(seed)
        a, b = generator.normal(size=(2, 120)) + generator.normal(size=120)
        y = a + generator.normal(size=120)
        options = {"method": "percentile", "n_resamples": 4000, "confidence_level": level, "rng": generator, "vectorized": True}
        one = paired_bootstrap(a, b, samples=4000, level=level)
        other = stats.bootstrap((a - b,), np.mean, **options).confidence_interval
        assert_near((one.low, one.high), other)
        curves = resampled_metrics(draws(120, 4000, 0), a[None], y, Task())
        assert_near(interval(curves["mae"][:, 0], level), stats.bootstrap((np.abs(a - y),), np.mean, **options).confidence_interval)
        other = stats.bootstrap((a, y), lambda p, q, axis: correlation(p, q), paired=True, **options).confidence_interval
        assert_near(interval(curves["corr"][:, 0], level), other)
    tell("metrics: intervals beside scipy.stats.bootstrap", 3 * tries(1))


def assert_near(one, other) -> None:
    np.testing.assert_allclose(one, (other.low, other.high), atol=(other.high - other.low) / 10)


def test_percentages_of_nothing_are_no_number():
    """Without a warning; where some resamples have a percentage these bound it."""
    gone = paired_bootstrap(np.ones(5), np.zeros(5), relative=True)
    assert np.isnan([gone.mean, gone.low, gone.high]).all()
    some = paired_bootstrap(np.ones(5), np.array([0, 0, 0, 0, 1.0]), relative=True)
    assert np.isfinite([some.mean, some.low, some.high]).all()


def test_calibration_is_its_formula():
    """The line is scipy's; the error is the mean over bins of |mean prediction - mean label|, and 0 for a model that is right."""

    @CHECKED
    @given(columns(st.floats(-3, 3), st.floats(-3, 3)).filter(lambda pair: len(pair[0]) > 2), st.integers(1, 5))
    def run(pair, bins):
        p, y = pair
        frame = _bins(p, y, bins, 5, 0)
        assert frame["examples"].sum() == len(p)
        assert frame["error"].iloc[0] == pytest.approx(
            np.average(np.abs(frame["predicted"] - frame["observed"]), weights=frame["examples"])
        )
        assert np.average(frame["predicted"], weights=frame["examples"]) == pytest.approx(p.mean(), abs=1e-9)
        assert np.average(frame["observed"], weights=frame["examples"]) == pytest.approx(y.mean(), abs=1e-9)
        assert _bins(p, p, bins, 5, 0)["error"].iloc[0] == pytest.approx(0, abs=1e-12)
        if np.ptp(p) > 0.1:
            assert line(p, y) == pytest.approx(stats.linregress(p, y)[:2], abs=1e-9)
        elif np.ptp(p) == 0:
            assert np.isnan(line(p, y)).all()

    run()
    told("calibration beside scipy")
