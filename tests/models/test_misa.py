"""Do MISA's spaces obey the losses that are asked of them, and do only modalities that are there take part?"""

from dataclasses import replace

import pytest
import torch
from test_models import SPEC, make_batch
from test_tfn import any_number_of_modalities, skips_holes

from msaviz.catalog import MODELS

Misa = MODELS["misa"]


@pytest.mark.parametrize("encoder", ["lstm", "transformer", "pooled"])
def test_it_takes_any_modalities_and_skips_holes(encoder):
    any_number_of_modalities("misa", encoder=encoder)
    skips_holes("misa", encoder=encoder)


def model(**options):
    torch.manual_seed(0)
    return Misa(SPEC["regression"], Misa.Config(**options)).train()


def difference(a, b):
    a, b = ((x - x.mean(0)) / (x - x.mean(0)).norm(dim=1, keepdim=True) for x in (a, b))
    return (a.T @ b).square().mean()


def moments(a, b):
    total = (a.mean(0) - b.mean(0)).norm()
    for k in range(2, 6):
        total = total + (((a - a.mean(0)) ** k).mean(0) - ((b - b.mean(0)) ** k).mean(0)).norm()
    return total


def test_the_losses_are_the_formulas_over_the_rows_that_are_there():
    m = model(dropout=0.0)
    u, p, s = torch.randn(3, 8, 64), torch.rand(3, 8, 64), torch.rand(3, 8, 64)
    present = torch.ones(3, 8, dtype=torch.bool)
    present[1, 5:], present[2, 0] = False, False
    u[~present] = p[~present] = s[~present] = 77.0  # would be seen at once
    found = m.losses(u, p, s, present)
    rows = [present[i].nonzero()[:, 0] for i in range(3)]
    pairs = [(i, j, (present[i] & present[j]).nonzero()[:, 0]) for i, j in ((0, 1), (0, 2), (1, 2))]
    expected = sum(difference(p[i, r], s[i, r]) for i, r in enumerate(rows)) + sum(difference(p[i, r], p[j, r]) for i, j, r in pairs)
    torch.testing.assert_close(found["difference"], expected)
    torch.testing.assert_close(found["similarity"], sum(moments(s[i, r], s[j, r]) for i, j, r in pairs) / 3)
    errors = [(m.decoder[n](p[i, r] + s[i, r]) - u[i, r]).square().mean() for i, (n, r) in enumerate(zip(m.modalities, rows, strict=True))]
    torch.testing.assert_close(found["reconstruction"], sum(errors) / 3)


def test_losses_are_weighted_and_only_in_training():
    m = model()
    output = m(make_batch())
    assert dict(output.weights) == {"difference": 0.3, "reconstruction": 1.0, "similarity": 1.0}
    assert set(output.losses) == set(output.weights)
    assert not m.eval()(make_batch()).losses


def test_spaces_are_told_by_modality_and_zero_where_it_is_absent():
    batch = make_batch()
    mask = {**batch.mask, "audio": batch.mask["audio"] & (torch.arange(6) > 2)[:, None]}
    output = model().eval()(replace(batch, mask=mask))
    for space in (output.private, output.shared):
        assert list(space) == ["text", "audio", "vision"]
        assert (space["audio"][:3] == 0).all()
        assert ((space["audio"][3:] > 0) & (space["audio"][3:] < 1)).all()


@pytest.mark.parametrize("name", ["difference", "similarity", "reconstruction"])
def test_each_loss_can_be_learnt(name):
    m, batch = model(dropout=0.0), make_batch()
    optimizer = torch.optim.Adam(m.parameters(), 3e-3)
    values = []
    for _ in range(40):
        loss = m(batch).losses[name]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.6 * values[0]
