"""Are domains told apart rightly, is the worst the worst, and can an unseen domain never have a say in what is learnt or chosen?"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from msaviz import Experiment, evaluate, override, train
from msaviz.app.results import summary
from msaviz.data import load as sources
from msaviz.training import loop, run
from msaviz.training.domains import summarised, told
from msaviz.training.experiment import Domains
from msaviz.training.kept import predicted
from msaviz.training.metrics import floor, regression_metrics
from msaviz.training.protocols import COLUMNS, score
from msaviz.training.selection import choose
from msaviz.types import Spec, Task

NAMES = ("film", "phone", "meal")
SOURCE = "synthetic:rows=240,domains=3"
QUICK = {"train.epochs": 3, "train.validation_rates": [0.0], "train.threads": 1, "model.dim": 8, "train.log_test": True}


class Fake:
    """Wrong by .1, .2 and .4 in the three domains; the last two are unseen."""

    name, model_name, error = "fake-0", "fake", np.array([0.1, 0.2, 0.4])

    def __init__(self, names=NAMES, targets=("phone", "meal")):
        self.spec = Spec({"text": 2, "audio": 2}, {"sentiment": Task()}, domains=names)
        self.experiment = SimpleNamespace(seed=0, domains=Domains(targets=targets))
        generator = np.random.default_rng(0)
        split = {
            name: SimpleNamespace(labels={"sentiment": generator.uniform(-3, 3, 90)}, domain=np.arange(90) % len(names))
            for name in ("train", "test")
        }
        self.dataset = SimpleNamespace(name="fake", splits=split, contextual=frozenset(), unknown={})

    def predict(self, split, missingness, seed):
        part = self.dataset.splits[split]
        return part.labels["sentiment"] + self.error[part.domain]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    experiment = override(Experiment(data=SOURCE), {**QUICK, "domains.targets": ["meal"]})
    return train(experiment, tmp_path_factory.mktemp("domains") / "run", progress=False)


def test_one_row_a_domain_then_mean_and_worst_of_the_unseen():
    fake = Fake()
    frame = evaluate(fake, "domains", progress=False)
    assert list(frame.columns) == COLUMNS
    mae = frame[frame["metric"] == "mae"].set_index("domain")
    assert list(mae.index) == [*NAMES, "mean", "worst"]
    assert mae["value"].to_numpy() == pytest.approx([0.1, 0.2, 0.4, 0.3, 0.4])
    assert mae["rate"].isna().tolist() == [False] * 3 + [True] * 2
    assert set(frame["subset"]) == {"text+audio"}
    label, train_label = (fake.dataset.splits[s].labels["sentiment"] for s in ("test", "train"))
    floors = [floor(train_label, label[i::3], Task())["mae"] for i in range(3)]
    assert mae["floor"].to_numpy() == pytest.approx([*floors, np.mean(floors[1:]), max(floors[1:])])
    right = frame[frame["metric"] == "acc7"].set_index("domain")["value"]
    assert right["worst"] == min(right["phone"], right["meal"]) < right["mean"]


def test_without_an_unseen_domain_the_summaries_are_over_all():
    frame = evaluate(Fake(targets=()), "domains", progress=False)
    mae = frame[frame["metric"] == "mae"].set_index("domain")["value"]
    assert mae["mean"] == pytest.approx(0.7 / 3)
    assert frame.attrs["unseen"] == []


def test_worst_follows_the_direction_of_the_metric_and_knows_no_number():
    values = np.array([0.2, 0.5, 0.3])
    assert summarised(values, "mae", "worst") == 0.5
    assert summarised(values, "corr", "worst") == 0.2
    assert all(np.isnan(summarised(np.array([0.1, np.nan]), "corr", s)) for s in ("mean", "worst"))


def test_the_printed_table_says_which_domains_are_unseen():
    table = summary(evaluate(Fake(), "domains", progress=False))
    assert list(table.index[:5]) == ["film", "phone (unseen)", "meal (unseen)", "mean", "worst"]
    assert table.loc["meal (unseen)", "mae"] == pytest.approx(0.4)
    assert table.loc["floor: film", "mae"] != table.loc["floor: phone (unseen)", "mae"]


def test_one_domain_is_a_sentence():
    with pytest.raises(ValueError, match="needs several domains; fake has one"):
        evaluate(Fake(("all",), ()), "domains", progress=False)


def test_a_domain_may_have_a_name_that_looks_like_no_value(trained, monkeypatch):
    monkeypatch.setattr("msaviz.training.domains.domain_names", lambda run, split: np.resize(["NA", "1"], len(run.dataset.splits[split])))
    monkeypatch.setattr("msaviz.training.domains.told", lambda run, split: {"unseen": ["NA"], "floor": {}})
    fresh = predicted(trained, "domains", seed=99)
    pd.testing.assert_series_equal(predicted(trained, "domains", seed=99)["domain"], fresh["domain"], check_dtype=False)
    assert set(fresh["domain"]) == {"NA", "1"}


def test_a_real_run_is_scored_by_domain_and_its_predictions_are_kept(trained):
    frame = evaluate(trained, "domains", progress=False)
    split = trained.dataset.splits["test"]
    truth = np.asarray(split.labels["sentiment"])
    prediction = trained.predict("test")
    for i, name in enumerate(trained.spec.domains):
        of = frame[frame["domain"] == name].set_index("metric")["value"].to_dict()
        assert of == pytest.approx(regression_metrics(prediction[split.domain == i], truth[split.domain == i]))
    assert frame.attrs["unseen"] == ["meal"]
    kept = predicted(trained, "domains")
    again = score(predicted(trained, "domains"), trained)
    pd.testing.assert_frame_equal(again, score(kept, trained))
    assert again["value"].to_numpy() == pytest.approx(frame["value"].to_numpy(), rel=1e-5)
    assert told(trained, "test")["unseen"] == ["meal"]


def test_oracle_is_the_best_epoch_of_the_unseen_domain_and_is_stamped(trained):
    frame = evaluate(trained, "domains", selection="oracle", progress=False)
    history = trained.history()
    meal = history[(history["split"] == "test") & (history["domain"] == "meal")].pivot(index="epoch", columns="metric", values="value")
    value = frame[frame["domain"] == "meal"].set_index("metric")["value"]
    assert value["mae"] == meal["mae"].min()
    assert value.to_dict() == pytest.approx(meal.loc[meal["mae"].idxmin()][value.index].to_dict())
    assert "unseen domains themselves" in frame.attrs["warnings"][0]
    assert set(frame["selection"]) == {"oracle"}
    with pytest.raises(ValueError, match="for protocol 'domains' on 'test'"):
        evaluate(trained, "clean", selection="oracle", progress=False)


def test_validation_chooses_what_the_loop_kept(trained):
    history = trained.history()
    best = history[history["metric"] == "score"].set_index("epoch")["value"].idxmin()
    assert choose(history) == best
    assert set(history.loc[history["split"] == "valid", "domain"]) == {"all", "film", "phone"}


def test_labels_of_an_unseen_domain_change_neither_weights_nor_choice(trained, tmp_path, monkeypatch):
    """All labels of "meal" are replaced before anything else sees them; all that may differ is what is measured on test."""

    def corrupted(source):
        data = sources.load(source)
        meal = data.spec.domains.index("meal")
        noise = np.random.default_rng(5)
        splits = {
            name: replace(s, labels={t: np.where(s.domain == meal, noise.permutation(y), y) for t, y in s.labels.items()})
            for name, s in data.splits.items()
        }
        return replace(data, splits=splits)

    monkeypatch.setattr(loop, "load", corrupted)
    other = train(trained.experiment, tmp_path / "other", progress=False)
    assert (other.path / "weights.safetensors").read_bytes() == (trained.path / "weights.safetensors").read_bytes()
    one, two = trained.history(), other.history()
    assert choose(one) == choose(two)
    pd.testing.assert_frame_equal(*(h[h["split"] != "test"].drop(columns="run") for h in (one, two)))
    differ = one[(one["split"] == "test") & (one["value"] != two["value"])]
    assert set(differ["domain"]) == {"all", "meal"}, "the corruption did reach the test"
    assert list(one.columns[1:]) == run.HISTORY
