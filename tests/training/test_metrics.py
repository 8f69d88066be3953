"""Every metric against scikit-learn, scipy or a formula written out here; floors and intervals against what they must be."""

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import accuracy_score, f1_score, recall_score

from msaviz.training.metrics import (
    classification_metrics,
    correlation,
    floor,
    headline,
    higher_is_better,
    metrics,
    paired_bootstrap,
    per_example,
    regression_metrics,
    schemes,
    weighted_f1,
)
from msaviz.types import Task

MOSI, SIMS, MMMO = Task(), Task(low=-1, high=1), Task(low=1, high=5)
MOODS = Task("classes", classes=("sad", "calm", "glad"))


def sample(seed: int, n: int = 200, scale: float = 1.5, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """(prediction, label): labels are often exactly 0, on a grid as annotators' means are, and some predictions lie outside the range."""
    generator = np.random.default_rng(seed)
    label = np.round(np.clip(generator.normal(0, scale, n), -2 * scale, 2 * scale) * 5) / 5
    return label + generator.normal(0, spread, n), label


def mosi_by_hand(p: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """METHODS 5, spelled out with scikit-learn."""
    some = y != 0
    return {
        "mae": np.mean(np.absolute(p - y)),
        "corr": pearsonr(p, y)[0],
        "acc7": accuracy_score(np.round(np.clip(y, -3, 3)), np.round(np.clip(p, -3, 3))),
        "acc5": accuracy_score(np.round(np.clip(y, -2, 2)), np.round(np.clip(p, -2, 2))),
        "acc2_nonneg": accuracy_score(y >= 0, p >= 0),
        "f1_nonneg": f1_score(y >= 0, p >= 0, average="weighted"),
        "acc2_negpos": accuracy_score(y[some] > 0, p[some] > 0),
        "f1_negpos": f1_score(y[some] > 0, p[some] > 0, average="weighted"),
    }


def sims_by_hand(p: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """The loops of the field's CH-SIMS code: bins (edge, next edge] after clipping."""

    def bins(values, edges):
        values, found = np.clip(values, -1.0, 1.0), np.zeros(len(values))
        for i in range(len(edges) - 1):
            found[np.logical_and(values > edges[i], values <= edges[i + 1])] = i
        return found

    two, three, five = [-1.01, 0.0, 1.01], [-1.01, -0.1, 0.1, 1.01], [-1.01, -0.7, -0.1, 0.1, 0.7, 1.01]
    return {
        "mae": np.abs(p - y).mean(),
        "corr": np.corrcoef(p, y)[0, 1],
        "acc2": np.mean(bins(p, two) == bins(y, two)),
        "f1": f1_score(bins(y, two), bins(p, two), average="weighted"),
        "acc3": np.mean(bins(p, three) == bins(y, three)),
        "acc5": np.mean(bins(p, five) == bins(y, five)),
    }


@pytest.mark.parametrize("seed", range(5))
def test_mosi_metrics(seed):
    p, y = sample(seed)
    assert regression_metrics(p, y) == pytest.approx(mosi_by_hand(p, y), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_sims_metrics(seed):
    p, y = sample(seed, scale=0.5, spread=0.3)
    y[:8] = [0, 0.1, -0.1, 0.7, -0.7, 1, -1, 0]
    p[4:8] = [0, 0.1, -0.1, 0.7]
    assert regression_metrics(p, y, low=-1, high=1) == pytest.approx(sims_by_hand(p, y), abs=1e-12)


def test_other_ranges_split_at_the_midpoint_and_round():
    p, y = np.array([0.2, 3.0, 3.1, 4.6, 9.0, 2.6]), np.array([1, 3, 3, 5, 5, 2.0])
    found = regression_metrics(p, y, low=1, high=5)
    assert found["acc2"] == pytest.approx(5 / 6), "3.1 is above the midpoint, its label 3 is not"
    assert found["accuracy"] == pytest.approx(5 / 6), "only 2.6 rounds to another class"
    assert found["f1"] == pytest.approx(f1_score(y > 3, p > 3, average="weighted"))
    assert set(found) == {"mae", "corr", "acc2", "f1", "accuracy"}


def test_mae_is_not_clipped():
    assert regression_metrics([9.0, -9.0], [3.0, -3.0])["mae"] == 6
    assert regression_metrics([9.0, -9.0], [3.0, -3.0])["acc7"] == 1


def test_f1_is_called_as_truth_then_prediction():
    truth, guess = np.array([0, 0, 0, 1]), np.array([1, 1, 1, 1])
    assert weighted_f1(truth, guess) == pytest.approx(f1_score(truth, guess, average="weighted"))
    assert weighted_f1(truth, guess) != pytest.approx(f1_score(guess, truth, average="weighted"))


@pytest.mark.parametrize("seed", range(5))
def test_classes(seed):
    generator = np.random.default_rng(seed)
    label = generator.integers(0, 3, 90)
    scores = generator.normal(size=(90, 4)) + np.eye(4)[label]
    guess = scores.argmax(1)
    by_hand = {
        "accuracy": accuracy_score(label, guess),
        "weighted_f1": f1_score(label, guess, average="weighted"),
        "uar": recall_score(label, guess, labels=[0, 1, 2], average="macro"),
    }
    assert classification_metrics(scores, label) == pytest.approx(by_hand)
    assert classification_metrics(guess, label) == pytest.approx(by_hand)
    assert metrics(scores, label, MOODS) == pytest.approx(by_hand)


def test_unlabelled_utterances_do_not_count():
    p, y = sample(0)
    more = np.concatenate([p, [np.nan, 7.0]]), np.concatenate([y, [np.nan, np.nan]])
    assert regression_metrics(*more) == regression_metrics(p, y)
    assert classification_metrics([0, 1, 1, 2], [0, 1, 0, -1]) == classification_metrics([0, 1, 1], [0, 1, 0])


@pytest.mark.parametrize("p", [np.zeros(50), np.full(50, 0.1), np.full(50, 1e-9), np.full(50, -1e6)])
def test_a_constant_prediction_has_no_correlation(p):
    y = sample(3, 50)[1]
    assert regression_metrics(p, y)["corr"] == 0
    assert regression_metrics(y, p)["corr"] == 0
    assert np.isfinite(list(regression_metrics(p, y).values())).all()


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_correlation_does_not_depend_on_scale(scale):
    p, y = sample(1)
    assert correlation(p * scale, y) == pytest.approx(pearsonr(p, y)[0])
    assert correlation(np.stack([p, -p]), y) == pytest.approx([pearsonr(p, y)[0], -pearsonr(p, y)[0]])


@pytest.mark.parametrize(("p", "y"), [([], []), ([1.0], [np.nan]), ([np.nan, 1.0], [1.0, 2.0]), ([np.inf, 1.0], [1.0, 2.0])])
def test_nothing_to_measure_is_nan(p, y):
    for low, high in ((-3, 3), (-1, 1), (1, 5)):
        assert np.isnan(list(regression_metrics(p, y, low=low, high=high).values())).all()


def test_broken_class_scores_are_nan():
    assert np.isnan(list(classification_metrics([[np.nan, 1.0]], [0]).values())).all()
    assert np.isnan(list(classification_metrics([-1, 0], [0, 0]).values())).all()
    assert np.isnan(list(classification_metrics([], []).values())).all()


def test_one_class_only():
    found = regression_metrics([1.0, 2.0, -1.0], [1.0, 1.0, 1.0])
    assert found["acc2_negpos"] == pytest.approx(2 / 3)
    assert found["f1_negpos"] == pytest.approx(0.8)
    assert np.isnan(regression_metrics([1.0], [0.0])["acc2_negpos"]), "a label of 0 is neither negative nor positive"


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="one number an utterance"):
        regression_metrics(np.zeros((3, 1)), np.zeros(3))
    with pytest.raises(ValueError, match="labels"):
        classification_metrics(np.zeros((3, 2)), np.zeros(4))


# -- floors -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [MOSI, SIMS, MMMO], ids=["mosi", "sims", "mmmo"])
def test_the_floor_is_the_best_constant_on_its_own_split(task):
    """With train = test no constant does better: checked over a fine grid of constants."""
    label = sample(4)[1] / 3 * (task.high - task.low) / 2 + (task.high + task.low) / 2
    bottom = floor(label, label, task)
    grid = [metrics(np.full(len(label), c), label, task) for c in np.linspace(task.low, task.high, 601)]
    assert set(bottom) == set(grid[0])
    assert bottom["mae"] == pytest.approx(min(g["mae"] for g in grid), abs=1e-3)
    assert bottom["mae"] <= min(g["mae"] for g in grid) + 1e-12
    for name in schemes(task.low, task.high):
        assert bottom[name] == pytest.approx(max(g[name] for g in grid))
    assert bottom["corr"] == 0


def test_the_floor_takes_the_median_of_train_and_the_majority_under_test():
    train, test = np.array([1.0, 1.2, 2.0, -1.0]), np.array([-1.0, -2.0, -3.0, 1.0, 0.0, np.nan])
    bottom = floor(train, test, MOSI)
    assert bottom["mae"] == pytest.approx(np.mean(np.abs(test[:5] - 1.1)))
    assert bottom["acc2_negpos"] == 0.75
    assert bottom["f1_negpos"] == pytest.approx(f1_score(test[:4] > 0, np.zeros(4, bool), average="weighted"))
    assert bottom["acc2_nonneg"] == 0.6


def test_the_floor_of_classes():
    assert floor([0, 0, 0, -1], [1, 1, 0, -1], MOODS) == pytest.approx({"accuracy": 2 / 3, "weighted_f1": 8 / 15, "uar": 0.5})


@pytest.mark.parametrize("task", [MOSI, SIMS, MMMO, MOODS])
def test_the_floor_of_nothing_is_nan(task):
    nothing = floor([1.0], [np.nan, np.nan], task)
    assert np.isnan(list(nothing.values())).all()
    assert set(nothing) == set(floor([1, 2], [1, 2], task))


def test_without_train_labels_only_the_median_is_unknown():
    bottom = floor([], [1.0, 2.0, -1.0], MOSI)
    assert [name for name, value in bottom.items() if np.isnan(value)] == ["mae"]


# -- names --------------------------------------------------------------------------------------------------------------


def test_which_way_is_up():
    assert not any(higher_is_better(m) for m in ("mae", "mae@0.3", "loss/total", "loss", "score"))
    assert all(higher_is_better(m) for m in ("corr", "acc2_negpos", "acc7@0.3", "f1_nonneg", "uar", "weighted_f1", "accuracy"))


def test_headlines():
    assert [headline(t) for t in (MOSI, SIMS, MMMO)] == [("mae", "acc2_negpos"), ("mae", "acc2"), ("mae", "acc2")]
    assert headline(MOODS) == ("weighted_f1", "accuracy")


# -- intervals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [MOSI, SIMS, MMMO], ids=["mosi", "sims", "mmmo"])
def test_scores_of_utterances_average_to_the_metric(task):
    p, y = sample(6)
    p[:3], y[3:6] = 0, np.nan
    found = regression_metrics(p, y, low=task.low, high=task.high)
    for name in ("mae", *schemes(task.low, task.high)):
        assert np.nanmean(per_example(p, y, name, task)) == pytest.approx(found[name])
        assert per_example(np.stack([p, p]), y, name, task).shape == (2, len(y))
    with pytest.raises(ValueError, match="no mean over utterances"):
        per_example(p, y, "corr", task)


def test_scores_of_classes_average_to_the_accuracy():
    guess, label = np.array([0, 1, 2, 1]), np.array([0, 1, 1, -1])
    assert np.nanmean(per_example(guess, label, "accuracy", MOODS)) == pytest.approx(2 / 3)


def test_an_interval_covers_and_pairs():
    generator = np.random.default_rng(0)
    hard = generator.normal(size=600) * 5  # the difficulty that both models share: pairing takes it out
    a, b = hard + generator.normal(size=600) * 0.1, hard + generator.normal(size=600) * 0.1 + 0.1
    interval = paired_bootstrap(a, b)
    assert interval.mean == pytest.approx((a - b).mean())
    assert interval.low < interval.mean < interval.high < 0
    assert interval.excludes_zero
    spread = np.std(a - b) / 600**0.5
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * spread, rel=0.1)
    assert not paired_bootstrap(a, a).excludes_zero
    assert paired_bootstrap(b, a).low == pytest.approx(-interval.high, rel=0.05)


def test_an_interval_covers_the_truth_in_95_of_100():
    generator = np.random.default_rng(1)
    hits = 0
    for trial in range(200):
        gap = generator.normal(0.3, 1, 80)
        interval = paired_bootstrap(gap, np.zeros(80), samples=300, seed=trial)
        hits += interval.low <= 0.3 <= interval.high
    assert 0.89 <= hits / 200 <= 0.99


def test_intervals_average_over_seeds_and_rates_first():
    generator = np.random.default_rng(2)
    a, b = generator.normal(size=(3, 4, 50)), generator.normal(size=(2, 4, 50))
    assert paired_bootstrap(a, b) == paired_bootstrap(a.mean((0, 1)), b.mean((0, 1)))


def test_relative_intervals_are_percent_of_b():
    interval = paired_bootstrap(np.full(20, 0.9), np.full(20, 1.2), relative=True)
    assert (interval.mean, interval.low, interval.high) == pytest.approx((-25, -25, -25))


def test_intervals_of_correlations():
    p, y = sample(7, 300)
    worse = p + np.random.default_rng(3).normal(0, 3, 300)
    interval = paired_bootstrap(np.stack([p, p]), worse, label=y, metric=correlation, samples=500)
    assert interval.mean == pytest.approx(pearsonr(p, y)[0] - pearsonr(worse, y)[0])
    assert interval.low > 0
    y[0] = np.nan
    assert paired_bootstrap(p, worse, label=y, metric=correlation, samples=50).mean == pytest.approx(
        pearsonr(p[1:], y[1:])[0] - pearsonr(worse[1:], y[1:])[0]
    )


def test_labels_that_do_not_count_are_left_out_of_intervals():
    a, b = np.array([1.0, 0.0, np.nan, 1.0]), np.array([0.0, 0.0, np.nan, 1.0])
    assert paired_bootstrap(a, b).mean == pytest.approx(1 / 3)
    assert np.isnan(paired_bootstrap([np.nan], [np.nan]).mean)


def test_pairs_need_the_same_utterances():
    with pytest.raises(ValueError, match="same utterances"):
        paired_bootstrap(np.zeros(3), np.zeros(4))


def test_large_splits_are_resampled_in_pieces(monkeypatch):
    a = np.random.default_rng(0).normal(size=100)
    whole = paired_bootstrap(a, np.zeros(100))
    monkeypatch.setattr("msaviz.training.metrics.CHUNK", 1000)
    pieces = paired_bootstrap(a, np.zeros(100))
    assert pieces == whole, "the same draws, whatever the size of a piece"


def test_the_floor_on_mosi(real_data):
    """What the data's own notes state: train median 1.456, majority Acc-2 .578 on the standard split."""
    with np.load(real_data / "mosi.npz", allow_pickle=False) as mosi:
        train, test = (mosi["label"][mosi["split_standard"] == split] for split in ("train", "test"))
    bottom = floor(train, test, MOSI)
    assert len(test) == 686
    assert bottom["mae"] == pytest.approx(1.456, abs=5e-4)
    assert bottom["acc2_negpos"] == pytest.approx(0.578, abs=5e-4)
