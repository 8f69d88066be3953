"""Is TFN's product the product, and can what several baselines promise be kept with any modalities?"""

from dataclasses import replace

import pytest
import torch
from test_models import SPEC, make_batch

from msaviz.catalog import MODELS
from msaviz.models.tfn import LARGEST, ProductLayer, factor_of, product
from msaviz.types import Batch, Spec

Tfn = MODELS["tfn"]


def any_number_of_modalities(name, **options):
    """1, 2 and 4 modalities of any name learn and answer, for both kinds of task."""
    plain = make_batch()
    parts = {"speech": "text", "gaze": "audio", "pulse": "vision", "skin": "audio"}
    for task in ("regression", "classes"):
        for count in (1, 2, 4):
            names = dict(list(parts.items())[:count])
            x, mask = ({new: source[old] for new, old in names.items()} for source in (plain.x, plain.mask))
            spec = Spec({new: SPEC[task].widths[old] for new, old in names.items()}, SPEC[task].tasks)
            batch = Batch(x, mask, make_batch(task=task).labels, plain.domain, plain.example)
            torch.manual_seed(0)
            model = MODELS[name](spec, MODELS[name].Config(dim=8, **options)).train()
            output = model(batch)
            (output.prediction.square().sum() + sum(output.losses.values())).backward()
            assert output.prediction.shape == ((6,) if task == "regression" else (6, 3))
            assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
            assert any(p.grad.any() for n, p in model.named_parameters() if n.startswith("head"))


def skips_holes(name, **options):
    """What stands at a step that is dropped whole is not read, in the middle of a sequence as at its end."""
    torch.manual_seed(0)
    model = MODELS[name](SPEC["regression"], MODELS[name].Config(**options)).eval()
    batch = make_batch()
    mask = {m: v.clone() for m, v in batch.mask.items()}
    for v in mask.values():
        v[0, 2:5] = False
    holed = replace(batch, mask=mask)
    loud = holed.with_x(**{m: torch.where(mask[m][..., None], x, 77.0) for m, x in holed.x.items()})
    torch.testing.assert_close(model(loud).prediction, model(holed).prediction, rtol=0, atol=0)
    assert model(holed).prediction[0] != model(batch).prediction[0]


@pytest.mark.parametrize("encoder", ["paper", "lstm", "transformer", "pooled"])
def test_it_takes_any_modalities_and_skips_holes(encoder):
    any_number_of_modalities("tfn", encoder=encoder)
    skips_holes("tfn", encoder=encoder)


def test_the_product_is_the_outer_product_of_all_with_one():
    a, b, c = (torch.randn(5, n) for n in (2, 3, 4))
    one = torch.ones(5, 1)
    whole = torch.einsum("bi,bj,bk->bijk", *(torch.cat([one, h], 1) for h in (a, b, c)))
    torch.testing.assert_close(product([a, b, c]), whole.flatten(1))
    torch.testing.assert_close(product([a]), torch.cat([one, a], 1))


def test_without_a_modality_it_is_the_product_of_the_others():
    a, b = torch.randn(5, 2), torch.randn(5, 3)
    found = product([a, torch.zeros(5, 4), b]).unflatten(1, (3, 5, 4))
    torch.testing.assert_close(found[:, :, 0], product([a, b]).unflatten(1, (3, 4)))
    assert (found[:, :, 1:] == 0).all()


def test_the_product_stays_in_bounds():
    assert factor_of(16, 3) == 16
    for modalities in range(1, 9):
        assert (factor_of(32, modalities) + 1) ** modalities <= LARGEST
    assert Tfn(SPEC["regression"], Tfn.Config(factor=16)).first.weight.numel() == 17**3 * 64


@pytest.mark.parametrize("modalities", [1, 2, 3, 4])
def test_the_layer_is_a_linear_map_of_the_whole_product(modalities):
    torch.manual_seed(0)
    layer, vectors = ProductLayer(modalities, 3, 5), [torch.randn(6, 3) for _ in range(modalities)]
    torch.nn.init.normal_(layer.bias)
    weight = layer.weight.unflatten(1, (5, 4)).transpose(1, 2).reshape(4**modalities, 5)
    torch.testing.assert_close(layer(vectors), product(vectors) @ weight + layer.bias, atol=1e-5, rtol=1e-5)


def test_it_learns_what_only_a_product_says():
    """y = the sign of text times the sign of audio: neither alone says anything."""
    torch.manual_seed(0)
    n = 256
    sign = torch.randint(0, 2, (n, 2)) * 2.0 - 1
    x = {"a": sign[:, :1, None] + 0.1 * torch.randn(n, 3, 4), "b": sign[:, 1:, None] + 0.1 * torch.randn(n, 3, 4)}
    y = sign.prod(1)
    batch = Batch(x, {m: torch.ones(n, 3, dtype=torch.bool) for m in x}, {"sentiment": y}, torch.zeros(n).long(), torch.arange(n))
    model = Tfn(Spec({"a": 4, "b": 4}, SPEC["regression"].tasks), Tfn.Config(dim=16, factor=4, encoder="pooled", dropout=0.0)).train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        loss = (model(batch).prediction - y).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (model.eval()(batch).prediction.sign() == y).float().mean() > 0.95
