"""Does mixup mix what it says: vectors, masks, real labels, the losses of classes, rows of different domains?"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_objectives import SPEC, Tiny, assert_same, made, measured, rows

from msaviz.data.missing import RandomFrames, corrupt
from msaviz.nn.text import Front, TokenEmbedding
from msaviz.training.objectives.mixup import blend, partners
from msaviz.training.system import System
from msaviz.types import Batch


def sequence(*values: float | None, dropped: tuple[int, ...] = ()) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x = torch.tensor([[0.0 if v is None else v] for v in values])
    return x, torch.tensor([v is not None for v in values]), torch.tensor([i in dropped for i in range(len(values))])


def test_a_step_that_only_one_has_keeps_its_vector():
    first = sequence(1.0, 2.0, 0.0, None, None, dropped=(2,))
    second = sequence(3.0, None, 5.0, 6.0, None)
    x, mask, dropped = (torch.stack(both) for both in zip(first, second, strict=True))
    n = torch.arange(2)
    batch = Batch({"m": x}, {"m": mask}, {"y": torch.tensor([1.0, 2.0])}, n, n, dropped={"m": dropped})
    mixed = blend(batch, torch.tensor([1, 0]), torch.tensor([0.75, 0.25]))
    np.testing.assert_allclose(mixed.x["m"][:, :, 0], np.array([[1.5, 2, 5, 6, 0]] * 2))
    assert mixed.mask["m"].tolist() == [[True, True, True, True, False]] * 2
    assert not mixed.dropped["m"].any()
    np.testing.assert_allclose(mixed.labels["y"], [1.25, 1.25])
    assert mixed.domain.tolist() == [0, 0]


def test_a_share_of_1_leaves_the_row_as_it_is_and_no_share_leaves_padding():
    whole = rows()
    batch = corrupt(whole, RandomFrames(rate=0.5), seed=0)
    partner = torch.arange(18).roll(1)
    same = blend(batch, partner, torch.ones(18))
    for a, b in zip((same.x, same.mask, same.dropped, same.labels), (batch.x, batch.mask, batch.dropped, batch.labels), strict=True):
        assert all(torch.equal(a[k], b[k]) for k in b)
    mixed = blend(batch, partner, torch.full((18,), 0.5))
    assert (mixed.x["cues"][~mixed.mask["cues"]] == 0).all()
    expected = blend(whole, partner, torch.full((18,), 0.5))
    assert torch.equal(mixed.complete.x["cues"], expected.x["cues"])
    here = mixed.mask["cues"] & ~mixed.dropped["cues"]
    assert torch.equal(here, (batch.mask["cues"] & ~batch.dropped["cues"]) | (batch.mask["cues"] & ~batch.dropped["cues"])[partner])


@pytest.mark.parametrize("nearest", [False, True])
def test_partners_are_labelled_rows_of_other_domains(nearest):
    batch = rows()
    y = torch.where(torch.arange(18) == 4, torch.nan, batch.labels["y"])
    batch = replace(batch, labels={**batch.labels, "y": y})
    found = [partners(batch, SPEC.task, nearest=nearest) for _ in range(20)]
    others = torch.arange(18) != 4
    for partner in found:
        assert (batch.domain[partner] != batch.domain)[others].all()
        assert (partner[others] != 4).all()
        assert partner[4] == 4
    assert nearest == all(torch.equal(found[0], partner) for partner in found)


def test_the_nearest_label_is_nearest():
    batch = rows()
    partner = partners(batch, SPEC.task, nearest=True)
    y, domain = batch.labels["y"].numpy(), batch.domain.numpy()
    for i in range(18):
        others = np.flatnonzero(domain != domain[i])
        assert partner[i] == others[np.abs(y[others] - y[i]).argmin()]
    k = torch.arange(18) // 3 % 3  # every class in every domain
    classes = replace(batch, labels={"k": k})
    found = [partners(classes, SPEC.tasks["k"], nearest=True) for _ in range(5)]
    assert all(torch.equal(k[partner], k) for partner in found)
    assert not all(torch.equal(partner, found[0]) for partner in found)


def test_real_labels_are_mixed_and_of_classes_the_losses(monkeypatch):
    import msaviz.training.objectives.mixup as module

    batch, model = rows(), Tiny()
    partner, share = torch.arange(18).roll(1), torch.linspace(0.1, 0.9, 18)
    monkeypatch.setattr(module, "partners", lambda *a, **k: partner)
    monkeypatch.setattr(module, "shares", lambda *a, **k: share)
    output = model(blend(batch, partner, share))
    y, k = batch.labels["y"], batch.labels["k"]
    logits = output.predictions["k"].log_softmax(1)
    each = (output.predictions["y"] - share * y - (1 - share) * y[partner]).abs()
    each = each - share * logits[torch.arange(18), k] - (1 - share) * logits[torch.arange(18), k[partner]]
    found = made("mixup", model)(model, batch)["task"]
    np.testing.assert_allclose(found.detach(), each.mean().detach(), rtol=1e-5)


def test_mixup_draws_from_torchs_generator_and_only_in_training():
    one, two = (measured("mixup", rows(), alpha=1.0) for _ in range(2))
    assert_same(one, two)
    evaluated = made("mixup", Tiny(), alpha=1.0).eval()
    np.testing.assert_allclose(evaluated(Tiny(), rows())["task"].detach(), measured("erm", rows())[0]["task"], rtol=1e-6)


def test_token_ids_are_mixed_behind_the_text_encoder():
    batch = rows()
    ids = replace(batch, x={"cues": torch.arange(18 * 4).reshape(18, 4) % 7})
    objective = made("mixup", Tiny(), alpha=1.0)
    with pytest.raises(ValueError, match="token ids"):
        objective(Tiny(), ids)
    system = System(Front({"cues": TokenEmbedding(7, 2)}), Tiny())
    torch.manual_seed(3)
    task = objective(system, ids)["task"]
    task.backward()
    embedding = system.front.encoders["cues"].embedding.weight
    assert embedding.grad.abs().sum() > 0
    torch.manual_seed(3)
    again = objective(system.model, system.front(ids))["task"]
    np.testing.assert_allclose(task.detach(), again.detach(), rtol=1e-6)
