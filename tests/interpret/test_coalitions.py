"""Are Shapley values and interactions of modalities those of their definition, and captum's?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from explained_models import Linear, traced

from msaviz.interpret.coalitions import coalitions, weights
from msaviz.interpret.explained import Explained
from msaviz.interpret.trace import observe
from msaviz.types import subsets


def test_shapley_values_of_a_sum_are_its_terms_and_nothing_interacts():
    model = Linear()
    trace = traced(model)
    found = coalitions(trace)
    for m in ("text", "vision"):
        terms = torch.cat([model.parts(b)[m] for b in trace.batches]).detach().numpy()
        assert np.allclose(found.shapley[m], terms, atol=1e-5)
    assert np.abs(found.shapley["audio"]).max() < 1e-6
    assert all(np.abs(value).max() < 1e-5 for value in found.interactions.values())
    assert np.abs(found.gap).max() < 1e-9


def test_a_product_is_all_interaction():
    model = Linear(product=True)
    trace = traced(model)
    found, y = coalitions(trace), trace.examples["prediction"].to_numpy()
    assert np.allclose(found.shapley["text"], y / 2, atol=1e-5)
    assert np.allclose(found.shapley["vision"], y / 2, atol=1e-5)
    assert np.allclose(found.interactions["text", "vision"], y, atol=1e-5)
    assert np.abs(found.interactions["text", "audio"]).max() < 1e-5
    assert np.abs(found.interactions["text", "audio", "vision"]).max() < 1e-5


def test_an_absent_modality_is_worth_exactly_nothing():
    trace = traced(Linear(product=True))
    found, absent = coalitions(trace), ~trace.present("audio")
    assert absent.any()
    assert (found.shapley["audio"][absent] == 0).all()
    assert (found.interactions["text", "audio"][absent] == 0).all()


def test_exact_shapley_is_captums_on_a_trained_kind_of_model():
    from captum.attr import ShapleyValues

    from msaviz.data.load import load
    from msaviz.models.derl import Derl

    data = load("synthetic:rows=200")
    torch.manual_seed(0)
    model = Derl(data.spec, Derl.Config(dim=8, heads=1, experts=2, hidden=8, layers=0)).eval()
    trace = observe(model, [data.splits["test"].batch(range(12))], spec=data.spec)
    explained = Explained(model, trace.batches[0], routing="live")

    def alone(keep: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return explained.hidden({m: keep[:, i : i + 1] for i, m in enumerate(explained.modalities)}, rows, {})

    theirs = ShapleyValues(alone).attribute(torch.ones(12, 3), baselines=0, additional_forward_args=(explained.rows,))
    ours = coalitions(trace)
    assert np.allclose(np.stack(list(ours.shapley.values()), 1), theirs.numpy(), atol=1e-5)
    assert np.abs(ours.gap).max() < 1e-6


def test_the_weights_of_the_index_are_those_of_its_definition():
    sets = ((), *subsets(("a", "b", "c")))
    assert np.allclose(weights(("a", "b", "c"), sets, ("a",)) @ [len(s) == 3 for s in sets], 1 / 3)
    assert np.allclose(weights(("a", "b", "c"), sets, ("a", "b", "c")), [(-1) ** (3 - len(s)) for s in sets])
    for part in sets[1:]:
        assert weights(("a", "b", "c"), sets, part).sum() == pytest.approx(0)
