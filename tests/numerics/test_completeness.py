"""Do attributions add up to what they explain, and is what is hidden what a loop by hand would hide?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from endurance import TIMES, tell, tries
from numeric_models import ASKED, CASES, SPECS, double, made, picked, rows
from torch import nn

from msaviz.interpret.attribution import Attribution, attribute
from msaviz.interpret.coalitions import coalitions
from msaviz.interpret.explained import Explained, references
from msaviz.interpret.methods import tensors
from msaviz.interpret.trace import observe
from msaviz.types import Batch

STEPS, MANY = 48, 192
KINKS, KINKED = ("mult", "mult, mean", "self_mm", "tfn", "tfn, transformer", "tfn, imagined"), 0.05
"""Models with ReLU, whose slope jumps on the way: what is missed falls only as fast as the points grow, of which they get MANY."""


def explained(model: nn.Module, batch: Batch, task: str, method: str, **options) -> Attribution:
    return attribute(observe(model, [batch], spec=SPECS[task]), method, **options)


def number(model: nn.Module, batch: Batch, like: torch.Tensor) -> torch.Tensor:
    """The prediction, or the logit of the class that `like` puts first."""
    with torch.no_grad():
        found = model(batch).prediction
    return found if found.ndim == 1 else found.gather(-1, like.argmax(-1)[:, None])[:, 0]


def zeroed(batch: Batch) -> Batch:
    return batch.with_x(**{m: torch.zeros_like(x) for m, x in batch.x.items()})


@pytest.mark.parametrize(("case", "task"), ASKED)
def test_integrated_gradients_give_out_the_whole_difference(case, task):
    """sum of what was given = f(x) - f(baseline), to a thousandth (of kinked models to a twentieth); the gap that is told is captum's."""
    for seed in range(tries(1)):
        model, batch = made(case, task, seed).double(), double(rows(5, task, seed))
        steps = MANY if case in KINKS else STEPS
        one = explained(model, batch, task, "integrated_gradients", steps=steps)
        assert np.abs(one.gap).sum() <= (KINKED if case in KINKS else 1e-3) * np.abs(one.explained - one.reference).sum()
        asked = Explained(model, batch)
        x, baselines = tensors(asked, references("zero", model, [batch]))
        _, delta = IntegratedGradients(asked).attribute(
            x, baselines, additional_forward_args=(asked.rows,), n_steps=steps, return_convergence_delta=True
        )
        np.testing.assert_allclose(one.gap, -delta.detach().numpy(), atol=1e-6)
        if not asked.steered:
            said = model(batch).prediction
            np.testing.assert_allclose(one.explained, number(model, batch, said), atol=1e-6)
            np.testing.assert_allclose(one.reference, number(model, zeroed(batch), said), atol=1e-6)
    tell("attribution completeness: models x heads", tries(1))


@pytest.mark.parametrize(("case", "task"), ASKED)
def test_shapley_values_of_modalities_give_out_the_whole_difference(case, task):
    model, batch = made(case, task).double(), double(rows(5, task))
    found = coalitions(observe(model, [batch], spec=SPECS[task]))
    assert np.abs(found.gap).max() < 1e-9
    assert all((values[~batch.present(m).numpy()] == 0).all() for m, values in found.shapley.items())


@pytest.mark.parametrize("case", CASES)
def test_deep_lift_gives_out_the_whole_difference_or_says_that_it_cannot(case):
    """Either it adds up to within its tolerance over the batch, or it is refused in words."""
    model, batch = made(case), rows(6)
    one, said = None, ""
    try:
        one = explained(model, batch, "regression", "deep_lift")
    except ValueError as error:
        said = str(error)
    if one is None:
        assert "DeepLIFT is not valid for this model" in said
    else:
        assert np.abs(one.gap).sum() <= 0.051 * np.abs(one.explained - one.reference).sum() + 1e-5


@pytest.mark.parametrize("baseline", ["zero", "missing"])
@pytest.mark.parametrize("case", ["derl", "tfn"] if TIMES == 1 else ["derl", "mult", "tfn", "haemsa", "midg"])
def test_ablation_and_occlusion_are_loops_by_hand(case, baseline):
    """The number's fall when a step is hidden; and for occlusion the mean fall over the utterance's windows of three steps that hold it."""
    model, batch = made(case).double(), double(rows(4))
    plain = model(batch).prediction.detach()

    def fall(m: str, steps: range) -> torch.Tensor:
        x, mask, there = batch.x[m].clone(), batch.mask[m].clone(), [t for t in steps if 0 <= t < 9]
        if baseline == "zero":
            x[:, there] = 0
        else:
            mask[:, there] = False
        return plain - number(model, replace(batch, x={**batch.x, m: x}, mask={**batch.mask, m: mask}), plain)

    options = {"baseline": baseline, "routing": "live"}
    ablated = explained(model, batch, "regression", "feature_ablation", **options)
    occluded = explained(model, batch, "regression", "occlusion", **options)
    for m in batch.modalities:
        alone = torch.stack([fall(m, range(t, t + 1)) for t in range(9)], 1)
        np.testing.assert_allclose(ablated.steps[m].value, alone[batch.mask[m]], atol=1e-6)
        three = torch.stack([fall(m, range(s, s + 3)) for s in range(9)], 1)
        for i, size in enumerate(batch.mask[m].sum(1).tolist()):
            starts = range(max(1, size - 2))
            means = [three[i, [s for s in starts if s <= t < s + 3]].mean() for t in range(size)]
            np.testing.assert_allclose(occluded.steps[m].value[occluded.steps[m].row == i], means, atol=1e-6)
    tell("attribution: hidden steps by hand", 2 * sum(int(mask.sum()) for mask in batch.mask.values()))


@pytest.mark.parametrize("method", ["integrated_gradients", "feature_ablation", "occlusion"])
def test_an_attribution_does_not_depend_on_the_other_utterances(method):
    """Alone, an utterance gets what it gets among others that are longer."""
    model, batch = made("derl").double(), double(rows(6, absent=0))
    together = explained(model, batch, "regression", method, steps=8)
    for i in range(6):
        alone = explained(model, picked(batch, torch.tensor([i])), "regression", method, steps=8)
        for m, steps in alone.steps.items():
            np.testing.assert_allclose(steps.value, together.steps[m].value[together.steps[m].row == i], atol=1e-6, err_msg=m)
