"""Do all dispatches give the same mixture, and is no token lost?"""

import pytest
import torch

from msaviz.nn.encoders import SequenceEncoder
from msaviz.nn.moe import DISPATCHES, Experts, Mixture, Pool, _EachLinear
from msaviz.nn.routers import KINDS, Router, chosen


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def tokens(lengths=(6, 3, 0), steps=6, dim=8):
    mask = torch.arange(steps) < torch.tensor(lengths)[:, None]
    return torch.randn(len(lengths), steps, dim).masked_fill(~mask[..., None], 0), mask


def run(experts, x, gates, active, dispatch):
    leaves = [x.detach().clone().requires_grad_(), gates.detach().clone().requires_grad_()]
    experts.zero_grad()
    out = experts(*leaves, active, dispatch)
    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    return out.detach(), [leaf.grad * (active if leaf is leaves[1] else 1) for leaf in leaves] + [p.grad for p in experts.parameters()]


@pytest.mark.parametrize("routing", ["top1", "top2", "uneven", "one busy", "all"])
@pytest.mark.parametrize("dispatch", ["padded", "sorted", "auto"])
def test_every_dispatch_gives_the_values_and_gradients_of_the_dense_one(dispatch, routing):
    experts, x = Experts(4, 8, 16, out=6), torch.randn(50, 8)
    active = {
        "top1": lambda: chosen(Router(8, 4, kind="top_k", k=1)(x)[1]),
        "top2": lambda: chosen(Router(8, 4, kind="top_k", k=2)(x)[1]),
        "uneven": lambda: torch.rand(50, 4) > 0.6,  # some rows choose nobody
        "one busy": lambda: torch.arange(4).expand(50, 4) == 2,
        "all": lambda: torch.ones(50, 4, dtype=torch.bool),
    }[routing]()
    gates = torch.rand(50, 4)
    expected, expected_gradients = run(experts, x, gates, active, "dense")
    found, gradients = run(experts, x, gates, active, dispatch)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    for one, two in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)


def test_dispatches_agree_in_training_with_dropout_too():
    experts, x = Experts(4, 8, 16, dropout=0.4), torch.randn(50, 8)
    gates = Router(8, 4, kind="top_k", k=2)(x)[1]
    found = []
    for dispatch in DISPATCHES:
        torch.manual_seed(1)
        found.append(experts(x, gates, chosen(gates), dispatch))
    assert 0.3 < (found[0] == 0).float().mean() < 0.5
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], atol=1e-5, rtol=1e-5)


def test_the_mixture_is_the_gated_sum_of_what_the_experts_say():
    experts, x, gates = Experts(3, 8, 16, out=5), torch.randn(10, 8), torch.rand(10, 3)
    outputs = experts.outputs(x)
    assert outputs.shape == (10, 3, 5)
    torch.testing.assert_close(experts(x, gates), (outputs * gates[..., None]).sum(1), atol=1e-5, rtol=1e-5)
    for e, (up, bias, down, last) in enumerate(zip(experts.up, experts.up_bias, experts.down, experts.down_bias, strict=True)):
        torch.testing.assert_close(outputs[:, e], torch.nn.functional.gelu(x @ up.T + bias) @ down + last, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [1, 100, 3000])
def test_the_automatic_dispatch_drops_nothing_at_any_size(size):
    experts, x = Experts(8, 32, 32), torch.randn(size, 32)
    gates = Router(32, 8, kind="top_k", k=2)(x)[1]
    torch.testing.assert_close(experts(x, gates, chosen(gates)), experts(x, gates, dispatch="dense"), atol=1e-5, rtol=1e-5)


def test_the_product_of_each_expert_has_the_gradients_of_its_formula():
    x, weight, bias = torch.randn(7, 3).double(), torch.randn(4, 5, 3).double().transpose(1, 2), torch.randn(4, 5).double()
    leaves = tuple(leaf.requires_grad_() for leaf in (x, weight, bias))
    counts = [2, 0, 4, 1]  # one expert has no rows
    expected = torch.cat([part @ w + b for part, w, b in zip(x.split(counts), weight, bias, strict=True)])
    torch.testing.assert_close(_EachLinear.apply(*leaves, counts), expected)
    assert torch.autograd.gradcheck(lambda *given: _EachLinear.apply(*given, counts), leaves)


def test_the_dispatches_agree_in_half_precision_too():
    experts, x = Experts(4, 8, 16), torch.randn(50, 8)
    gates = Router(8, 4, kind="top_k", k=2)(x)[1]
    with torch.autocast("cpu", torch.bfloat16):
        found = [experts(x, gates, chosen(gates), dispatch) for dispatch in DISPATCHES]
    for other in found:
        torch.testing.assert_close(other.float(), experts(x, gates, chosen(gates)), atol=0.03, rtol=0.03)


def test_a_batch_without_padding_gives_what_it_gives_with_some():
    x, mask = tokens((6, 6, 6))
    mixture = Mixture(8, 4, 16, kind="top_k", k=2)
    padded = torch.cat([x, torch.zeros(3, 2, 8)], 1), torch.cat([mask, torch.zeros(3, 2, dtype=torch.bool)], 1)
    (out, routing), (longer, with_padding) = mixture(x, mask), mixture(*padded)
    torch.testing.assert_close(out, longer[:, :6])
    torch.testing.assert_close(routing.gates, with_padding.gates[:, :6])
    assert (longer[:, 6:] == 0).all()


@pytest.mark.parametrize("dispatch", DISPATCHES)
def test_no_token_at_all_is_no_error(dispatch):
    experts, none = Experts(4, 8, 16), torch.zeros(0, 8)
    out = experts(none, torch.zeros(0, 4), torch.zeros(0, 4, dtype=torch.bool), dispatch)
    assert out.shape == (0, 8)


def test_an_unknown_dispatch_is_refused():
    with pytest.raises(ValueError, match="these exist"):
        Experts(2, 4, 4)(torch.ones(1, 4), torch.ones(1, 2), None, "magic")


@pytest.mark.parametrize("kind", KINDS)
def test_only_valid_tokens_are_routed_and_their_gates_sum_to_1(kind):
    x, mask = tokens()
    out, routing = Mixture(8, 4, 16, kind=kind, context=1)(x, mask, torch.rand(3, 1), modality="text")
    torch.testing.assert_close(routing.gates.sum(-1), mask.float())
    assert (out[~mask] == 0).all()
    assert routing.modality == "text"
    assert routing.logits.shape == (3, 6, 4)
    assert torch.equal(routing.mask, mask)


@pytest.mark.parametrize("kind", KINDS)
def test_eval_is_deterministic_and_padding_carries_nothing(kind):
    x, mask = tokens()
    mixture = Mixture(8, 4, 16, kind=kind, dropout=0.5).eval()
    first, second = mixture(x, mask), mixture(x.masked_fill(~mask[..., None], 1e3), mask)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1].gates, second[1].gates)


@pytest.mark.parametrize("kind", KINDS)
def test_permuting_the_batch_permutes_the_mixture(kind):
    x, mask = tokens((6, 3, 5))
    mixture, order = Mixture(8, 4, 16, kind=kind).eval(), torch.tensor([2, 0, 1])
    torch.testing.assert_close(mixture(x[order], mask[order])[0], mixture(x, mask)[0][order], atol=1e-6, rtol=1e-6)


def test_the_router_reads_the_context_and_the_experts_do_not():
    x, mask = tokens()
    mixture = Mixture(8, 4, 16, context=1).eval()
    low, high = (mixture(x, mask, torch.full((3, 1), value)) for value in (0.0, 1.0))
    assert (low[1].gates - high[1].gates).abs().max() > 1e-3
    assert mixture.experts.up.shape == (4, 16, 8)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_without_valid_tokens_gives_zeros_and_finite_gradients(kind):
    x, mask = tokens((0, 0, 0))
    mixture = Mixture(8, 4, 16, kind=kind)
    out, routing = mixture(x.requires_grad_(), mask)
    (out.sum() + routing.gates.sum()).backward()
    assert (out == 0).all()
    assert (x.grad == 0).all()


def test_the_pool_gives_each_modality_what_a_call_of_its_own_would():
    pool = Pool(16, 4, 32, kind="top_k", k=2, context=1).eval()
    encoders = {"text": SequenceEncoder(8, 16, summary=2).eval(), "audio": SequenceEncoder(5, 16, summary=3).eval()}
    encoded = {"text": encoders["text"](*tokens()), "audio": encoders["audio"](*tokens((0, 9, 4), 9, 5))}
    context = {"text": torch.rand(3, 1), "audio": torch.rand(3, 1)}
    found = pool(encoded, context)
    for m, e in encoded.items():
        out, routing = pool.mixture(e.tokens, e.mask, context[m], modality=m, time=e.time)
        torch.testing.assert_close(found[m][0], out, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(found[m][1].gates, routing.gates)
        assert found[m][1].modality == m
        assert torch.equal(found[m][1].time, e.time)
    assert (found["audio"][0][0] == 0).all()


def test_every_expert_that_is_used_learns():
    x, mask = tokens()
    mixture = Mixture(8, 3, 16, kind="soft")
    mixture(x, mask)[0].square().sum().backward()
    assert all((p.grad.flatten(1).abs().sum(1) > 0).all() for p in mixture.experts.parameters())
