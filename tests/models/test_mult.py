"""Does MulT read every other modality step by step, and is a modality that stands alone still heard?"""

import pytest
import torch
from test_models import SPEC, make_batch
from test_tfn import any_number_of_modalities, skips_holes

from msaviz.catalog import MODELS
from msaviz.data.missing import Subset, corrupt
from msaviz.models.mult import TemporalProjection, last_valid
from msaviz.nn.encoders import sinusoids
from msaviz.types import Batch, Spec

Mult = MODELS["mult"]


@pytest.mark.parametrize("options", [{}, {"pooling": "mean"}, {"kernel": 1, "self_layers": 2}])
def test_it_takes_any_modalities_and_skips_holes(options):
    any_number_of_modalities("mult", **options)
    skips_holes("mult", **options)


def test_the_projection_is_a_convolution_over_the_valid_steps_and_a_position():
    torch.manual_seed(0)
    net = TemporalProjection(3, 8, kernel=3).eval()
    x, mask = torch.randn(1, 5, 3), torch.tensor([[True, True, False, True, False]])
    found = net(torch.where(mask[..., None], x, 77.0), mask).values[0]
    weight, bias = net.convolution.weight, net.convolution.bias
    for i in range(5):
        near = [weight[:, :, j] @ x[0, i + j - 1] for j in range(3) if 0 <= i + j - 1 < 5 and mask[0, i + j - 1]]
        expected = net.norm(bias + sum(near)) + sinusoids(torch.tensor([[i]]), 8)[0, 0] if mask[0, i] else torch.zeros(8)
        torch.testing.assert_close(found[i], expected, atol=1e-5, rtol=1e-5)


def test_the_last_valid_token_is_found_behind_holes():
    x, mask = torch.randn(3, 4, 2), torch.tensor([[1, 0, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]]).bool()
    torch.testing.assert_close(last_valid(x, mask), torch.stack([x[0, 2], x[1, 3], torch.zeros(2)]))


def test_there_is_a_transformer_for_every_ordered_pair():
    model = Mult(SPEC["regression"], Mult.Config())
    assert set(model.cross) == {"0_1", "0_2", "1_0", "1_2", "2_0", "2_1"}
    assert model.head.heads["sentiment"][0].normalized_shape == (6 * 64,)


@pytest.mark.parametrize("keep", ["text", "audio", "vision"])
def test_a_modality_alone_is_heard_and_the_absent_ones_say_nothing(keep):
    torch.manual_seed(0)
    model = Mult(SPEC["regression"], Mult.Config()).eval()
    alone = corrupt(make_batch(), Subset(keep=(keep,)), seed=0)
    output = model(alone)
    assert output.prediction.std() > 1e-3
    for m, vector in output.shared.items():
        assert (vector == 0).all() == (m != keep)


def test_it_learns_what_stands_where_the_other_modality_points():
    """b marks one step (the same in a by its mark); y is what a says at that step: neither alone says it."""
    torch.manual_seed(0)
    n, steps = 256, 4
    said, place = torch.randint(0, 2, (n, steps)) * 2.0 - 1, torch.randint(0, steps, (n,))
    marks = torch.eye(steps).expand(n, steps, steps)
    x = {"a": torch.cat([said[..., None], marks], 2), "b": torch.eye(steps)[place][:, None]}
    y = said[torch.arange(n), place]
    mask = {m: torch.ones(v.shape[:2], dtype=torch.bool) for m, v in x.items()}
    batch = Batch(x, mask, {"sentiment": y}, torch.zeros(n).long(), torch.arange(n))
    model = Mult(Spec({"a": 5, "b": 4}, SPEC["regression"].tasks), Mult.Config(dim=16, kernel=1, dropout=0.0)).train()
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(80):
        loss = (model(batch).prediction - y).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (model.eval()(batch).prediction.sign() == y).float().mean() > 0.95
