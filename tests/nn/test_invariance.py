"""Does each measure of the difference between domains equal its formula, written a second time in numpy?"""

from itertools import combinations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from msaviz.nn import invariance as v

DOMAINS = 4  # the last is never in the batch
MEASURES = [v.coral, v.mmd, v.gate_divergence]


@pytest.fixture
def rows():
    """x Float[b d] positive with rows that sum to 1, so that it may stand for gates; domain Int[b] with 6, 5 and 4 rows."""
    generator = torch.Generator().manual_seed(0)
    domain = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 0])
    x = torch.randn(15, 4, generator=generator, dtype=torch.float64) * (1 + domain[:, None]) + domain[:, None]
    return x.softmax(1), domain


def parts(x, domain):
    return [x[domain == d].numpy() for d in torch.unique(domain)]


def square_distances(a, b):
    return ((a[:, None] - b[None]) ** 2).sum(-1)


def test_coral_equals_its_formula(rows):
    x, domain = rows
    d = x.shape[1]
    expected = [
        ((a.mean(0) - b.mean(0)) ** 2).sum() / d + ((np.cov(a.T) - np.cov(b.T)) ** 2).sum() / d**2
        for a, b in combinations(parts(x, domain), 2)
    ]
    np.testing.assert_allclose(v.coral(x, domain, DOMAINS), np.mean(expected))


def test_mmd_equals_its_formula(rows):
    x, domain = rows
    typical = square_distances(x.numpy(), x.numpy()).mean()

    def kernel(a, b):
        return sum(np.exp(-square_distances(a, b) / (s * typical)) for s in v.BANDWIDTHS).mean()

    expected = [kernel(a, a) + kernel(b, b) - 2 * kernel(a, b) for a, b in combinations(parts(x, domain), 2)]
    np.testing.assert_allclose(v.mmd(x, domain, DOMAINS), np.mean(expected))


def test_gate_divergence_equals_its_formula(rows):
    gates, domain = rows
    means = [part.mean(0) for part in parts(gates, domain)]
    expected = np.mean([(m * np.log(m / np.mean(means, 0))).sum() for m in means])
    np.testing.assert_allclose(v.gate_divergence(gates, domain, DOMAINS), expected)


def test_gates_that_tell_the_domain_diverge_by_its_entropy():
    domain = torch.arange(12) % 3
    value = v.gate_divergence(torch.eye(3)[domain], domain, 3)
    np.testing.assert_allclose(value, np.log(3), rtol=1e-6)


def test_gates_of_exactly_0_have_finite_slopes():
    gates = torch.eye(3)[torch.arange(12) % 2].requires_grad_()
    v.gate_divergence(gates, torch.arange(12) % 2, 2).backward()
    assert torch.isfinite(gates.grad).all()


def test_variance_of_risks_is_that_of_the_domains_seen():
    risks = torch.tensor([[1.0, 2.0, 4.0, 99.0], [3.0, 3.0, 3.0, -5.0]])
    seen = torch.tensor([True, True, True, False])
    np.testing.assert_allclose(v.variance_of_risks(risks[0], seen), np.var([1, 2, 4]), rtol=1e-6)
    np.testing.assert_allclose(v.variance_of_risks(risks, seen), np.var([1, 2, 4]) / 2, rtol=1e-6)
    assert v.variance_of_risks(risks[0], seen & False) == 0


@pytest.mark.parametrize("measure", [v.coral, v.mmd])
def test_an_axis_of_experts_is_averaged(rows, measure):
    x, domain = rows
    both = torch.stack([x, x.square() * 3], 1)
    each = [measure(both[:, e], domain, DOMAINS) for e in range(2)]
    np.testing.assert_allclose(measure(both, domain, DOMAINS), np.mean(each))


@pytest.mark.parametrize("measure", MEASURES)
def test_equal_domains_do_not_differ(rows, measure):
    x, _ = rows
    twice, domain = torch.cat([x, x]).requires_grad_(), torch.arange(30) // 15
    value = measure(twice, domain, DOMAINS)
    value.backward()
    np.testing.assert_allclose(value.detach(), 0, atol=1e-12)
    np.testing.assert_allclose(twice.grad, 0, atol=1e-9)
    moved = torch.cat([x, x.roll(1, 1)])
    assert measure(moved, domain, DOMAINS) > 1e-5


@pytest.mark.parametrize("measure", MEASURES)
def test_neither_the_order_of_rows_nor_the_numbering_of_domains_counts(rows, measure):
    x, domain = rows
    order = torch.randperm(15, generator=torch.Generator().manual_seed(1))
    renamed = torch.tensor([3, 0, 1, 2])[domain]
    value = measure(x, domain, DOMAINS)
    np.testing.assert_allclose(measure(x[order], domain[order], DOMAINS), value)
    np.testing.assert_allclose(measure(x, renamed, DOMAINS), value)


@pytest.mark.parametrize("measure", MEASURES)
def test_one_domain_costs_a_0_that_belongs_to_the_graph(rows, measure):
    x = rows[0].clone().requires_grad_()
    value = measure(x, torch.zeros(15, dtype=torch.long), DOMAINS)
    value.backward()
    assert value == 0
    assert (x.grad == 0).all()


@pytest.mark.parametrize("measure", [v.coral, v.mmd])
def test_a_domain_of_one_row_does_not_count(rows, measure):
    x, domain = rows
    alone = torch.cat([x, x[:1] + 9])
    where = torch.cat([domain, torch.tensor([3])])
    np.testing.assert_allclose(measure(alone, where, DOMAINS), measure(x, domain, DOMAINS))


def test_mmd_knows_no_unit(rows):
    x, domain = rows
    np.testing.assert_allclose(v.mmd(100 * x + 7, domain, DOMAINS), v.mmd(x, domain, DOMAINS))


@pytest.mark.parametrize("measure", [v.coral, v.gate_divergence])
def test_gradients_are_those_of_finite_differences(rows, measure):
    x, domain = rows
    assert torch.autograd.gradcheck(lambda z: measure(z, domain, DOMAINS), x.clone().requires_grad_())


def test_the_gradient_of_mmd_is_that_of_a_fixed_bandwidth(rows):
    """The typical distance is a constant to the gradient, and a step down the gradient brings the domains together."""
    x = rows[0].clone().requires_grad_()
    before = v.mmd(x, rows[1], DOMAINS)
    before.backward()
    np.testing.assert_allclose(x.grad.sum(0), 0, atol=1e-9)  # moving all rows changes nothing
    assert v.mmd(x.detach() - 1e-2 * x.grad, rows[1], DOMAINS) < before


@pytest.mark.parametrize("measure", MEASURES)
def test_constant_rows_stay_finite(measure):
    x = torch.full((8, 3), 1 / 3, requires_grad=True)
    measure(x, torch.arange(8) % 2, 2).backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("measure", MEASURES)
def test_autocast_does_not_round_the_difference_away(rows, measure):
    x, domain = rows[0].float(), rows[1]
    with torch.autocast("cpu", torch.bfloat16):
        inside = measure(x + (0 if measure is v.gate_divergence else 50), domain, DOMAINS)
    np.testing.assert_allclose(inside, measure(x, domain, DOMAINS), rtol=1e-3)


def test_autocast_does_not_round_risks_and_slopes(rows, guesses):
    (prediction, y, _, _), known = guesses, torch.ones(15, dtype=torch.bool)
    calls = [
        lambda: v.variance_of_risks(torch.tensor([5.01, 5.02, 5.03]), torch.ones(3, dtype=torch.bool)),
        lambda: v.irm_penalty(lambda scale: (prediction * scale - y).square(), rows[1], DOMAINS, known).detach(),
    ]
    for call in calls:
        with torch.autocast("cpu", torch.bfloat16):
            inside = call()
        assert inside == call()


# -- invariant risk minimisation --------------------------------------------------------------------------------------


def slopes_to_penalty(slope, domain, known):
    """The mean over domains of the product of the mean slopes of every other row."""
    found = []
    for d in np.unique(domain):
        mine = slope[(domain == d) & known]
        if len(mine) > 1:
            found.append(mine[::2].mean() * mine[1::2].mean())
    return np.mean(found)


@pytest.fixture
def guesses():
    generator = torch.Generator().manual_seed(3)
    prediction, y = torch.randn(2, 15, generator=generator)
    logits = torch.randn(15, 3, generator=generator)
    return prediction, y, logits, torch.arange(15) % 3


def test_irm_of_numbers_equals_its_formula(rows, guesses):
    prediction, y, _, _ = guesses
    known = torch.arange(15) != 4
    slope = (2 * prediction * (prediction - y)).numpy()
    value = v.irm_penalty(lambda scale: (prediction * scale - y).square(), rows[1], DOMAINS, known)
    np.testing.assert_allclose(value.detach(), slopes_to_penalty(slope, rows[1].numpy(), known.numpy()), rtol=1e-5)


def test_irm_of_classes_equals_its_formula(rows, guesses):
    _, _, logits, label = guesses
    known = torch.ones(15, dtype=torch.bool)
    slope = (logits.softmax(1) * logits).sum(1) - logits[torch.arange(15), label]
    value = v.irm_penalty(lambda s: F.cross_entropy(logits * s[:, None], label, reduction="none"), rows[1], DOMAINS, known)
    np.testing.assert_allclose(value.detach(), slopes_to_penalty(slope.numpy(), rows[1].numpy(), known.numpy()), rtol=1e-5)


def test_the_gradient_of_irm_is_that_of_its_formula(rows, guesses):
    one, two = (guesses[0].clone().requires_grad_() for _ in range(2))
    y, domain = guesses[1], rows[1]
    v.irm_penalty(lambda scale: (one * scale - y).square(), domain, DOMAINS, torch.ones(15, dtype=torch.bool)).backward()
    slopes = [(2 * two * (two - y))[domain == d] for d in range(3)]
    torch.stack([slope[::2].mean() * slope[1::2].mean() for slope in slopes]).mean().backward()
    np.testing.assert_allclose(one.grad, two.grad, rtol=1e-4, atol=1e-6)


def test_irm_is_0_where_the_scale_is_best_in_both_halves(rows):
    """A prediction that is right has slope 0, and so has one of 0."""
    y, known = torch.randn(15, generator=torch.Generator().manual_seed(2)), torch.ones(15, dtype=torch.bool)
    for prediction in (y, torch.zeros(15)):
        assert v.irm_penalty(lambda scale, p=prediction: (p * scale - y).square(), rows[1], DOMAINS, known) == 0


def test_irm_estimates_the_squared_slope_without_bias():
    """Over many drawn pairs of halves the mean product is the squared mean slope; the square of one half's slope is not."""
    generator = torch.Generator().manual_seed(5)
    prediction = torch.randn(400, 8, generator=generator)
    y = 0.8 * prediction + torch.randn(400, 8, generator=generator)  # E slope = 2 E p (p - y) = .4
    domain, known = torch.arange(400).repeat_interleave(8), torch.ones(3200, dtype=torch.bool)
    mean = v.irm_penalty(lambda scale: (prediction.flatten() * scale - y.flatten()).square(), domain, 400, known)
    slopes = (2 * prediction * (prediction - y))[:, ::2].mean(1)
    assert abs(float(mean.detach()) - 0.16) < 0.1
    assert float(slopes.square().mean()) > 0.8


def test_irm_without_two_labelled_rows_is_a_0_with_a_graph(rows, guesses):
    prediction = guesses[0].clone().requires_grad_()
    one = torch.arange(15) == 0
    value = v.irm_penalty(lambda scale: (prediction * scale).square(), rows[1], DOMAINS, one)
    value.backward()
    assert value == 0
    assert (prediction.grad == 0).all()


def test_irm_works_where_gradients_are_off(rows, guesses):
    prediction, y, _, _ = guesses
    known = torch.ones(15, dtype=torch.bool)

    def losses_at(scale):
        return (prediction * scale - y).square()

    with torch.no_grad():
        value = v.irm_penalty(losses_at, rows[1], DOMAINS, known)
    assert not value.requires_grad
    assert value == v.irm_penalty(losses_at, rows[1], DOMAINS, known)


def test_reversal_changes_only_the_gradient():
    x = torch.randn(4, 3, requires_grad=True)
    y = v.gradient_reversal(x, 0.5)
    (y * torch.arange(3)).sum().backward()
    assert torch.equal(y, x)
    np.testing.assert_allclose(x.grad, -0.5 * torch.arange(3).expand(4, 3))
