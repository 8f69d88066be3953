"""What the tables of a protocol hold, on a fake run whose predictions are known; and when one model beats another."""

import warnings
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from msaviz.data.missing import Nothing, RandomFrames, corrupt
from msaviz.training.experiment import Domains
from msaviz.training.metrics import floor, regression_metrics
from msaviz.training.protocols import (
    COLUMNS,
    PREDICTIONS,
    PROTOCOLS,
    RATES,
    LeakWarning,
    compare_runs,
    conditions,
    evaluate,
    evaluate_predictions,
    score,
    summarise,
)
from msaviz.types import Batch, Spec, Task

MODALITIES = ("text", "audio", "vision")
DOMAINS = ("film", "phone", "meal")
ROWS, STEPS = 150, 24


def dataset(classes: bool = False, contextual: frozenset[str] = frozenset()) -> SimpleNamespace:
    generator = np.random.default_rng(0)
    label = {s: generator.integers(0, 3, ROWS) if classes else np.clip(generator.normal(0.3, 1.3, ROWS), -3, 3) for s in ("train", "test")}
    splits = {s: SimpleNamespace(labels={"sentiment": y}, domain=np.arange(ROWS) % len(DOMAINS)) for s, y in label.items()}
    return SimpleNamespace(name="fake", splits=splits, contextual=contextual, unknown={})


@dataclass
class FakeRun:
    """Predicts the label times the share of steps that it was given, so that every number is known; and notes what it was asked."""

    name: str = "fake-0"
    seed: int = 0
    noise: float = 0.0
    classes: bool = False
    contextual: frozenset[str] = frozenset()
    model_name: str = "fake"
    asked: list = field(default_factory=list)

    def __post_init__(self):
        task = Task("classes", classes=("a", "b", "c")) if self.classes else Task()
        self.spec = Spec(dict.fromkeys(MODALITIES, 2), {"sentiment": task}, domains=DOMAINS)
        self.dataset = dataset(self.classes, self.contextual)
        self.experiment = SimpleNamespace(seed=self.seed, model=None, domains=Domains())

    def predict(self, split, missingness, seed):
        self.asked.append((split, missingness, seed))
        y = self.dataset.splits[split].labels["sentiment"]
        ones, mask = torch.ones(len(y), STEPS, 2), torch.ones(len(y), STEPS, dtype=torch.bool)
        example = torch.arange(len(y))
        batch = Batch(dict.fromkeys(MODALITIES, ones), dict.fromkeys(MODALITIES, mask), {"y": torch.zeros(len(y))}, 0 * example, example)
        left = corrupt(batch, missingness, seed=seed)
        share = np.stack([left.x[m].mean((1, 2)).numpy() for m in MODALITIES]).mean(0)
        error = np.random.default_rng(self.seed).normal(0, 1, len(y)) * self.noise
        if self.classes:
            return np.eye(3)[y] * share[:, None] + 0.4 * np.eye(3)[0]
        return y * share + error

    def history(self):
        rows = [("test", "mae", [1.0, 0.8, 0.9]), ("test", "corr", [0.1, 0.2, 0.3]), ("valid", "mae@0", [0.7, 0.8, 0.9])]
        return pd.DataFrame(
            [
                {"run": self.name, "step": e, "epoch": e, "split": split, "domain": "all", "metric": metric, "value": value}
                for split, metric, values in rows
                for e, value in enumerate(values)
            ]
        )


def table(run=None, protocol="missing", **options) -> pd.DataFrame:
    return evaluate(run or FakeRun(), protocol, progress=False, **options)


# -- tables -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", list(PROTOCOLS))
@pytest.mark.parametrize("classes", [False, True])
def test_every_protocol_gives_the_agreed_columns(protocol, classes):
    frame = table(FakeRun(classes=classes), protocol)
    assert list(frame.columns) == COLUMNS
    assert not frame.duplicated(["rate", "subset", "domain", "metric"]).any()
    names = {"accuracy", "weighted_f1", "uar"} if classes else set(regression_metrics([0.0], [1.0]))
    assert set(frame["metric"]) == names
    assert frame["value"].notna().all()
    assert frame["floor"].notna().all()
    assert set(frame["protocol"]) == {protocol}


def test_clean_is_the_metric_itself():
    run = FakeRun(noise=0.5)
    frame = table(run, "clean")
    y = run.dataset.splits["test"].labels["sentiment"]
    assert frame.set_index("metric")["value"].to_dict() == pytest.approx(regression_metrics(run.predict("test", Nothing(), 0), y))
    assert (frame["rate"] == 0).all()
    assert (frame["subset"] == "text+audio+vision").all()


def test_the_missing_protocol_sweeps_the_rates_with_fixed_masks():
    run = FakeRun()
    frame = table(run, seed=4)
    assert [kind.rate for _, kind, _ in run.asked] == list(RATES)
    assert all(isinstance(kind, RandomFrames) and split == "test" and seed == 4 for split, kind, seed in run.asked)
    mae = frame[(frame["metric"] == "mae") & frame["rate"].notna()]["value"].to_numpy()
    size = np.abs(run.dataset.splits["test"].labels["sentiment"]).mean()
    assert mae == pytest.approx(size * np.array(RATES), abs=0.12)
    assert (np.diff(mae) > 0).all()
    assert mae[0] == pytest.approx(0)


def test_mean_and_area():
    frame = table()
    for metric, part in frame.groupby("metric"):
        curve = part[part["rate"].notna()].sort_values("rate")
        summary = part[part["rate"].isna()].set_index("subset")["value"]
        assert set(summary.index) == {"mean", "area"}
        assert summary["mean"] == pytest.approx(curve["value"].mean()), metric
        v = curve["value"].to_numpy()
        assert summary["area"] == pytest.approx((v[0] / 2 + v[1:-1].sum() + v[-1] / 2) / 9), metric


def test_the_area_of_a_constant_curve_is_its_height():
    frame = table(FakeRun(), "subsets")
    assert "area" not in set(frame["subset"])
    flat = FakeRun()
    flat.predict = lambda split, missingness, seed: np.full(ROWS, 0.3)
    mae = table(flat, rates=(0, 0.1, 0.9))
    mae = mae[mae["metric"] == "mae"]
    assert mae["value"].to_numpy() == pytest.approx(mae["value"].iloc[0])


def test_a_single_rate_has_no_summary():
    assert table(rates=(0.3,))["rate"].notna().all()


def test_subsets_are_all_of_them_and_the_mean_is_over_the_incomplete():
    frame = table(protocol="subsets")
    mae = frame[frame["metric"] == "mae"].set_index("subset")["value"]
    assert list(mae.index) == [
        "text",
        "audio",
        "vision",
        "text+audio",
        "text+vision",
        "audio+vision",
        "text+audio+vision",
        "mean",
    ]
    assert mae["text+audio+vision"] == pytest.approx(0)
    assert mae["text"] == pytest.approx(2 * mae["text+audio"], rel=1e-5)
    assert mae["mean"] == pytest.approx(mae.iloc[:6].mean())


def test_the_floor_stands_beside_every_row():
    run = FakeRun()
    labels = {s: part.labels["sentiment"] for s, part in run.dataset.splits.items()}
    expected = floor(labels["train"], labels["test"], run.spec.task)
    frame = table(run)
    assert frame["floor"].tolist() == [expected[m] for m in frame["metric"]]


def test_rows_tell_where_they_come_from():
    frame = table(FakeRun(name="derl-3", seed=3, model_name="derl"), "clean")
    told = frame[["run", "model", "seed", "split", "selection"]].drop_duplicates().values.tolist()
    assert told == [["derl-3", "derl", 3, "test", "validation"]]


def test_scores_of_kept_predictions_are_those_of_evaluate():
    run = FakeRun(noise=0.3)
    predictions = evaluate_predictions(run, "missing", progress=False)
    assert list(predictions.columns) == PREDICTIONS
    assert len(predictions) == ROWS * len(RATES)
    pd.testing.assert_frame_equal(score(predictions, run), table(run))


def test_unlabelled_utterances_are_left_out():
    run = FakeRun()
    run.dataset.splits["test"].labels["sentiment"][:100] = np.nan
    run.predict = lambda split, missingness, seed: np.where(np.arange(ROWS) < 100, 99.0, 0.0)
    y = run.dataset.splits["test"].labels["sentiment"][100:]
    mae = table(run, "clean").set_index("metric")["value"]["mae"]
    assert mae == pytest.approx(np.abs(y).mean())


def test_broken_predictions_are_not_scored():
    run = FakeRun()
    run.predict = lambda split, missingness, seed: np.full(ROWS, np.nan)
    assert table(run)["value"].isna().all()


def test_predictions_of_another_shape_are_refused():
    run = FakeRun()
    run.predict = lambda split, missingness, seed: np.zeros((ROWS, 1))
    with pytest.raises(ValueError, match=r"\(150, 1\)"):
        table(run, "clean")


# -- what must be said --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["missing", "span", "structured"])
def test_masking_contextual_vectors_is_a_leak(protocol):
    with pytest.warns(LeakWarning, match=r"text.*contextual"):
        frame = table(FakeRun(contextual=frozenset({"text"})), protocol)
    assert len(frame.attrs["warnings"]) == 1
    assert "contextual" in frame.attrs["warnings"][0]


@pytest.mark.parametrize("protocol", ["clean", "subsets", "modality", "noise"])
def test_other_protocols_do_not_warn(protocol):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert table(FakeRun(contextual=frozenset({"text"})), protocol).attrs["warnings"] == []


def test_published_is_stamped_and_read_from_the_history():
    run = FakeRun()
    frame = table(run, "clean", selection="published")
    assert run.asked == []
    assert list(frame.columns) == COLUMNS
    assert frame.set_index("metric")["value"].to_dict() == {"mae": 0.8, "corr": 0.3}
    assert set(frame["selection"]) == {"published"}
    assert "test split" in frame.attrs["warnings"][0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"protocol": "missing", "selection": "published"}, "for protocol 'clean'"),
        ({"protocol": "clean", "selection": "published", "split": "valid"}, "on 'test'"),
        ({"selection": "luck"}, r"luck.*validation, published, oracle"),
        ({"protocol": "foggy"}, r"foggy.*clean, missing, subsets"),
        ({"rates": (0, 1.2)}, r"\[0, 1\]"),
        ({"rates": ()}, r"\[0, 1\]"),
        ({"split": "dev"}, r"dev.*train, test"),
    ],
)
def test_what_does_not_exist_is_named(options, words):
    with pytest.raises(ValueError, match=words):
        table(**options)


def test_two_modalities_have_three_subsets():
    assert [c.subset for c in conditions("subsets", ("text", "audio"))] == ["text", "audio", "text+audio"]


# -- several runs -------------------------------------------------------------------------------------------------------


def runs(name: str, noise: float, seeds=range(3), **options) -> pd.DataFrame:
    made = [FakeRun(name=f"{name}-{s}", seed=s, noise=noise, model_name=name, **options) for s in seeds]
    return pd.concat([evaluate_predictions(r, "missing", rates=(0, 0.5), progress=False) for r in made])


def test_a_better_model_wins_and_an_equal_one_does_not():
    good, bad = runs("good", 0.2), runs("bad", 1.5)
    result = compare_runs(good, bad, samples=500).set_index("metric")
    assert list(result.index) == ["mae", "acc2_negpos"]
    mae, acc = result.loc["mae"], result.loc["acc2_negpos"]
    assert mae["low"] < mae["difference"] < mae["high"] < 0
    assert 0 < acc["low"] < acc["difference"] < acc["high"]
    assert mae["difference"] == pytest.approx(mae["a"] - mae["b"])
    assert mae["improvement"] == pytest.approx(100 * (mae["b"] - mae["a"]) / mae["b"])
    assert acc["improvement"] == pytest.approx(100 * (acc["a"] - acc["b"]) / acc["b"])
    assert (result["improvement_low"] < result["improvement"]).all()
    assert (result["improvement"] < result["improvement_high"]).all()
    assert result["wins"].all()
    reverse = compare_runs(bad, good, samples=500).set_index("metric")
    assert not reverse["wins"].any()
    same = compare_runs(good, runs("again", 0.2), samples=500)
    assert not same["wins"].any()
    assert (same["difference"] == 0).all()


def test_the_comparison_agrees_with_the_tables():
    frames = [runs("a", 0.4), runs("b", 0.8, seeds=range(2))]
    result = compare_runs(*frames, which=("mae", "acc7", "acc2_negpos", "corr"), samples=50).set_index("metric")
    made = {"a": [FakeRun(f"a-{s}", s, 0.4) for s in range(3)], "b": [FakeRun(f"b-{s}", s, 0.8) for s in range(2)]}
    for side, those in made.items():
        tables = pd.concat([table(r, rates=(0, 0.5)) for r in those])
        means = summarise(tables[tables["subset"] == "mean"]).set_index("metric")["mean"]
        for metric in result.index:
            assert result.loc[metric, side] == pytest.approx(means[metric])


def test_classes_compare_by_accuracy():
    frame = runs("a", 0.0, classes=True)
    result = compare_runs(frame, frame, samples=20)
    assert result["metric"].tolist() == ["accuracy"]
    assert result["difference"].tolist() == [0]


def test_a_frame_from_a_file_compares_like_a_fresh_one(tmp_path):
    """Labels are float32 when fresh and doubles when read back; they are the same labels."""
    fresh = runs("fresh", 0.2).astype({"label": np.float32})
    fresh["label"] = fresh["label"].round(1)
    fresh.to_csv(tmp_path / "kept.csv", index=False)
    kept = pd.read_csv(tmp_path / "kept.csv", dtype={"subset": str})
    task = Task(**fresh.attrs["task"]) if "task" in fresh.attrs else Task()
    assert (kept["label"].to_numpy() != fresh["label"].to_numpy()).any()
    assert (compare_runs(fresh, kept, task=task, samples=20).difference.abs() < 1e-6).all()


def test_only_like_is_compared_with_like():
    a = runs("a", 0.1)
    with pytest.raises(ValueError, match="same conditions"):
        compare_runs(a, evaluate_predictions(FakeRun(), "missing", rates=(0, 0.9), progress=False))
    with pytest.raises(ValueError, match="other utterances"):
        compare_runs(a, a[a["example"] < 50])
    with pytest.raises(ValueError, match="twice"):
        compare_runs(a, pd.concat([a, a]))
    with pytest.raises(ValueError, match="not all tested"):
        compare_runs(a, a[(a["run"] != "a-1") | (a["rate"] == 0)])
    with pytest.raises(ValueError, match="task="):
        compare_runs(pd.DataFrame(a.to_dict("list")), a)


def test_summaries_over_seeds():
    frame = pd.concat([table(FakeRun(f"x-{s}", s, 0.5), rates=(0, 0.5)) for s in range(4)])
    short = summarise(frame)
    one = frame[(frame["metric"] == "mae") & (frame["subset"] == "mean")]
    row = short[(short["metric"] == "mae") & (short["subset"] == "mean")].iloc[0]
    assert (row["mean"], row["std"], row["runs"]) == pytest.approx((one["value"].mean(), one["value"].std(ddof=1), 4))
    assert len(short) == len(frame) / 4
