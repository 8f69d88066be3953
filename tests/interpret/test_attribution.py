"""Do the attribution methods say what is true of models whose answer is known, for a whole split at once?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from explained_models import SPEC, Classes, Linear, Relu, Sparse, batch, expected, traced
from torch import nn

from msaviz.interpret.attribution import attribute
from msaviz.interpret.explained import Explained, chunks, references
from msaviz.interpret.methods import METHODS
from msaviz.interpret.trace import Trace, observe
from msaviz.types import Batch, Output, Spec, Task


@pytest.mark.parametrize("name", ["integrated_gradients", "gradient_shap", "feature_ablation", "deep_lift"])
def test_a_sum_is_shared_out_exactly(name):
    model = Linear()
    trace = traced(model)
    found = attribute(trace, name)
    for m in ("text", "vision"):
        assert np.allclose(found.steps[m].value, expected(trace, model, m), atol=1e-5)
    assert (found.steps["audio"].value == 0).all()
    assert np.abs(found.gap).max() < 1e-4
    assert np.allclose(found.explained, trace.examples["prediction"])
    assert (found.reference == 0).all()


def test_steps_are_those_that_are_valid_in_their_order():
    trace = traced(Linear())
    for steps, m in ((attribute(trace).steps[m], m) for m in SPEC.modalities):
        row = np.concatenate([b.mask[m].nonzero()[:, 0] + 11 * i for i, b in enumerate(trace.batches)])
        time = np.concatenate([b.mask[m].nonzero()[:, 1] for b in trace.batches])
        assert np.array_equal(steps.row, row)
        assert np.array_equal(steps.time, time)


def test_features_and_steps_are_two_sums_of_one_thing():
    model = Linear()
    trace = traced(model)
    found, ablated = attribute(trace), attribute(trace, "feature_ablation", over="features")
    for m in SPEC.modalities:
        sums = np.bincount(found.steps[m].row, weights=found.steps[m].value, minlength=22)
        assert np.allclose(found.features[m].sum(1), sums, atol=1e-5)
        assert np.allclose(found.features[m], ablated.features[m], atol=1e-5)
    assert ablated.steps == {}
    assert np.allclose(ablated.modalities["text"], found.modalities["text"], atol=1e-5)


def test_what_is_absent_gets_exactly_nothing():
    trace = traced(nn.Sequential(Linear())[0])
    absent = ~trace.present("audio")
    assert absent.any()
    for name in ("integrated_gradients", "gradient_shap", "feature_ablation", "occlusion"):
        found = attribute(trace, name)
        assert (found.modalities["audio"][absent] == 0).all(), name
        assert not np.isin(np.flatnonzero(absent), found.steps["audio"].row).any()


def test_the_mean_baseline_is_that_of_the_train_steps():
    model = Linear()
    trace, train = traced(model), [batch(seed=9)]
    mean = {m: b[mask].mean(0) for (m, b), mask in zip(train[0].x.items(), train[0].mask.values(), strict=True)}
    found = attribute(trace, baseline="mean", train=train)
    shift = float(mean["text"] @ model.w["text"].detach())
    assert np.allclose(found.steps["text"].value, expected(trace, model, "text") - shift, atol=1e-5)
    assert np.abs(found.gap).max() < 1e-4
    assert "the train mean" in found.name
    with pytest.raises(ValueError, match="made of the train split"):
        attribute(trace, baseline="mean")


def test_missing_and_zero_differ_where_the_number_of_steps_matters():
    class Mean(Linear):
        def forward(self, batch: Batch) -> Output:
            y = self.parts(batch)["text"] / batch.mask["text"].sum(1).clamp(min=1)
            return Output({"sentiment": y}, y[:, None])

    model = Mean()
    trace = traced(model)
    zero, missing = (attribute(trace, "feature_ablation", baseline=b).steps["text"] for b in ("zero", "missing"))
    lengths = np.bincount(zero.row)[zero.row]
    each = expected(trace, model, "text")
    means = (np.bincount(zero.row, each) / np.bincount(zero.row))[zero.row]
    assert np.allclose(zero.value, each / lengths, atol=1e-5)
    several = lengths > 1
    assert np.allclose(missing.value[several], ((each - means) / (lengths - 1).clip(1))[several], atol=1e-5)


def test_occlusion_is_the_mean_over_the_windows_that_hold_a_step():
    model = Linear()
    trace = traced(model, 1)
    found = attribute(trace, "occlusion", window=1)
    assert np.allclose(found.steps["text"].value, expected(trace, model, "text"), atol=1e-5)
    wide = attribute(trace, "occlusion", window=6).steps["text"]  # one window: all steps at once
    whole = np.bincount(wide.row, expected(trace, model, "text"))[wide.row]
    longest = np.bincount(wide.row)[wide.row] == 6
    assert longest.any()
    assert np.allclose(wide.value[longest], whole[longest], atol=1e-5)


def test_draws_from_the_train_steps_are_complete_on_average():
    model = Linear()
    trace, train = traced(model), [batch(60, seed=9)]
    found = attribute(trace, "gradient_shap", baseline="train", train=train, steps=400)
    assert np.abs(found.gap).mean() < 0.1 * np.abs(found.explained - found.reference).mean()
    again = attribute(trace, "gradient_shap", baseline="train", train=train, steps=8, seed=1)
    same = attribute(trace, "gradient_shap", baseline="train", train=train, steps=8, seed=1)
    assert np.array_equal(again.steps["text"].value, same.steps["text"].value)


def test_attributing_leaves_the_global_generators_alone():
    trace = traced(Linear())
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.rand(1), np.random.rand()
    torch.manual_seed(0)
    np.random.seed(0)
    attribute(trace, "gradient_shap")
    assert before == (torch.rand(1), np.random.rand())


def test_deep_lift_where_it_has_rules_and_a_plain_no_where_it_has_none():
    found = attribute(traced(Relu()), "deep_lift")
    assert np.abs(found.gap).max() < 1e-4 * np.abs(found.explained).max()
    with pytest.raises(ValueError, match=r"not valid for this model: .* misses \d+ % of the difference"):
        attribute(traced(Sparse("soft")), "deep_lift")


def test_a_choice_of_experts_is_frozen_or_the_sum_is_wrong():
    trace = traced(Sparse())
    difference = np.abs(attribute(trace).explained - attribute(trace).reference).mean()
    assert np.abs(attribute(trace, steps=64).gap).mean() < 0.01 * difference
    live = attribute(trace, routing="live", steps=64)
    assert np.abs(live.gap).mean() > 0.05 * difference
    assert "routing live" in live.name
    assert np.abs(attribute(trace, routing="live", steps=256).gap).mean() > 0.03 * difference  # more steps do not help


def test_frozen_experts_are_those_of_the_whole_input():
    trace = traced(Sparse(), 1)
    explained = Explained(trace.model, trace.batches[0])
    twice = torch.cat([explained.rows, explained.rows.flip(0)])
    output = explained.output({m: torch.randn_like(torch.cat([x, x])) for m, x in explained.batch.x.items()}, twice)
    chosen = (trace.outputs[0].routing["only/text"].gates > 0)[twice]
    assert torch.equal(output.routing["only/text"].gates > 0, chosen)


def test_chunks_hold_every_utterance_once_and_change_no_prediction():
    trace = traced(Sparse())
    seen = list(chunks(trace, copies=32))
    assert len(seen) > 2
    assert sorted(np.concatenate([rows for rows, _ in seen])) == list(range(22))
    for rows, part in seen:
        assert np.allclose(Explained(trace.model, part).value, trace.examples["prediction"].to_numpy()[rows], atol=1e-6)
        assert all(mask.shape[1] == max(1, int(mask.sum(1).max())) for mask in part.mask.values())


def test_the_logit_of_the_predicted_class_is_explained_or_that_of_a_chosen_one():
    model = Classes()
    spec = Spec(SPEC.widths, {"sentiment": Task("classes", classes=("low", "high", "none"))})
    trace = observe(model.eval(), [batch(seed=i, start=11 * i) for i in range(2)], spec=spec)
    logits = torch.cat([o.prediction for o in trace.outputs]).numpy()
    assert set(logits.argmax(1)) == {0, 1, 2}
    own, second = attribute(trace), attribute(trace, target=np.ones(22, dtype=int))
    assert np.allclose(own.explained, logits.max(1), atol=1e-6)
    assert np.allclose(second.explained, logits[:, 1], atol=1e-6)
    assert np.allclose(second.steps["text"].value, expected(trace, model, "text"), atol=1e-5)
    turned = np.array([-1.0, 1.0, 0.0])[logits.argmax(1)]
    assert np.allclose(own.modalities["text"], turned * second.modalities["text"], atol=1e-5)


def test_mistakes_are_named():
    trace = traced(Linear())
    with pytest.raises(ValueError, match="no attribution method is called 'lime'; these exist: integrated_gradients"):
        attribute(trace, "lime")
    with pytest.raises(ValueError, match="a missing step is a mask: choose zero or mean, or one of feature_ablation, occlusion"):
        attribute(trace, baseline="missing")
    with pytest.raises(ValueError, match="no baseline is called 'blur'"):
        attribute(trace, baseline="blur")
    with pytest.raises(ValueError, match="no routing is called 'loose'"):
        attribute(trace, routing="loose")
    with pytest.raises(ValueError, match="Occlusion takes no over; it takes window"):
        attribute(trace, "occlusion", over="features")
    with pytest.raises(ValueError, match="holds no model"):
        attribute(Trace(SPEC, trace.batches, trace.outputs))
    assert set(METHODS) == {"integrated_gradients", "gradient_shap", "deep_lift", "feature_ablation", "occlusion"}
    assert references("missing", trace.model, trace.batches) == {}
