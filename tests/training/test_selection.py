"""Which epoch is chosen, by what, and that test labels can never have a say in `validation`."""

import numpy as np
import pandas as pd
import pytest

from msaviz.training.metrics import regression_metrics
from msaviz.training.selection import SELECTIONS, best_per_metric, choose, scores

EPOCHS = 12


def history(test_labels: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """What the loop logs: train losses, validation metrics at several rates, test metrics; from predictions that wander."""
    generator = np.random.default_rng(seed)
    valid, rows = generator.normal(0, 1.5, 60), []
    drift = {split: generator.normal(0, 1, (EPOCHS, len(test_labels))) for split in ("test",)}
    for epoch in range(EPOCHS):
        told = {"step": 10 * epoch, "epoch": epoch, "domain": "all"}
        rows += [{**told, "split": "train", "metric": "loss/total", "value": float(generator.uniform())}]
        for rate in (0, 0.3, 0.6):
            found = regression_metrics(valid + generator.normal(0, 0.4 + rate, 60), valid)
            rows += [{**told, "split": "valid", "metric": f"{name}@{rate:g}", "value": value} for name, value in found.items()]
        found = regression_metrics(drift["test"][epoch], test_labels)
        rows += [{**told, "split": "test", "metric": name, "value": value} for name, value in found.items()]
    return pd.DataFrame(rows)


LABELS = np.random.default_rng(9).normal(0, 1.5, 80)


def frame(values: dict[str, list[float]], split: str = "valid") -> pd.DataFrame:
    rows = [
        {"step": e, "epoch": e, "split": split, "domain": "all", "metric": name, "value": v}
        for name, series in values.items()
        for e, v in enumerate(series)
    ]
    return pd.DataFrame(rows)


def test_permuting_the_test_labels_changes_published_but_never_validation():
    honest = history(LABELS)
    chosen, best = choose(honest), best_per_metric(honest)
    for seed in range(5):
        permuted = history(np.random.default_rng(seed).permutation(LABELS))
        assert choose(permuted) == chosen
        assert best_per_metric(permuted) != best
    without = honest[honest["split"] != "test"]
    assert choose(without) == chosen, "and it needs no test rows at all"


def test_no_selection_argues_from_test_without_a_warning():
    for name, selection in SELECTIONS.items():
        assert selection.name == name
        assert bool(selection.warning) == (selection.split == "test")
    assert SELECTIONS["validation"].warning == ""


def test_validation_averages_over_the_rates():
    log = frame({"mae@0": [1.0, 0.5, 0.9], "mae@0.9": [1.0, 2.0, 0.9], "acc7@0": [0.1, 0.9, 0.2]})
    assert scores(log).to_dict() == {0: 1.0, 1: 1.25, 2: 0.9}
    assert choose(log) == 2


def test_validation_is_one_checkpoint_for_all_metrics():
    log = history(LABELS)
    assert len({choose(log, "validation", m) for m in ("mae", "corr", "acc7", "f1_negpos", None)}) == 1


def test_published_takes_the_best_epoch_of_each_metric():
    log = history(LABELS)
    test = log[log["split"] == "test"].pivot(index="epoch", columns="metric", values="value")
    best = best_per_metric(log)
    assert set(best) == set(test)
    for metric, value in best.items():
        assert value == (test[metric].min() if metric == "mae" else test[metric].max())
        assert test.loc[choose(log, "published", metric), metric] == value
    assert len({choose(log, "published", m) for m in best}) > 1


def test_published_reads_complete_input_only():
    log = frame({"mae@0": [1.0, 0.8], "mae@0.9": [0.1, 0.1], "loss/total": [0.0, 0.0], "score": [0.0, 0.0]}, "test")
    assert best_per_metric(log) == {"mae": 0.8}


def test_classes_are_chosen_by_weighted_f1():
    assert choose(frame({"weighted_f1@0": [0.3, 0.6, 0.5], "accuracy@0": [0.9, 0.1, 0.1]})) == 1


def test_the_earliest_of_equals():
    assert choose(frame({"mae": [1.0, 0.5, 0.5]})) == 1
    assert choose(frame({"weighted_f1": [0.5, 0.5, 0.1]})) == 0


def test_epochs_that_diverged_are_left_out():
    assert choose(frame({"mae@0": [np.nan, 0.9, np.inf, 0.8], "mae@0.9": [0.1, 1.0, 0.1, 1.2]})) == 1
    with pytest.raises(ValueError, match="no number in any epoch"):
        choose(frame({"mae": [np.nan]}))


def test_validation_weighs_domains_alike_and_published_reads_the_whole():
    """The loop logs by domain where others are unseen, and its score is then the mean over the source domains."""
    log = pd.concat(
        [frame({"mae": [1.0, 0.9]}), *(frame({"mae": v}).assign(domain=d) for d, v in {"a": [0.1, 5.0], "b": [1.1, 0.9]}.items())]
    )
    assert scores(log).to_dict() == pytest.approx({0: 0.6, 1: 2.95})
    assert choose(log) == 0
    assert choose(log[log["domain"] == "all"]) == 1
    assert best_per_metric(log.assign(split="test")) == {"mae": 0.9}


def test_oracle_takes_one_epoch_by_the_unseen_domains_alone():
    test = {"all": [1.0, 0.1, 0.9], "seen": [1.0, 0.1, 0.9], "new": [0.5, 0.9, 0.4], "other": [0.5, 0.9, 0.9]}
    log = pd.concat(
        [frame({"mae@0": [1.0, 0.5, 0.9]}).assign(domain=d) for d in ("all", "seen")]
        + [frame({"mae": v, "corr": v}, "test").assign(domain=d) for d, v in test.items()]
    )
    assert scores(log, "oracle").to_dict() == pytest.approx({0: 0.5, 1: 0.9, 2: 0.65})
    assert {choose(log, "oracle", m) for m in ("mae", "corr", None)} == {0}, "one epoch serves all metrics"
    assert choose(log, "oracle", unseen=["new"]) == 2
    assert choose(log) == 1
    with pytest.raises(ValueError, match="domains.targets"):
        choose(log[log["domain"].isin(["all", "seen"])], "oracle")
    with pytest.raises(ValueError, match="log_test=true"):
        choose(log[log["split"] == "valid"], "oracle")


def test_what_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"luck.*validation, published, oracle"):
        choose(history(LABELS), "luck")
    with pytest.raises(ValueError, match="log_test=true"):
        best_per_metric(frame({"mae": [1.0]}))
    with pytest.raises(ValueError, match="logged there: nothing"):
        choose(frame({"mae": [1.0]}, "train"))
