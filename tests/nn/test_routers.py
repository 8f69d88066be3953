"""Do gates sum to 1, stand still in eval, and always learn?"""

import pytest
import torch

from msaviz.nn.routers import KINDS, Router, chosen, estimated_load, picked, side_by_side
from msaviz.types import Steer


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 2, 4])
def test_gates_sum_to_1_over_at_most_k_experts(kind, k, training):
    logits, gates = Router(8, 4, kind=kind, k=k).train(training)(torch.randn(5, 7, 8))
    assert logits.shape == gates.shape == (5, 7, 4)
    assert (gates >= 0).all()
    torch.testing.assert_close(gates.sum(-1), torch.ones(5, 7))
    count = chosen(gates).sum(-1)
    assert (count == (k if kind.endswith("top_k") else 4)).all()


@pytest.mark.parametrize("kind", ["soft", "top_k", "noisy_top_k"])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_gate_has_a_gradient_for_every_k(kind, k):
    router = Router(8, 4, kind=kind, k=k)
    _, gates = router(torch.randn(20, 8))
    (gates * torch.randn(4)).sum().backward()
    assert router.score.weight.grad.abs().max() > 1e-4


def test_a_single_gate_is_exactly_1():
    _, gates = Router(8, 4, kind="top_k", k=1)(torch.randn(100, 8))
    assert torch.equal(gates.sum(-1), torch.ones(100))


def test_eval_is_deterministic_and_noise_comes_in_training_only():
    router, x = Router(8, 4, kind="noisy_top_k", k=2), torch.randn(50, 8)
    assert not torch.equal(router(x)[1], router(x)[1])
    assert torch.equal(router(x)[0], router(x)[0])
    router.eval()
    assert torch.equal(router(x)[1], router(x)[1])


def test_the_dense_control_is_uniform_and_has_nothing_to_learn():
    router = Router(8, 5, kind="dense")
    assert torch.equal(router(torch.randn(3, 8))[1], torch.full((3, 5), 0.2))
    assert not list(router.parameters())


def test_a_low_temperature_sharpens_and_keeps_the_choice():
    x = torch.randn(50, 8)
    warm, cold = Router(8, 4, temperature=2.0), Router(8, 4, temperature=0.1)
    cold.load_state_dict(warm.state_dict())
    assert (cold(x)[1].amax(-1) > warm(x)[1].amax(-1)).all()
    assert torch.equal(cold(x)[1].argmax(-1), warm(x)[1].argmax(-1))


def test_ties_choose_exactly_k():
    router = Router(8, 4, kind="top_k", k=2)
    torch.nn.init.zeros_(router.score.weight)
    torch.nn.init.zeros_(router.score.bias)
    _, gates = router(torch.randn(9, 8))
    assert (chosen(gates).sum(-1) == 2).all()


@pytest.mark.parametrize("k", [1, 2, 4])
def test_estimated_load_sums_to_tokens_times_k_and_learns(k):
    router = Router(8, 4, kind="noisy_top_k", k=k)
    load = estimated_load(*router.scores(torch.randn(30, 8)), k)
    torch.testing.assert_close(load.sum(), torch.tensor(30.0 * k))
    if k < 4:
        load.square().sum().backward()
        assert router.score.weight.grad.abs().max() > 1e-4


def test_estimated_load_follows_the_counts_that_the_noise_gives():
    router = Router(8, 4, kind="noisy_top_k", k=2)
    x = torch.randn(300, 8)
    with torch.no_grad():
        counts = torch.stack([chosen(router(x)[1]).float().sum(0) for _ in range(40)]).mean(0)
        loads = torch.stack([estimated_load(*router.scores(x), 2) for _ in range(40)]).mean(0)
    torch.testing.assert_close(loads, counts, rtol=0.05, atol=3)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="between 1 and"):
        Router(8, 4, kind="top_k", k=5)
    with pytest.raises(ValueError, match="these exist: dense"):
        Router(8, 4, kind="magic")


def without(expert: int, experts: int = 4) -> Steer:
    return Steer(allowed=torch.arange(experts) != expert)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("expert", range(4))
def test_without_an_expert_the_others_share_its_work(kind, k, expert):
    router, x = Router(8, 4, kind=kind, k=k).eval(), torch.randn(50, 8)
    gates = router(x, without(expert))[1]
    assert (gates[:, expert] == 0).all()
    torch.testing.assert_close(gates.sum(-1), torch.ones(50))
    assert (chosen(gates).sum(-1) == (min(k, 3) if kind.endswith("top_k") else 3)).all()


def test_without_keeps_the_proportions_of_the_others():
    router, x = Router(8, 4), torch.randn(50, 8)
    rest = router(x)[1] * torch.tensor([1.0, 1.0, 0.0, 1.0])
    torch.testing.assert_close(router(x, without(2))[1], rest / rest.sum(-1, keepdim=True))


def test_without_its_choice_a_top_k_router_picks_another():
    router, x = Router(8, 4, kind="top_k", k=1), torch.randn(80, 8)
    favourite = router(x)[1].argmax(-1)
    again = router(x, without(0))[1].argmax(-1)
    hit = favourite == 0
    assert hit.any()
    assert (again[hit] == router(x)[0][hit][:, 1:].argmax(-1) + 1).all()
    assert torch.equal(again[~hit], favourite[~hit])


def test_what_a_router_chose_it_chooses_again_for_another_input():
    router, x, other = Router(8, 4, kind="top_k", k=2), torch.randn(50, 8), torch.randn(50, 8)
    allowed = chosen(router(x)[1])
    assert not torch.equal(chosen(router(other)[1]), allowed)
    gates = router(other, Steer(allowed))[1]
    assert torch.equal(chosen(gates), allowed)
    own = router(other)[0].masked_fill(~allowed, -torch.inf).softmax(-1)
    torch.testing.assert_close(gates, own)


def test_gates_stand_in_for_the_routers_own_but_where_they_are_nan():
    router, x = Router(8, 4, kind="top_k", k=2), torch.randn(50, 8)
    given = torch.rand(50, 4)
    given[10:20] = torch.nan
    gates = router(x, Steer(gates=given))[1]
    assert torch.equal(gates[10:20], router(x)[1][10:20])
    assert torch.equal(gates[20:], given[20:])


def test_steps_are_picked_in_the_order_of_the_tokens_and_none_stays_free():
    mask = torch.rand(5, 7) < 0.6
    allowed, gates = torch.rand(5, 7, 3) < 0.5, torch.rand(5, 1, 3)
    steer = picked(Steer(allowed, gates), mask)
    assert torch.equal(steer.allowed, allowed[mask])
    assert torch.equal(steer.gates, gates.expand(5, 7, 3)[mask])
    assert picked(None, mask) is None
    assert side_by_side([None, None], [2, 3], 3, torch.zeros(1)) is None
    both = side_by_side([None, steer], [2, int(mask.sum())], 3, torch.zeros(1))
    assert both.allowed[:2].all()
    assert both.gates[:2].isnan().all()
    assert torch.equal(both.gates[2:], steer.gates)
