"""Do modalities read each other where both are there, from nothing at the start, and at bounded cost?"""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
import torch

from msaviz.data.missing import Subset, corrupt
from msaviz.nn.gated_attention import GatedAttention
from msaviz.types import Batch

WIDTHS = {"text": 5, "audio": 3, "vision": 4}
ROWS, STEPS = 6, 8


def batch(steps: int = STEPS) -> Batch:
    g = torch.Generator().manual_seed(0)
    mask = {m: torch.arange(steps) < torch.randint(2, steps + 1, (ROWS, 1), generator=g) for m in WIDTHS}
    x = {m: torch.randn(ROWS, steps, w, generator=g) for m, w in WIDTHS.items()}  # what stands in the padding is not zero
    return Batch(x, mask, {"y": torch.zeros(ROWS)}, torch.zeros(ROWS, dtype=torch.long), torch.arange(ROWS))


@pytest.fixture
def part() -> GatedAttention:
    """Awake: as if it had learnt something."""
    torch.manual_seed(0)
    made = GatedAttention(WIDTHS, dim=8)
    for out in made.out.values():
        torch.nn.init.normal_(out.weight)
        torch.nn.init.normal_(out.bias)
    return made


def changed(found: Batch, read: Batch) -> dict[str, torch.Tensor]:
    return {m: (found.x[m] != read.x[m]).any(-1) for m in WIDTHS}


def test_it_begins_as_the_identity_and_can_leave_it():
    torch.manual_seed(0)
    part, read = GatedAttention(WIDTHS), batch()
    found, losses = part(read)
    assert losses == {}
    assert all(torch.equal(found.x[m], read.x[m]) for m in WIDTHS)
    torch.stack([x.square().sum() for x in found.x.values()]).sum().backward()
    assert all(out.weight.grad.any() for out in part.out.values())
    assert set(part.out) == {f"{a}>{b}" for a, b in permutations(WIDTHS, 2)}


def test_only_valid_steps_receive(part):
    read = batch()
    found, _ = part(read)
    assert all(torch.equal(steps, read.mask[m]) for m, steps in changed(found, read).items())


@pytest.mark.parametrize("keep", [("text",), ("text", "audio")])
def test_what_is_absent_neither_sends_nor_receives(part, keep):
    read = corrupt(batch(), Subset(keep=keep), seed=0)
    found, _ = part(read)
    for m, steps in changed(found, read).items():
        assert torch.equal(steps, read.mask[m] if m in keep and len(keep) > 1 else torch.zeros_like(steps))
    other, _ = part(read.with_x(vision=torch.full_like(read.x["vision"], torch.nan)))
    assert all(torch.equal(other.x[m], found.x[m]) for m in keep)


def test_padding_says_nothing(part):
    read = batch()
    found, _ = part(read)
    padded = replace(
        read,
        x={m: torch.cat([x, torch.full_like(x, 7.0)], 1) for m, x in read.x.items()},
        mask={m: torch.cat([mask, torch.zeros_like(mask)], 1) for m, mask in read.mask.items()},
    )
    wide, _ = part(padded)
    for m, mask in read.mask.items():
        torch.testing.assert_close(wide.x[m][:, :STEPS][mask], found.x[m][mask])


def test_a_row_is_read_alone(part):
    read = batch()
    found, _ = part(read)
    alone, _ = part(read.map(lambda tensor: tensor[2:3]))
    for m in WIDTHS:
        torch.testing.assert_close(alone.x[m], found.x[m][2:3])


def test_one_bilinear_map_serves_both_ways(part):
    """Softmax of the same scores over either side; worked out by hand for rows without windows."""
    read = batch()
    query = {m: part.down[m](read.x[m].masked_fill(~read.mask[m][..., None], 0)) for m in WIDTHS}
    scores = query["text"] @ part.bilinear["text>audio"] @ query["audio"].mT / 8**0.5
    for way, square, sender in (("audio>text", scores, "audio"), ("text>audio", scores.mT, "text")):
        receiver = way.split(">")[1]
        weight = square.masked_fill(~read.mask[sender][:, None], -torch.inf).softmax(-1)
        value = weight @ part.value[sender](query[sender])
        expected = part.gate[way](torch.cat([query[receiver], value], -1)).sigmoid() * value
        told = part.message(way, query[receiver], query[sender], read.mask[sender])
        torch.testing.assert_close(told[read.mask[receiver]], expected[read.mask[receiver]])


def test_a_long_sender_is_read_in_windows(part):
    seen = []
    part.value["audio"].register_forward_hook(lambda module, read, out: seen.append(out.shape[1]))
    found, _ = part(batch(300))
    assert set(seen) == {64}
    assert found.x["text"].shape == (ROWS, 300, 5)


def test_the_complete_twin_goes_the_same_way_without_a_gradient(part):
    whole = batch()
    found, _ = part(corrupt(whole, Subset(keep=("text",)), seed=0))
    expected, _ = part(whole)
    assert found.complete is not None
    for m in WIDTHS:
        assert torch.equal(found.complete.x[m], expected.x[m])
        assert not found.complete.x[m].requires_grad
