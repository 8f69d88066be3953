"""Do gates sum to 1, stand still in eval, and always learn?"""

import pytest
import torch

from msaviz.nn.routers import KINDS, Router, chosen, estimated_load


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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("expert", range(4))
def test_without_an_expert_the_others_share_its_work(kind, k, expert):
    router, x = Router(8, 4, kind=kind, k=k).eval(), torch.randn(50, 8)
    before = router(x)[1]
    with router.without(expert):
        gates = router(x)[1]
        assert (gates[:, expert] == 0).all()
        torch.testing.assert_close(gates.sum(-1), torch.ones(50))
        assert (chosen(gates).sum(-1) == (min(k, 3) if kind.endswith("top_k") else 3)).all()
    assert torch.equal(router(x)[1], before)


def test_without_keeps_the_proportions_of_the_others():
    router, x = Router(8, 4), torch.randn(50, 8)
    before = router(x)[1]
    with router.without(2):
        rest = before * torch.tensor([1.0, 1.0, 0.0, 1.0])
        torch.testing.assert_close(router(x)[1], rest / rest.sum(-1, keepdim=True))


def test_without_its_choice_a_top_k_router_picks_another():
    router, x = Router(8, 4, kind="top_k", k=1), torch.randn(80, 8)
    favourite = router(x)[1].argmax(-1)
    with router.without(0):
        again = router(x)[1].argmax(-1)
    hit = favourite == 0
    assert hit.any()
    assert (again[hit] == router(x)[0][hit][:, 1:].argmax(-1) + 1).all()
    assert torch.equal(again[~hit], favourite[~hit])


def test_without_ends_with_its_block_even_after_an_error():
    router, x = Router(8, 4), torch.randn(5, 8)
    before = router(x)[1]
    with pytest.raises(RuntimeError, match="stop"), router.without(1):
        raise RuntimeError("stop")
    assert torch.equal(router(x)[1], before)


@pytest.mark.parametrize(("experts", "expert"), [(1, 0), (4, 4), (4, -1)])
def test_without_refuses_what_cannot_go(experts, expert):
    router = Router(8, experts)
    with pytest.raises(ValueError, match=f"expert {expert} cannot be switched off: there are {experts}"), router.without(expert):
        pass
