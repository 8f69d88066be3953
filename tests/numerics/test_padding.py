"""Does what stands in padding, or in the place of an absent modality, change anything? Not one bit, be it infinite or no number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from endurance import tell, tries
from numeric_models import ASKED, GARBAGE, MODALITIES, SPECS, TASKS, corrupted, learnt, made, rows, spoiled, tensors
from torch import Tensor

from msaviz.catalog import OBJECTIVES
from msaviz.data.dataset import Split
from msaviz.interpret.attribution import attribute
from msaviz.interpret.trace import observe
from msaviz.options import override
from msaviz.training.experiment import Experiment
from msaviz.training.loop import train
from msaviz.types import Batch

TRAINED = (
    {"model": "derl", "objective": "mixup"},
    {"model": "midg"},
    {"model": "self_mm", "components.modulation": "gradient"},
    {"model": "haemsa", "components.absent": "imagined"},
    {"model": "misa", "components.cross_attention": True, "components.bottleneck": True},
)
"""An ordinary run trains the first two."""


def different(one: dict[str, Tensor], two: dict[str, Tensor]) -> list[str]:
    """What is not equal to the bit (NaN is equal to nothing: none may come out)."""
    assert one.keys() == two.keys()
    return [name for name in one if one[name].dtype != two[name].dtype or not torch.equal(one[name], two[name])]


@pytest.mark.parametrize(("case", "task"), ASKED)
def test_what_a_model_says_does_not_depend_on_what_is_not_there(case, task):
    """In eval mode: predictions, representations, gates and importance, bit by bit."""
    model, count = made(case, task), tries(1)
    for seed in range(count):
        clean = rows(task=task, seed=seed)
        with torch.inference_mode():
            assert different(tensors(model(spoiled(clean, seed))), tensors(model(clean))) == []
    tell("garbage in padding: what a model says (models x modalities)", count * len(MODALITIES))


@pytest.mark.parametrize(("case", "task"), ASKED)
def test_what_a_model_learns_does_not_depend_on_what_is_not_there(case, task):
    """In training mode, dropout and noise drawn alike: every loss and every parameter's gradient, bit by bit."""
    model, count = made(case, task), tries(1)
    for seed in range(count):
        clean = rows(task=task, seed=seed)
        dirty = dict(learnt(model, corrupted(spoiled(clean, seed), seed), task=task))
        assert different(dirty, dict(learnt(model, corrupted(clean, seed), task=task))) == []
    tell("garbage in padding: losses and gradients (models x modalities)", count * len(MODALITIES))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_no_objective_reads_what_is_not_there(objective, task):
    """The terms and the gradients, bit by bit; mixup too, whose rows lend their steps to rows that lack them."""
    model, count = made("early_fusion", task), tries(1)
    for seed in range(count):
        clean = rows(task=task, seed=seed)
        dirty = dict(learnt(model, corrupted(spoiled(clean, seed), seed), objective, task))
        assert different(dirty, dict(learnt(model, corrupted(clean, seed), objective, task))) == []
    tell("garbage in padding: losses and gradients (objectives x modalities)", count * len(MODALITIES))


@pytest.mark.parametrize("method", ["integrated_gradients", "gradient_shap", "feature_ablation", "occlusion"])
@pytest.mark.parametrize("case", ["midg", "haemsa", "derl"])
def test_attributions_do_not_depend_on_what_is_not_there(case, method):
    """The values of all steps, the explained number and its reference, bit by bit; the baseline is the mean of the steps that are there."""
    model, count = made(case), tries(1)

    def found(batch: Batch) -> dict[str, Tensor]:
        one = attribute(observe(model, [batch], spec=SPECS["regression"]), method, steps=3, baseline="mean", train=[batch])
        values = {"explained": one.explained, "reference": one.reference, **{m: s.value for m, s in one.steps.items()}}
        return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in values.items()}

    for seed in range(count):
        clean = rows(6, seed=seed)
        assert different(found(spoiled(clean, seed)), found(clean)) == []
    tell("garbage in padding: attributions (models x modalities)", count * len(MODALITIES))


@pytest.mark.parametrize("options", TRAINED[: 1 + tries(1)])
def test_a_training_leaves_the_same_files_whatever_stands_in_the_padding(options, tmp_path, monkeypatch):
    """Two epochs of one step, validation and what a model remembers included: weights, history and predictions, byte by byte."""
    model, objective = options["model"], options.get("objective", "erm")
    more = {key: value for key, value in options.items() if "." in key}
    experiment = Experiment(model=model, data="synthetic:rows=200", objective=objective)
    experiment = override(experiment, {"train.epochs": 2, "train.batch": 128, "train.validation_rates": [0.5], "model.dim": 8, **more})
    clean, plain = train(experiment, tmp_path / "clean", progress=False), Split.batch
    for garbage in GARBAGE[-tries(1) :]:
        monkeypatch.setattr(Split, "batch", lambda split, index, garbage=garbage: garbled(plain(split, index), garbage))
        dirty = train(experiment, tmp_path / f"{garbage}", progress=False)
        for name in ("weights.safetensors", "history.jsonl", "predictions.csv"):
            assert (dirty.path / name).read_bytes() == (clean.path / name).read_bytes(), f"{name}, {garbage}"
        tell("garbage in padding: whole trainings", 1)


def garbled(batch: Batch, garbage: float) -> Batch:
    """Garbage in the padding of vectors; a padded token id is another word's."""
    there = {m: batch.mask[m][..., None] if x.ndim > 2 else batch.mask[m] for m, x in batch.x.items()}
    return batch.with_x(**{m: torch.where(there[m], x, garbage if x.is_floating_point() else 1) for m, x in batch.x.items()})
