"""Does each ingredient of DERL do what it is there for, and can each be switched off?"""

import pytest
import torch
from test_models import SPEC, make_batch

from msaviz.catalog import MODELS
from msaviz.data.missing import Mixture, RandomFrames, corrupt

Derl = MODELS["derl"]


def losses(missing=Mixture(clean=0.0), **options):
    torch.manual_seed(0)
    model = Derl(SPEC["regression"], Derl.Config(**options)).train()
    return model, model(corrupt(make_batch(), missing, seed=0))


ALL = {
    "balance",
    "completeness",
    "orthogonality",
    "similarity",
    "reconstruction/token",
    "reconstruction/feature",
    "reconstruction/representation",
    "reconstruction/cross",
}


def test_every_loss_is_there_finite_and_weighted():
    _, output = losses()
    assert set(output.losses) == ALL == set(output.weights)
    assert all(torch.isfinite(v) and v > 0 for v in output.losses.values())
    assert output.weights["reconstruction/token"] == 0.7


@pytest.mark.parametrize(
    ("options", "gone"),
    [
        ({"split": False}, {"orthogonality", "similarity", "reconstruction/cross"}),
        ({"token_reconstruction": False}, {"reconstruction/token"}),
        ({"feature_reconstruction": False}, {"reconstruction/feature"}),
        ({"representation_reconstruction": False}, {"reconstruction/representation"}),
        ({"cross_reconstruction": False}, {"reconstruction/cross"}),
        ({"experts": 1}, set()),
        ({"uniform_fusion": True}, set()),
        ({"router": "noisy_top_k", "k": 1}, set()),
        ({"orthogonality": "hsic"}, set()),
        ({"orthogonality": "cosine", "layers": 0}, set()),
    ],
)
def test_each_ablation_is_one_option(options, gone):
    _, output = losses(**options)
    assert set(output.losses) == ALL - gone
    assert torch.isfinite(output.prediction).all()
    if options.get("uniform_fusion"):
        torch.testing.assert_close(output.importance, torch.full((6, 6), 1 / 6))
    assert len(output.contributors) == (3 if options.get("split") is False else 6)


def test_an_auxiliary_head_for_each_expert():
    _, output = losses(auxiliary_weight=0.5)
    assert output.weights["auxiliary"] == 0.5
    assert output.losses["auxiliary"] > 0


def test_targets_are_detached():
    """A reconstruction loss alone moves what reads the corrupted input, never through the complete one."""
    torch.manual_seed(0)
    model = Derl(SPEC["regression"], Derl.Config()).train()
    batch = corrupt(make_batch(), Mixture(clean=0.0), seed=0)
    whole = batch.complete
    for x in whole.x.values():
        x.requires_grad_(True)
    sum(model(batch).losses.values()).backward()
    assert all(x.grad is None for x in whole.x.values())


def test_nothing_dropped_leaves_no_feature_error():
    """Rate 0: no frame is missing, so the feature level has nothing to restore."""
    _, output = losses(RandomFrames(rate=0.0))
    assert output.losses["reconstruction/feature"] == 0


def test_completeness_learns_the_kept_share():
    """After a few steps on the completeness loss alone, q follows 1 - r on unseen masks."""
    torch.manual_seed(0)
    model = Derl(SPEC["regression"], Derl.Config(dropout=0.0)).train()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(120):
        loss = model(corrupt(make_batch(), Mixture(clean=0.2), seed=0, epoch=step)).losses["completeness"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    guess, truth = [], []
    for epoch in range(1000, 1010):
        batch = corrupt(make_batch(), Mixture(clean=0.2), seed=0, epoch=epoch)
        output = model(batch)
        for m in ("audio", "vision"):
            guess.append(output.completeness[m])
            truth.append(batch.kept(m))
    assert torch.corrcoef(torch.stack([torch.cat(guess), torch.cat(truth)]))[0, 1] > 0.6


def test_orthogonality_loss_separates_the_spaces():
    torch.manual_seed(0)
    model = Derl(SPEC["regression"], Derl.Config(dropout=0.0)).train()
    batch = make_batch()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    values = []
    for _ in range(60):
        loss = model(batch).losses["orthogonality"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    assert values[-1] < 0.5 * values[0]


def test_shared_router_is_one_for_all_modalities_and_private_ones_are_not():
    model = Derl(SPEC["regression"], Derl.Config())
    names = [n for n, _ in model.named_parameters() if "router" in n and n.endswith("weight")]
    assert sum(n.startswith("shared") for n in names) == 1
    assert sum(n.startswith("private") for n in names) == 3
