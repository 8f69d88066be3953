"""Does a student learn from a frozen teacher, and need it for nothing else?"""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from interrupted import resumed

from msaviz import Experiment, Run, load, override, train
from msaviz.training.distil import Lessons
from msaviz.training.loop import Trainer

DATA = "synthetic:rows=200,seed=1"
QUICK = {"train.epochs": 1, "train.batch": 32, "train.threads": 1, "train.validation_rates": [0.0], "model.dim": 8}


def experiment(model: str = "early_fusion", **changes: object) -> Experiment:
    return override(Experiment(model=model, data=DATA), {**QUICK, **changes})


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Run:
    return train(experiment(missing="none", **{"train.epochs": 3}), tmp_path_factory.mktemp("teacher") / "run", progress=False)


@pytest.fixture(scope="module")
def data():
    return load(DATA)


def student(teacher: Run, model: str = "early_fusion", **changes: object) -> Experiment:
    return experiment(model, **{"components.distillation.teacher": str(teacher.path), **changes})


def lessons(teacher: Run, data, **changes: object) -> tuple[Trainer, Lessons]:
    trainer = Trainer(student(teacher, **changes), data)
    assert trainer.lessons is not None
    return trainer, trainer.lessons


def test_a_student_that_is_its_teacher_has_nothing_to_learn_of_complete_input(teacher, data):
    trainer, taught = lessons(teacher, data)
    trainer.system.load_state_dict(teacher.model().state_dict())
    batch = data["train"].batch(np.arange(24))
    terms = taught(batch, trainer.system.eval()(batch))
    assert set(terms) == {"teacher/contrast", "teacher/prototypes", "teacher/response"}
    assert terms["teacher/response"].abs() < 1e-9
    assert terms["teacher/prototypes"].abs() < 1e-5
    other = Trainer(experiment(), data).system.eval()
    far = taught(batch, other(batch))
    assert far["teacher/response"] > 1e-3
    assert far["teacher/prototypes"] > 1e-3


def test_the_teacher_reads_what_the_student_lost(teacher, data):
    trainer, taught = lessons(teacher, data, missing="mixture:inter_modal=true")
    batch = next(batch for batch, _ in trainer._train_batches() if not batch.present("text").all())
    torch.testing.assert_close(taught.asked(batch).prediction, teacher.model()(batch.complete).prediction.detach())
    assert not torch.allclose(taught.asked(batch).prediction, teacher.model()(batch).prediction)


def test_the_teacher_has_no_gradient_and_never_changes(teacher, data):
    trainer, taught = lessons(teacher, data)
    (system,) = taught._teacher
    before = {name: value.clone() for name, value in system.state_dict().items()}
    trainer._train_epoch()
    assert not any(p.requires_grad or p.grad is not None for p in system.parameters())
    assert all(torch.equal(value, before[name]) for name, value in system.state_dict().items())
    assert not system.training
    assert not taught.asked(data["train"].batch(np.arange(4))).fused.requires_grad


def test_a_bridge_is_trained_where_widths_differ_and_there_is_none_elsewhere(teacher, data):
    assert not list(lessons(teacher, data)[1].parameters())
    trainer, taught = lessons(teacher, data, **{"model.dim": 16})
    assert taught.bridge.weight.shape == (8, 16)
    before = taught.bridge.weight.clone()
    trainer._train_epoch()
    assert not torch.equal(taught.bridge.weight, before)


@pytest.mark.parametrize("model", ["derl", "haemsa"])
def test_any_model_may_learn_from_any(model, teacher, tmp_path):
    run = train(student(teacher, model, **{"components.bottleneck": True}), tmp_path / "run", progress=False)
    assert {"loss/teacher/contrast", "loss/teacher/prototypes", "loss/teacher/response"} <= set(run.history().metric)


def test_a_finished_run_needs_no_teacher(teacher, tmp_path):
    copy = tmp_path / "teacher"
    shutil.copytree(teacher.path, copy)
    run = train(student(Run.open(copy)), tmp_path / "run", progress=False)
    shutil.rmtree(copy)
    names = run.model().state_dict()
    assert set(names) == set(teacher.model().state_dict())
    assert np.isfinite(Run.open(run.path).predict("test")).all()
    assert json.loads((run.path / "options.json").read_text())["experiment"]["components"]["distillation"]["teacher"] == str(copy)


def test_a_broken_run_resumes_to_the_same_numbers(teacher, tmp_path, monkeypatch):
    e = student(teacher, **{"model.dim": 16, "train.epochs": 2})
    whole = train(e, tmp_path / "whole", progress=False)
    again = resumed(e, tmp_path / "broken", monkeypatch)
    for name in ("history.jsonl", "weights.safetensors"):
        assert (again.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_a_weight_of_nothing_is_no_term(teacher, data):
    changes = {"components.distillation.contrast": 0, "components.distillation.prototypes": 0}
    trainer, taught = lessons(teacher, data, **changes)
    batch = data["train"].batch(np.arange(4))
    assert set(taught(batch, trainer.system(batch))) == {"teacher/response"}


def test_token_ids_are_read_by_the_teachers_own_encoder(tmp_path):
    ids = {"data": "synthetic:rows=200,text=ids", "text.encoder": "embedding", "text.width": 6}
    run = train(experiment(**ids), tmp_path / "teacher", progress=False)
    assert train(student(run, **{**ids, "text.width": 10}), tmp_path / "student", progress=False).done


# -- who cannot teach ---------------------------------------------------------------------------------------------------


def test_a_teacher_of_other_data_is_refused(teacher):
    e = student(teacher, data="synthetic:rows=200,text=ids", **{"text.encoder": "embedding"})
    with pytest.raises(ValueError, match="cannot teach.*vocabularies: {} there"):
        Trainer(e, load(e.data))


def test_a_teacher_that_saw_what_must_stay_unseen_is_refused(teacher, data):
    e = student(teacher, **{"domains.targets": ["meal"]})
    with pytest.raises(ValueError, match="unseen by both"):
        Trainer(e, data)


def test_a_missing_or_unfinished_teacher_is_named(tmp_path, data):
    with pytest.raises(FileNotFoundError, match="nowhere is not a run"):
        Trainer(experiment(**{"components.distillation.teacher": "nowhere"}), data)
    run = Run.create(tmp_path / "begun", experiment(), data)
    with pytest.raises(FileNotFoundError, match="no weights yet"):
        Trainer(student(run), data)


def test_mixup_and_a_teacher_do_not_go_together(teacher, data):
    e = override(student(teacher), {"objective": "mixup"})
    with pytest.raises(ValueError, match="mixup and components.distillation"):
        Trainer(e, data)
