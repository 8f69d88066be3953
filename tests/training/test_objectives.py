"""Is every objective its formula, and is it plain risk where there is nothing to do? (Mixup's own laws: test_mixup.py.)"""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_objectives import DOMAINS, SPEC, Tiny, assert_same, made, measured, rows

from msaviz.catalog import OBJECTIVES
from msaviz.nn import invariance
from msaviz.options import search_space
from msaviz.training.objective import domain_means

COMPARING = [name for name in OBJECTIVES if name != "erm"]
NOTHING = {
    **{name: {"weight": 0.0} for name in ("irm", "vrex", "coral", "mmd", "dann")},
    "groupdro": {"eta": 0.0},
    "mixup": {"alpha": 0.0},
}
"""The options with which an objective is nothing but the mean loss."""


# -- laws of all ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMPARING)
def test_with_weight_0_it_is_the_mean_loss(name):
    assert_same(measured(name, rows(), **NOTHING[name]), measured("erm", rows()))


@pytest.mark.parametrize("name", COMPARING)
def test_with_its_own_weight_it_is_not(name):
    strong = {"eta": 1.0} if name == "groupdro" else {"alpha": 1.0} if name == "mixup" else {"weight": 1.0}
    gradients = zip(measured(name, rows(), **strong)[1], measured("erm", rows())[1], strict=True)
    assert max(float((a - b).abs().max()) for a, b in gradients) > 1e-3


@pytest.mark.parametrize("name", [name for name in COMPARING if name != "irm"])  # irm also asks one domain to be well scaled
@pytest.mark.parametrize("spec", [SPEC, replace(SPEC, domains=("a",))], ids=["of several", "of one"])
def test_a_batch_of_one_domain_is_the_mean_loss(name, spec):
    assert_same(measured(name, rows(domains=1, each=9), spec=spec), measured("erm", rows(domains=1, each=9)))


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_gradients_are_finite_and_the_models_own_losses_count_from_their_start(name):
    late, gradients, _ = measured(name, rows())
    early, _, _ = measured(name, rows(), progress=0.4)
    assert all(bool(torch.isfinite(g).all()) for g in gradients)
    assert late["own"] > 0
    assert early["own"] == 0


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name != "dann"])  # the discriminator's outputs are numbered
def test_the_numbering_of_domains_does_not_count(name):
    batch = rows()
    renamed = replace(batch, domain=torch.tensor([2, 0, 1])[batch.domain])
    assert_same(measured(name, renamed), measured(name, batch))


@pytest.mark.parametrize("name", ["erm", "groupdro", "irm", "vrex"])
def test_rows_without_a_label_are_as_if_they_were_not_there(name):
    batch = rows()
    kept = torch.arange(18) >= 3
    lost = {"y": torch.where(kept, batch.labels["y"], torch.nan), "k": torch.where(kept, batch.labels["k"], -1)}
    without = measured(name, batch.map(lambda tensor: tensor[kept]))[0]
    holed = measured(name, replace(batch, labels=lost))[0]
    for term in set(without) - {"own"}:
        np.testing.assert_allclose(holed[term], without[term], rtol=1e-5)


@pytest.mark.parametrize("name", COMPARING)
def test_its_strength_is_searchable(name):
    space = search_space(OBJECTIVES[name].Config())
    assert set(NOTHING[name]) <= set(space)


# -- laws of each -----------------------------------------------------------------------------------------------------


def test_each_penalty_is_that_of_the_fused_vector_or_of_the_risks():
    batch = rows()
    output = Tiny()(batch)
    erm = made("erm", Tiny())
    risks, seen = erm.risks(output, batch)
    expected = {
        "coral": 3 * invariance.coral(output.fused, batch.domain, 3),
        "mmd": 3 * invariance.mmd(output.fused, batch.domain, 3),
        "vrex": 3 * invariance.variance_of_risks(risks, seen),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(measured(name, batch, weight=3.0)[0][name], value.detach(), rtol=1e-5)


def test_risks_are_the_mean_losses_of_the_domains():
    batch = rows()
    output = Tiny()(batch)
    objective = made("erm", Tiny(), spec=replace(SPEC, domains=(*DOMAINS, "unseen")))
    risks, seen = objective.risks(output, batch)
    apart = (output.predictions["y"] - batch.labels["y"]).abs()
    entropy = F.cross_entropy(output.predictions["k"], batch.labels["k"], reduction="none")
    expected = [(apart + entropy)[batch.domain == d].mean().item() for d in range(3)]
    np.testing.assert_allclose(risks.detach(), [*expected, 0], rtol=1e-5)
    assert seen.tolist() == [True, True, True, False]
    each = torch.tensor([[1.01], [0.0], [5.01]])
    with torch.autocast("cpu", torch.bfloat16):
        means, _ = domain_means(each, torch.tensor([[True], [False], [True]]), torch.tensor([0, 0, 1]), 2)
    assert torch.equal(means, each[[0, 2], 0])


def test_irm_scales_numbers_and_logits():
    """The slope of |p s - y| in s is sign(p - y) p, that of the cross entropy sum_c softmax_c z_c - z_label."""
    batch = rows()
    output = Tiny()(batch)
    p, z, k = output.predictions["y"], output.predictions["k"], batch.labels["k"]
    slopes = [(p - batch.labels["y"]).sign() * p, (z.softmax(1) * z).sum(1) - z[torch.arange(18), k]]
    halves = [[(s[batch.domain == d][::2].mean() * s[batch.domain == d][1::2].mean()).item() for d in range(3)] for s in slopes]
    np.testing.assert_allclose(measured("irm", batch, weight=7.0)[0]["irm"], 7 * np.mean(halves, 1).sum(), rtol=1e-4)


@pytest.mark.parametrize("name", ["irm", "vrex"])
def test_the_weight_is_1_until_the_annealing_ends(name):
    before, after = (measured(name, rows(), weight=50.0, anneal=0.3, progress=p) for p in (0.29, 0.3))
    np.testing.assert_allclose(after[0][name], 50 * before[0][name], rtol=1e-5)
    assert after[2].restart == 0.3
    weak = measured(name, rows(), weight=0.5, anneal=0.3, progress=0.0)[2]
    assert weak.weight(0.0) == 0.5


def test_groupdro_is_algorithm_1():
    batch = rows()
    objective = made("groupdro", Tiny(), eta=0.5)
    model = Tiny()
    q = np.full(3, 1 / 3)
    for _ in range(3):
        risks = objective.risks(model(batch), batch)[0].detach().numpy()
        q = q * np.exp(0.5 * risks)
        q /= q.sum()
        task = objective(model, batch)["task"]
        np.testing.assert_allclose(objective.q, q, rtol=1e-5)
        np.testing.assert_allclose(task.detach(), q @ risks, rtol=1e-5)
    assert objective.q.argmax() == risks.argmax()
    np.testing.assert_allclose(objective.state_dict()["q"].sum(), 1, rtol=1e-6)


def test_groupdro_learns_weights_in_training_only():
    objective, model = made("groupdro", Tiny(), eta=0.5), Tiny()
    objective.eval()
    objective(model, rows())
    np.testing.assert_allclose(objective.q, 1 / 3)


def test_groupdro_moves_no_weight_to_or_from_a_domain_that_is_absent():
    objective = made("groupdro", Tiny(), eta=0.5)
    objective.learn_weights(torch.tensor([2.0, 2.0, 0.0]), torch.tensor([True, True, False]))
    np.testing.assert_allclose(objective.q, 1 / 3, rtol=1e-6)


def test_the_discriminator_learns_while_the_system_unlearns():
    """The system's gradient of the domain term is the discriminator's, times minus the strength."""
    batch, model = rows(), Tiny()
    objective = made("dann", model, weight=2.0)
    half = 0.1
    objective(model, batch, half)["domain"].backward()
    reversed_one, discriminator = model.hidden.weight.grad.clone(), [p.grad.clone() for p in objective.parameters()]
    model.zero_grad()
    objective.zero_grad()
    F.cross_entropy(objective.discriminator(model(batch).fused), batch.domain).backward()
    np.testing.assert_allclose(reversed_one, -objective.strength(half) * model.hidden.weight.grad, rtol=1e-4, atol=1e-8)
    for a, b in zip(discriminator, objective.parameters(), strict=True):
        np.testing.assert_allclose(a, b.grad, rtol=1e-5, atol=1e-8)
    assert objective.strength(0.0) == 0
    np.testing.assert_allclose(objective.strength(1.0), 2.0, rtol=1e-3)


def test_the_discriminator_wants_to_know_a_width():
    kind = OBJECTIVES["dann"]
    with pytest.raises(ValueError, match="prepare"):
        kind(SPEC, kind.Config())(Tiny(), rows())
