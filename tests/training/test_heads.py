"""Is every head that a model predicts measured, logged and kept as the main one is, and does one without labels cost nothing?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from msaviz import Experiment, evaluate, override, train
from msaviz.app.cli import app
from msaviz.catalog import MODELS
from msaviz.data.load import load
from msaviz.data.missing import Nothing
from msaviz.models.early_fusion import EarlyFusion
from msaviz.nn.heads import Heads
from msaviz.training.head import about
from msaviz.training.kept import evaluation_path, predicted
from msaviz.training.loop import Trainer
from msaviz.training.metrics import classification_metrics, floor
from msaviz.training.objectives.erm import OBJECTIVE as ERM
from msaviz.training.protocols import PREDICTIONS, compare_runs, score
from msaviz.training.validation import Validator

SOURCE = "synthetic:rows=240,domains=2,seed=0"


class TwoHeads(EarlyFusion):
    """Early fusion with a head for every task, and an uncertainty for each."""

    class Config(EarlyFusion.Config):
        pass

    def __init__(self, spec, config):
        super().__init__(spec, config)
        self.head = Heads(config.dim, spec.tasks, config.dropout)
        self.log_variance = nn.ParameterDict({task: nn.Parameter(torch.zeros(())) for task in spec.tasks})

    def forward(self, batch):
        return replace(super().forward(batch), uncertainty=dict(self.log_variance))


@pytest.fixture(scope="module", autouse=True)
def listed():
    """The stand-in under a name, as a plug-in would be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS._files, "two_heads", None)
        patch.setitem(MODELS._loaded, "two_heads", TwoHeads)
        yield


@pytest.fixture(scope="module")
def experiment(listed):
    quick = {"train.epochs": 2, "train.validation_rates": [0.0, 0.5], "train.threads": 1, "model.dim": 8, "train.log_test": True}
    return override(Experiment(model="two_heads", data=SOURCE), quick)


@pytest.fixture(scope="module")
def run(experiment, tmp_path_factory):
    return train(experiment, tmp_path_factory.mktemp("heads") / "run", progress=False)


def test_a_head_is_measured_beside_its_own_floor(run):
    frame = evaluate(run, "clean", task="emotion", progress=False)
    labels = {s: run.dataset[s].labels["emotion"] for s in ("train", "test")}
    scores = run.predict("test", task="emotion")
    assert scores.shape == (len(labels["test"]), len(run.spec.tasks["emotion"].classes))
    assert set(frame["task"]) == {"emotion"}
    assert frame.set_index("metric")["value"].to_dict() == pytest.approx(classification_metrics(scores, labels["test"]))
    assert frame.set_index("metric")["floor"].to_dict() == floor(labels["train"], labels["test"], run.spec.tasks["emotion"])


def test_the_main_task_is_what_no_task_means(run):
    main = evaluate(run, "subsets", progress=False)
    assert set(main["task"]) == {"sentiment"}
    pd.testing.assert_frame_equal(main, evaluate(run, "subsets", task="sentiment", progress=False))
    np.testing.assert_array_equal(run.predict("test"), run.predict("test", task="sentiment"))
    assert about(run, "sentiment") is run


def test_domains_are_scored_by_head(run):
    frame = evaluate(run, "domains", task="emotion", progress=False)
    accuracy = frame[frame["metric"] == "accuracy"].set_index("domain")["value"]
    right = run.predict("test", task="emotion").argmax(-1) == run.dataset["test"].labels["emotion"]
    codes = np.asarray(run.dataset["test"].domain)
    for code, name in enumerate(run.spec.domains):
        assert accuracy[name] == pytest.approx(right[codes == code].mean())
    assert accuracy["worst"] == min(accuracy[name] for name in run.spec.domains)


def test_predictions_of_a_head_are_kept_under_its_name(run):
    paths = {task: evaluation_path(run, "clean", task=task) for task in ("", "sentiment", "emotion")}
    assert paths[""] == paths["sentiment"] != paths["emotion"]
    assert paths[""].name.startswith("clean-test-seed0-")
    fresh = predicted(run, "clean", task="emotion")
    assert paths["emotion"].is_file()
    again = predicted(run, "clean", task="emotion")
    assert list(again.columns) == PREDICTIONS
    pd.testing.assert_frame_equal(fresh, again, check_dtype=False)
    told = ["metric", "value", "floor", "task"]
    pd.testing.assert_frame_equal(score(again, run)[told], evaluate(run, "clean", task="emotion", progress=False)[told])
    assert compare_runs(fresh, again, samples=20)["metric"].tolist() == ["accuracy"]
    assert set(predicted(run, "clean")["task"]) == {"sentiment"}
    with pytest.raises(ValueError, match="other utterances or labels"):
        compare_runs(fresh, predicted(run, "clean"), samples=20)


def test_a_head_that_does_not_exist_is_told(run, tmp_path):
    with pytest.raises(ValueError, match="no task 'mood'; a model may have heads for sentiment, emotion, sentiment_grade"):
        evaluate(run, "clean", task="mood")
    with pytest.raises(ValueError, match="main task 'sentiment'"):
        evaluate(run, "clean", task="emotion", selection="published")
    with pytest.raises(ValueError, match="two_heads has no head 'sentiment_grade'; it predicts sentiment, emotion"):
        evaluate(run, "clean", task="sentiment_grade", progress=False)
    with pytest.raises(ValueError, match="no head 'mood'; it predicts sentiment, emotion"):
        run.predict("test", task="mood")


def test_a_head_that_is_derived_from_the_main_one_is_measured_too(tmp_path):
    quick = {"train.epochs": 1, "train.validation_rates": [0.0], "train.threads": 1, "model.dim": 8}
    run = train(override(Experiment(model="haemsa", data=SOURCE), quick), tmp_path / "run", progress=False)
    frame = evaluate(run, "domains", task="sentiment_grade", progress=False)
    grade = np.clip(run.dataset["test"].labels["sentiment"], -3, 3).round() + 3
    right = run.predict("test", task="sentiment_grade").argmax(-1) == grade
    accuracy = frame[frame["metric"] == "accuracy"].set_index("domain")["value"]
    codes = np.asarray(run.dataset["test"].domain)
    assert [accuracy[name] for name in run.spec.domains] == pytest.approx([right[codes == code].mean() for code in (0, 1)])
    assert list(predicted(run, "clean", task="sentiment_grade")["label"]) == grade.tolist()


def test_the_command_takes_a_task(run, tmp_path):
    done = CliRunner().invoke(app, ["evaluate", str(run.path), "--task", "emotion", "--out", str(tmp_path / "table.csv")])
    assert done.exit_code == 0, done.output
    assert set(pd.read_csv(tmp_path / "table.csv")["task"]) == {"emotion"}
    assert "weighted_f1" in done.output


def test_the_other_heads_are_logged_on_complete_input_and_have_no_say(run):
    history = run.history()
    valid = history[(history["split"] == "valid") & (history["domain"] == "all")]
    names = set(valid["metric"])
    assert {n for n in names if n.startswith("emotion")} == {"emotion/accuracy", "emotion/weighted_f1", "emotion/uar"}
    wide = valid.pivot_table(index="epoch", columns="metric", values="value")
    assert wide["score"].to_numpy() == pytest.approx(wide[["mae@0", "mae@0.5"]].mean(axis=1).to_numpy())
    best = wide["score"].idxmin()
    label = run.dataset["valid"].labels["emotion"]
    found = classification_metrics(run.predict("valid", task="emotion"), label)
    assert wide.loc[best, "emotion/accuracy"] == pytest.approx(found["accuracy"])


def test_one_pass_measures_all_heads(run, experiment):
    passes = []
    validator = Validator(experiment, run.dataset, torch.device("cpu"))
    model = run.model()
    model.register_forward_hook(lambda *_: passes.append(1))
    found = validator.measure(model, "valid", Nothing())["all"]
    assert {"mae", "emotion/uar"} <= set(found)
    assert len(passes) == -(-len(run.dataset["valid"]) // 128)
    partial = validator.measure(model, "valid", validator.conditions["0.5"])["all"]
    assert not [name for name in partial if "/" in name]


def without_labels(dataset, task="emotion"):
    splits = {s: replace(part, labels={**part.labels, task: np.full(len(part), -1)}) for s, part in dataset.splits.items()}
    return replace(dataset, splits=splits)


def test_a_head_without_labels_is_not_logged_and_stays_as_it_was(experiment):
    trainer = Trainer(override(experiment, {"train.epochs": 1, "train.weight_decay": 0.0}), without_labels(load(SOURCE)))
    before = {k: v.clone() for k, v in trainer.system.state_dict().items()}
    trainer.fit(progress=False)
    after = trainer.system.state_dict()
    own = [k for k in before if "head.heads.emotion" in k or k.endswith("log_variance.emotion")]
    assert len(own) > 1
    assert all(torch.equal(before[k], after[k]) for k in own)
    assert any(not torch.equal(before[k], after[k]) for k in before)
    assert not [row for row in trainer.state.history if row["metric"].startswith("emotion")]


def test_a_batch_without_emotion_labels_gives_that_head_no_gradient(experiment):
    torch.manual_seed(0)
    dataset = load(SOURCE)
    model, objective = TwoHeads(dataset.spec, experiment.model).eval(), ERM(dataset.spec, ERM.Config())
    whole = dataset["train"].batch(np.arange(16))
    missing = replace(whole, labels={**whole.labels, "emotion": torch.full((16,), -1)})
    for batch, costs in ((whole, True), (missing, False)):
        model.zero_grad(set_to_none=False)
        torch.stack(list(objective(model, batch).values())).sum().backward()
        own = [*model.head.heads["emotion"].parameters(), model.log_variance["emotion"]]
        assert any(p.grad is not None and p.grad.any() for p in own) == costs
        assert model.log_variance["sentiment"].grad.abs() > 0
