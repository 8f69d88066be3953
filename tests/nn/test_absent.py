"""Is an absent modality replaced, and nothing else, and is what is imagined made of what is there?"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from msaviz.data.missing import Subset, WholeModality, corrupt
from msaviz.nn.absent import AbsentTokens, Imagination
from msaviz.types import Batch

WIDTHS = {"text": 5, "audio": 3, "vision": 4}
ROWS = 12


def batch(rows: int = ROWS, seed: int = 0) -> Batch:
    """Sequences of 1 to 6 steps, nothing missing."""
    g = torch.Generator().manual_seed(seed)
    mask = {m: torch.arange(6) < torch.randint(1, 7, (rows, 1), generator=g) for m in WIDTHS}
    x = {m: torch.randn(rows, 6, w, generator=g) * mask[m][..., None] for m, w in WIDTHS.items()}
    return Batch(x, mask, {"y": torch.randn(rows, generator=g)}, torch.zeros(rows, dtype=torch.long), torch.arange(rows))


def holed() -> Batch:
    return corrupt(batch(), WholeModality(rate=0.5), seed=1)


def made(kind) -> torch.nn.Module:
    torch.manual_seed(0)
    return kind(WIDTHS)


@pytest.mark.parametrize("kind", [AbsentTokens, Imagination])
def test_only_what_is_absent_is_replaced_and_nothing_is_absent_afterwards(kind):
    read = holed()
    found, _ = made(kind)(read)
    absent = {m: ~read.present(m) for m in WIDTHS}
    assert sum(int(gone.sum()) for gone in absent.values()) > 3
    for m, gone in absent.items():
        assert torch.equal(found.x[m][~gone], read.x[m][~gone])
        assert torch.equal(found.mask[m][~gone], read.mask[m][~gone])
        assert torch.equal(found.mask[m][gone], (torch.arange(6) == 0).expand(int(gone.sum()), -1))
        assert (found.x[m][gone][:, 0] != 0).all()
        assert (found.x[m][gone][:, 1:] == 0).all()
        assert torch.equal(found.dropped[m], read.dropped[m])
    assert found.complete is read.complete


@pytest.mark.parametrize("kind", [AbsentTokens, Imagination])
def test_a_row_is_read_alone(kind):
    """The others of the batch say nothing about it, and permuting rows permutes what comes out."""
    part, read, order = made(kind).eval(), holed(), torch.arange(ROWS).flip(0)
    whole, _ = part(read)
    turned, _ = part(replace(read, complete=None).map(lambda t: t[order]))
    for m in WIDTHS:
        torch.testing.assert_close(turned.x[m], whole.x[m][order])


def test_the_token_learns_from_the_rows_that_lack_it_alone():
    part, read = made(AbsentTokens), holed()
    weight = torch.randn(ROWS)
    found, _ = part(read)
    (weight[:, None, None] * found.x["audio"]).sum().backward()
    expected = weight[~read.present("audio")].sum()
    torch.testing.assert_close(part.token["audio"].grad, expected.expand(3))
    assert part.token["text"].grad is None


def test_what_is_imagined_depends_on_what_is_there_and_not_on_what_stands_in_the_absent_place():
    part, read = made(Imagination).eval(), corrupt(batch(), Subset(keep=("text",)), seed=0)
    before, _ = part(read)
    hidden, _ = part(read.with_x(audio=torch.full_like(read.x["audio"], 9.0)))
    assert torch.equal(hidden.x["audio"][:, 0], before.x["audio"][:, 0])
    moved, _ = part(read.with_x(text=read.x["text"] + read.mask["text"][..., None]))
    assert not torch.allclose(moved.x["audio"][:, 0], before.x["audio"][:, 0])


def test_imagination_is_taught_in_training_only_and_only_by_what_was_removed():
    part, read = made(Imagination), holed()
    losses = part(read)[1]
    assert set(losses) == {"imagination/embedding", "imagination/invariant", "imagination/step"}
    assert part.eval()(read)[1] == {}
    assert part.train()(replace(read, complete=None))[1] == {}
    whole = part(corrupt(batch(), WholeModality(rate=0.0), seed=0))[1]
    assert whole["imagination/embedding"] == 0
    assert whole["imagination/invariant"] == 0
    assert losses["imagination/embedding"] > 0


def test_what_is_to_be_imagined_is_no_way_for_a_gradient():
    """The target moves only by what else is asked of it: an encoder that reads nothing here gets no gradient from that error."""
    part, read = made(Imagination), corrupt(batch(), Subset(keep=("text",)), seed=0)
    part(read)[1]["imagination/embedding"].backward()
    assert all(p.grad is None or not p.grad.any() for p in part.embed["audio"].parameters())
    assert any(p.grad is not None and p.grad.any() for p in part.embed["text"].parameters())


def test_a_planted_relation_is_imagined():
    """Audio is a fixed map of text, so a trained imagination gives back the absent audio far better than its mean does."""
    torch.manual_seed(0)
    part, way = Imagination(WIDTHS, dim=32), torch.randn(5, 3)
    optimizer = torch.optim.Adam(part.parameters(), lr=3e-3)

    def planted(seed: int) -> Batch:
        one = batch(64, seed)
        text = one.x["text"][:, :1] * torch.ones(1, 6, 1)
        mask = {m: torch.ones(64, 6, dtype=torch.bool) for m in WIDTHS}
        return replace(one, x={"text": text, "audio": text @ way, "vision": one.x["vision"]}, mask=mask)

    for step in range(150):
        losses = part(corrupt(planted(step), WholeModality(rate=0.3), seed=step))[1]
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
    whole = planted(1000)
    found, _ = part.eval()(corrupt(whole, Subset(keep=("text",)), seed=0))
    truth = whole.x["audio"][:, 0]
    assert (found.x["audio"][:, 0] - truth).square().mean() < 0.4 * truth.var()
