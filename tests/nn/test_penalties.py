"""Does each penalty equal its formula, written a second time in numpy?"""

import numpy as np
import pytest
import torch

from msaviz.nn import penalties as p

PAIRS = [p.orthogonality_misa, p.orthogonality_cosine, p.hsic, p.cmd]


@pytest.fixture
def rows():
    generator = torch.Generator().manual_seed(0)
    draw = torch.randn(2, 12, 4, generator=generator, dtype=torch.float64)
    return draw[0], draw[1] * 0.5 + draw[0] * 0.3


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_misa_equals_its_formula(rows):
    a, b = (unit(x.numpy() - x.numpy().mean(0)) for x in rows)
    expected = sum((a[:, i] @ b[:, j]) ** 2 for i in range(4) for j in range(4)) / 16
    np.testing.assert_allclose(p.orthogonality_misa(*rows), expected)


def test_cosine_equals_its_formula(rows):
    a, b = (unit(x.numpy()) for x in rows)
    np.testing.assert_allclose(p.orthogonality_cosine(*rows), np.mean([(x @ y) ** 2 for x, y in zip(a, b, strict=True)]))


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_hsic_equals_the_trace(rows, kernel):
    def gram(x):
        if kernel == "linear":
            return x @ x.T
        square = ((x[:, None] - x[None]) ** 2).sum(-1)
        return np.exp(-square / square.mean())

    n = len(rows[0])
    center = np.eye(n) - 1 / n
    expected = np.trace(gram(rows[0].numpy()) @ center @ gram(rows[1].numpy()) @ center) / (n - 1) ** 2
    np.testing.assert_allclose(p.hsic(*rows, kernel=kernel), expected)


def test_linear_hsic_is_the_squared_norm_of_the_covariance(rows):
    a, b = (x.numpy() for x in rows)
    covariance = (a - a.mean(0)).T @ (b - b.mean(0)) / (len(a) - 1)
    np.testing.assert_allclose(p.hsic(*rows, kernel="linear"), (covariance**2).sum())


@pytest.mark.parametrize("order", [1, 2, 5])
def test_cmd_equals_its_formula(rows, order):
    a, b = (x.numpy() for x in rows)
    expected = np.linalg.norm(a.mean(0) - b.mean(0))
    for k in range(2, order + 1):
        expected += np.linalg.norm(((a - a.mean(0)) ** k).mean(0) - ((b - b.mean(0)) ** k).mean(0))
    np.testing.assert_allclose(p.cmd(*rows, order=order), expected)


def test_orthogonal_spaces_cost_nothing():
    left, right = torch.tensor([1.0, -1, 1, -1]), torch.tensor([1.0, 1, -1, -1])
    a = torch.stack([left, torch.zeros(4)], 1)
    b = torch.stack([torch.zeros(4), right], 1)
    assert p.orthogonality_misa(a, b) == 0
    assert p.orthogonality_cosine(a, b) == 0
    assert p.hsic(a, b, kernel="linear") == 0
    assert p.orthogonality_misa(a, a) > 0.1
    assert p.orthogonality_cosine(a, a) == 1


def test_independent_rows_have_a_smaller_hsic_than_dependent_ones(rows):
    a, noise = rows[0], torch.randn(12, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    assert p.hsic(a, a.square()) > p.hsic(a, noise)


def test_cmd_of_a_distribution_with_itself_is_0_with_a_finite_gradient(rows):
    a = rows[0].clone().requires_grad_()
    value = p.cmd(a, a.flip(0))
    value.backward()
    assert value < 1e-12
    assert torch.isfinite(a.grad).all()


def test_cmd_needs_no_pairs(rows):
    a, b = rows
    some = torch.arange(12) < 7
    np.testing.assert_allclose(p.cmd(a, b, some, present_b=~some), p.cmd(a[:7], b[7:]))


@pytest.mark.parametrize("penalty", PAIRS)
def test_only_rows_that_are_present_count(rows, penalty):
    present = torch.arange(12) % 3 > 0
    a, b = rows
    spoiled = a.masked_fill(~present[:, None], torch.nan)
    np.testing.assert_allclose(penalty(spoiled, b, present), penalty(a[present], b[present]))


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("penalty", PAIRS)
def test_fewer_than_two_rows_cost_a_finite_0(rows, penalty, count):
    a = rows[0].clone().requires_grad_()
    value = penalty(a, rows[1], torch.arange(12) < count)
    value.backward()
    assert value == 0
    assert (a.grad == 0).all()


@pytest.mark.parametrize("penalty", PAIRS)
def test_constant_rows_stay_finite(penalty):
    a = torch.ones(5, 3, requires_grad=True)
    penalty(a, torch.ones(5, 3)).backward()
    assert torch.isfinite(a.grad).all()


@pytest.mark.parametrize("penalty", [p.orthogonality_misa, p.orthogonality_cosine, lambda a, b: p.hsic(a, b, kernel="linear"), p.cmd])
def test_gradients_are_those_of_finite_differences(rows, penalty):
    assert torch.autograd.gradcheck(penalty, [x.clone().requires_grad_() for x in rows])


def test_load_balance_is_1_when_even_and_the_number_of_experts_when_one_does_all():
    even = torch.full((8, 4), 0.25)
    one = torch.eye(4)[torch.zeros(8, dtype=torch.long)]
    turns = torch.eye(4)[torch.arange(8) % 4]
    np.testing.assert_allclose([p.load_balance(x).item() for x in (even, one, turns)], [1, 4, 1], rtol=1e-6)


def test_load_balance_equals_its_formula():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 9, 4, generator=generator)
    probability = logits.softmax(-1)
    top = probability.topk(2, -1)
    gates = torch.zeros_like(probability).scatter(-1, top.indices, top.values)
    mask = torch.arange(9) < torch.tensor([[9], [4]])
    picked, mean = (gates[mask] > 0).numpy(), probability[mask].numpy().mean(0)
    expected = 4 * (picked.sum(0) / picked.sum() * mean).sum()
    np.testing.assert_allclose(p.load_balance(gates, mask, logits), expected, rtol=1e-6)


def test_load_balance_pushes_tokens_away_from_the_busy_expert():
    logits = torch.tensor([[2.0, 0.0, 0.0]]).repeat(6, 1).requires_grad_()
    p.load_balance(logits.softmax(-1)).backward()
    assert (logits.grad[:, 0] > 0).all()
    assert (logits.grad[:, 1:] < 0).all()


def test_z_loss_and_importance_variation_equal_their_formulas():
    logits = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(2))
    mask = torch.arange(5) < torch.tensor([[5], [2], [0]])
    kept = logits[mask].numpy()
    np.testing.assert_allclose(p.z_loss(logits, mask), (np.log(np.exp(kept).sum(1)) ** 2).mean(), rtol=1e-5)
    gates = logits.softmax(-1)
    load = gates[mask].numpy().sum(0)
    np.testing.assert_allclose(p.importance_variation(gates, mask), load.var() / load.mean() ** 2, rtol=1e-4)


@pytest.mark.parametrize("penalty", [p.load_balance, p.z_loss, p.importance_variation])
def test_router_penalties_of_nothing_are_a_finite_0(penalty):
    logits = torch.randn(2, 3, 4, requires_grad=True)
    value = penalty(logits.softmax(-1), torch.zeros(2, 3, dtype=torch.bool))
    value.backward()
    assert value == 0
    assert (logits.grad == 0).all()


def test_an_unknown_kernel_is_refused(rows):
    with pytest.raises(ValueError, match="these exist"):
        p.hsic(*rows, kernel="magic")
