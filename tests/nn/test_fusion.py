"""Is what is absent worth exactly nothing in the fusion?"""

import pytest
import torch

from msaviz.nn.fusion import ImportanceFusion
from msaviz.nn.heads import Heads
from msaviz.types import Task

PRESENT = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 0, 1], [0, 0, 0]], dtype=torch.bool)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def inputs():
    return torch.randn(4, 3, 16), PRESENT, torch.rand(4, 3)


@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize("layers", [0, 1, 2])
def test_importance_sums_to_1_and_is_exactly_0_for_the_absent(uniform, layers):
    z, importance = ImportanceFusion(16, 3, layers=layers, uniform=uniform)(*inputs())
    assert (importance[~PRESENT] == 0).all()
    assert (importance[PRESENT] > 0).all()
    torch.testing.assert_close(importance.sum(1), PRESENT.any(1).float())
    assert (z[3] == 0).all()


def test_what_an_absent_contributor_holds_changes_nothing():
    fusion = ImportanceFusion(16, 3).eval()
    features, present, completeness = inputs()
    other = features.masked_fill(~present[..., None], torch.nan)
    for one, two in zip(fusion(features, present, completeness), fusion(other, present, completeness), strict=True):
        assert torch.equal(one, two)


def test_gradients_are_finite_and_zero_where_absent():
    fusion = ImportanceFusion(16, 3)
    features, present, completeness = inputs()
    z, importance = fusion(features.requires_grad_(), present, completeness)
    (z.square().sum() + importance.square().sum()).backward()
    assert torch.isfinite(features.grad).all()
    assert (features.grad[~present] == 0).all()
    assert all(torch.isfinite(p.grad).all() for p in fusion.parameters())


def test_completeness_and_temperature_move_the_importance():
    features, present, completeness = inputs()
    fusion = ImportanceFusion(16, 3).eval()
    _, importance = fusion(features, present, completeness)
    _, other = fusion(features, present, 1 - completeness)
    assert (importance - other).abs().max() > 1e-3
    fusion.temperature = 0.1
    assert fusion(features, present, completeness)[1].amax(1)[0] > importance.amax(1)[0]


def test_uniform_weights_are_equal_over_those_present():
    _, importance = ImportanceFusion(16, 3, uniform=True)(*inputs())
    torch.testing.assert_close(importance[1], torch.tensor([0.5, 0.0, 0.5]))


def test_permuting_the_batch_permutes_the_fusion():
    fusion, order = ImportanceFusion(16, 3).eval(), torch.tensor([3, 1, 0, 2])
    plain, permuted = fusion(*inputs_fixed()), fusion(*(value[order] for value in inputs_fixed()))
    for one, two in zip(plain, permuted, strict=True):
        torch.testing.assert_close(one[order], two)


def inputs_fixed():
    generator = torch.Generator().manual_seed(5)
    return torch.randn(4, 3, 16, generator=generator), PRESENT, torch.rand(4, 3, generator=generator)


def test_a_head_begins_at_the_middle_of_its_scale():
    """The same weights, labels from 1 to 5 instead of -3 to 3: every prediction lies 3 higher."""
    z = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    found = {}
    for low, high in ((-3.0, 3.0), (1.0, 5.0)):
        torch.manual_seed(0)
        found[low] = Heads(8, {"y": Task(low=low, high=high), "c": Task("classes", classes=("a", "b"))}).eval()(z)
    torch.testing.assert_close(found[1.0]["y"], found[-3.0]["y"] + 3)
    torch.testing.assert_close(found[1.0]["c"], found[-3.0]["c"])
