"""Do experts over sets read their members alone, and does the top gate call only what is there?"""

import pytest
import torch
from torch import nn

from msaviz.nn.encoders import SequenceEncoder
from msaviz.nn.hierarchy import CrossAttention, Linears, LocalExperts, SetExperts, TopGate

SETS = [(0, 1), (0, 2), (1, 2), (0, 1, 2)]
PAIRS = [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)]


def set_experts(pairs=PAIRS, **options):
    torch.manual_seed(0)
    return SetExperts(3, SETS, pairs, 8, 16, heads=2, **options).eval()


def local(rows=5):
    return torch.randn(rows, 3, 4, 8, generator=torch.Generator().manual_seed(1))


def test_layers_side_by_side_equal_layers_one_by_one():
    torch.manual_seed(0)
    both, x = Linears(2, 3, 4), torch.randn(2, 5, 3)
    for i in range(2):
        torch.testing.assert_close(both(x)[i], x[i] @ both.weight[i] + both.bias[i])


def test_side_by_side_attention_equals_torchs_own():
    torch.manual_seed(0)
    own, k = CrossAttention(2, 8, heads=2), 1
    queries, keys = torch.randn(2, 5, 3, 8), torch.randn(2, 5, 6, 8)
    mask = torch.rand(2, 5, 6) > 0.3
    mask[..., 0] = True
    other = nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        read, bias = own.read.weight[k], own.read.bias[k, 0]
        other.in_proj_weight.copy_(torch.cat([own.query.weight[k], read[:, :8], read[:, 8:]], 1).T)
        other.in_proj_bias.copy_(torch.cat([own.query.bias[k, 0], bias[:8], bias[8:]]))
        other.out_proj.weight.copy_(own.out.weight[k].T)
        other.out_proj.bias.copy_(own.out.bias[k, 0])
    expected, _ = other(queries[k], keys[k], keys[k], key_padding_mask=~mask[k])
    torch.testing.assert_close(own(queries, keys, mask)[k], expected)


def test_a_query_without_keys_gets_zeros_and_no_nan_gradient():
    attention = CrossAttention(1, 8, heads=2)
    keys = torch.randn(1, 2, 3, 8, requires_grad=True)
    mask = torch.tensor([[[True, True, False], [False, False, False]]])
    out = attention(torch.randn(1, 2, 1, 8), keys, mask)
    out.sum().backward()
    assert not out[0, 1].any()
    assert out[0, 0].any()
    assert torch.isfinite(keys.grad).all()
    assert not keys.grad[0, 0, 2].any()  # what is masked is not read


@pytest.mark.parametrize("pairs", [PAIRS, [], [(0, 1)]])
def test_an_expert_reads_the_members_of_its_set_alone(pairs):
    experts, x, present = set_experts(pairs), local(), torch.ones(5, 3, dtype=torch.bool)
    before, _ = experts(x, present)
    other = x.clone()
    other[:, 2] += 1
    after, _ = experts(other, present)
    assert torch.equal(before[:, 0], after[:, 0])  # text and audio do not read vision
    assert not torch.allclose(before[:, 1:], after[:, 1:])


def test_an_expert_that_lacks_a_member_is_silent_and_the_others_do_not_notice():
    experts, x, present = set_experts(), local(), torch.ones(5, 3, dtype=torch.bool)
    whole, _ = experts(x, present)
    present[:, 2] = False
    part, heard = experts(x, present)
    assert not part[:, 1:].any()
    torch.testing.assert_close(part[:, 0], whole[:, 0])
    assert not heard[:, :, 2].any()


def test_only_chosen_pairs_tell_each_other_anything():
    """With text>audio alone, audio hears text, and text hears nobody."""
    experts, x, present = set_experts([(0, 1)]), local(), torch.ones(5, 3, dtype=torch.bool)
    _, before = experts(x, present)
    other = x.clone()
    other[:, 0] += torch.randn(8)
    _, after = experts(other, present)
    both = SETS.index((0, 1))
    assert not torch.allclose(before[:, both, 1], after[:, both, 1])
    quiet = x.clone()
    quiet[:, 1] += torch.randn(8)
    _, unheard = experts(quiet, present)
    torch.testing.assert_close(before[:, both, 0], unheard[:, both, 0])


@pytest.mark.parametrize("kind", ["soft", "top_k", "dense"])
def test_the_top_gate_calls_only_what_is_there_and_sums_to_one(kind):
    torch.manual_seed(0)
    members = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 1, 1]])
    gate = TopGate(8, members, kind=kind, k=2).eval()
    available = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0], [0, 0, 0]]).bool()
    _, gates = gate(torch.randn(4, 3, 8), available)
    torch.testing.assert_close(gates.sum(1), torch.tensor([1.0, 1.0, 1.0, 0.0]))
    assert gates[1].tolist() == [1, 0, 0, 0, 0]
    assert not gates[2, [2, 4]].any()


def test_the_top_gate_does_not_see_what_is_unavailable():
    gate = TopGate(8, torch.eye(3, dtype=torch.int64), kind="soft").eval()
    x, available = torch.randn(2, 3, 8), torch.tensor([[True, True, False]] * 2)
    loud = x.clone()
    loud[:, 2] = 77.0
    assert torch.equal(gate(x, available)[1], gate(loud, available)[1])


def test_one_gate_serves_all_tokens_of_an_utterance_and_an_absent_one_gives_zeros():
    torch.manual_seed(0)
    encoder, experts = SequenceEncoder(5, 8, heads=2, summary=2).eval(), LocalExperts(8, 3, 16).eval()
    mask = torch.tensor([[True] * 6, [True] * 3 + [False] * 3, [False] * 6])
    tokens, routing = experts(encoder(torch.randn(3, 6, 5), mask), "text")
    assert tokens.shape == (3, 3, 8)
    assert routing.gates.shape == (3, 1, 3)
    assert routing.mask.tolist() == [[True], [True], [False]]
    assert not tokens[2].any()
    torch.testing.assert_close(routing.gates.sum(-1)[:, 0], torch.tensor([1.0, 1.0, 0.0]))


def test_without_experts_called_only_the_skip_is_left():
    """top-1 routing gives exactly the answer of the one expert that was called."""
    torch.manual_seed(0)
    experts = LocalExperts(8, 3, 16, kind="top_k", k=1).eval()
    encoder = SequenceEncoder(5, 8, heads=2, summary=0, layers=0).eval()
    encoded = encoder(torch.randn(1, 4, 5), torch.ones(1, 4, dtype=torch.bool))
    tokens, routing = experts(encoded, "text")
    called = int(routing.gates.argmax())
    expected = encoded.pooled + experts.experts.outputs(encoded.pooled)[:, called]
    torch.testing.assert_close(tokens[:, 0], torch.nn.functional.layer_norm(expected, (8,)))
