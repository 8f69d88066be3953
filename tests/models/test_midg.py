"""Does each ingredient of MIDG do what it is there for, and can each be switched off?"""

from dataclasses import replace

import pytest
import torch
from test_models import SPEC, make_batch

from msaviz import Experiment, train
from msaviz.catalog import MODELS
from msaviz.data.missing import Subset, corrupt
from msaviz.types import Batch

Midg = MODELS["midg"]
NAMES = ("text", "audio", "vision")


def batch(domains=(0, 1, 0, 1, 0, 1)):
    return replace(make_batch(), domain=torch.tensor(domains))


def run(given=None, **options):
    torch.manual_seed(0)
    model = Midg(SPEC["regression"], Midg.Config(**options)).train()
    return model, model(given or batch())


ALL = {"balance", "gate", "invariance", "price", "sparsity", "diversity"}


def test_every_loss_is_there_finite_and_weighted():
    _, output = run()
    assert set(output.losses) == ALL == set(output.weights)
    assert all(torch.isfinite(v) for v in output.losses.values())
    assert output.weights["sparsity"] == 1e-2
    assert output.starts == {"invariance": 0.2, "price": 0.2}


@pytest.mark.parametrize(
    ("options", "gone", "more"),
    [
        ({"invariance": "none"}, {"invariance"}, set()),
        ({"masks": False}, {"sparsity", "diversity", "price"}, set()),
        ({"price_weight": 0.0}, {"price"}, set()),
        ({"invariance": "correlation"}, set(), set()),
        ({"contrast_weight": 0.1}, set(), {"contrast"}),
        ({"experts": 1}, set(), set()),
        ({"router": "top_k", "k": 1}, set(), set()),
        ({"adapter": "none"}, set(), set()),
        ({"adapter": "own", "adapter_layers": 2}, set(), set()),
        ({"invariance": "mmd"}, set(), set()),
        ({"invariance": "coral"}, set(), set()),
        ({"invariance": "vrex", "layers": 0}, set(), set()),
        ({"invariance": "irm"}, set(), set()),
    ],
)
def test_every_ablation_is_an_option_and_can_learn(options, gone, more):
    model, output = run(**options)
    assert set(output.losses) == ALL - gone | more
    (output.prediction.sum() + sum(output.losses.values())).backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
    assert model.head.heads["sentiment"][1].weight.grad.abs().sum() > 0


def test_one_domain_has_no_difference_to_punish():
    for kind in ("coral", "mmd", "vrex"):
        _, output = run(batch((0,) * 6), invariance=kind)
        assert output.losses["invariance"] == 0
        assert output.losses["gate"].abs() < 1e-6


def test_domains_that_differ_are_punished_more_than_domains_that_do_not():
    """Half of the batch is moved far away in every feature; the same rows dealt to the domains at random differ less."""
    plain = make_batch()
    far = plain.with_x(**{m: torch.cat([x[:3], x[3:] + 5.0]) for m, x in plain.x.items()})
    for kind in ("coral", "mmd"):
        apart = run(replace(far, domain=torch.tensor([0, 0, 0, 1, 1, 1])), invariance=kind, dropout=0.0)[1]
        mixed = run(replace(far, domain=torch.tensor([0, 1, 0, 1, 0, 1])), invariance=kind, dropout=0.0)[1]
        assert apart.losses["invariance"] > 2 * mixed.losses["invariance"], kind


def test_masks_are_told_by_modality_and_hide_what_they_drop():
    model, output = run()
    assert {m: tuple(mask.shape) for m, mask in output.masks.items()} == dict.fromkeys(NAMES, (4, 64))
    assert all(mask.all() for mask in output.masks.values())
    model.eval()
    with torch.no_grad():
        model.mixture.masks.score[:, 64:128] = -1.0  # audio, for every expert
    assert not model(batch()).masks["audio"].any()
    quiet = Midg.Config(adapter="none")
    torch.manual_seed(0)
    deaf = Midg(SPEC["regression"], quiet).eval()
    with torch.no_grad():
        deaf.mixture.masks.score[:, 64:128] = -1.0
    loud = batch().with_x(audio=batch().x["audio"] * 3)
    torch.testing.assert_close(deaf(loud).prediction, deaf(batch()).prediction)


def test_the_adapter_brings_the_other_modalities_and_its_ablations_do_not():
    """What the text's vector becomes when the audio is changed."""
    other = batch().with_x(audio=batch().x["audio"] * -2)
    for kind, changes in {"cross": True, "own": False, "none": False}.items():
        torch.manual_seed(0)
        model = Midg(SPEC["regression"], Midg.Config(adapter=kind)).eval()
        for p in model.parameters():
            torch.nn.init.normal_(p, std=0.2)
        moved = (model(other).shared["text"] - model(batch()).shared["text"]).abs().max() > 1e-4
        assert bool(moved) == changes, kind


def test_an_absent_modality_is_not_in_its_vector():
    model, _ = run()
    output = model.eval()(corrupt(batch(), Subset(keep=("text",)), seed=0))
    assert not output.shared["audio"].any()
    assert not output.private["vision"].any()
    assert output.shared["text"].any(1).all()


def test_stage_one_trains_the_adapters_alone_and_stage_two_freezes_them():
    torch.manual_seed(0)
    model = Midg(SPEC["regression"], Midg.Config(stage_one=0.5)).train()
    for progress, learns, rests in ((0.0, "adapters", "mixture"), (0.5, "mixture", "adapters")):
        model.begin(progress)
        model.zero_grad(set_to_none=True)
        output = model(batch())
        assert set(output.losses) == ({"stage_one"} if progress == 0 else ALL)
        (output.prediction.sum() + sum(output.weights[k] * v for k, v in output.losses.items())).backward()
        gradients = {name: [p.grad for p in getattr(model, name).parameters()] for name in ("adapters", "mixture")}
        assert any(g is not None and g.abs().sum() > 0 for g in gradients[learns])
        assert all(g is None for g in gradients[rests])


@pytest.mark.parametrize("stage_one", [0.0, 0.4])
def test_a_killed_training_goes_on_to_the_same_numbers(tmp_path, stage_one, monkeypatch):
    """Through the trainer, with an unseen domain, balanced batches, both stages, and snapshots."""
    experiment = Experiment(
        model={"name": "midg", "dim": 16, "hidden": 16, "bottleneck": 8, "stage_one": stage_one},
        data="synthetic:rows=240",
        train={"epochs": 4, "sampling": "domains", "validation_rates": [0], "snapshots": 2},
        missing={"kind": "none"},
        domains={"targets": ["meal"]},
    )
    whole = train(experiment, tmp_path / "whole", progress=False)
    from msaviz.training import loop

    save, saved = loop.Trainer.save, []

    def killed(self, run):
        save(self, run)
        saved.append(1)
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop.Trainer, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        train(experiment, tmp_path / "killed", progress=False)
    monkeypatch.undo()
    resumed = train(experiment, tmp_path / "killed", resume=True, progress=False)
    assert resumed.history().drop(columns="run").equals(whole.history().drop(columns="run"))
    assert whole.epochs == resumed.epochs == (1, 4)
    assert whole.observe("test", epoch=1).examples["prediction"].ne(whole.observe("test", epoch=4).examples["prediction"]).any()
    with pytest.raises(FileNotFoundError, match="kept those of: 1, 4"):
        whole.observe("test", epoch=2)


def test_one_source_is_split_into_styles(tmp_path):
    """With one source domain there is something to compare only because the trainer makes pseudo-domains."""
    options = {"train": {"epochs": 1, "validation_rates": [0]}, "domains": {"sources": ["film"]}, "data": "synthetic:rows=240"}
    tiny = {"name": "midg", "dim": 16, "hidden": 16, "bottleneck": 8, "invariance_start": 0.0}
    for pseudo, compared in (("auto", True), (0, False)):
        experiment = Experiment(model=tiny, **{**options, "domains": {"sources": ["film"], "pseudo": pseudo}})
        history = train(experiment, tmp_path / str(pseudo), progress=False).history()
        value = history[history["metric"] == "loss/invariance"]["value"].iloc[0]
        assert (value > 0) == compared


def sources(flip):
    """Batches of two domains: the text tells the label in both; the audio too, but turned round in the second if `flip`."""
    g = torch.Generator().manual_seed(0)
    y, domain = torch.randn(80, generator=g), torch.arange(80) % 2
    sign = torch.where((domain == 1) & flip, -1.0, 1.0)
    x = {m: torch.randn(80, 2, w, generator=g) for m, w in SPEC["regression"].widths.items()}
    x["text"][:, :, 0] += 2 * y[:, None]
    x["audio"][:, :, 0] += 2 * (sign * y)[:, None]
    x["vision"][:, :, 0] += 2 * y[:, None]
    mask = {m: torch.ones(80, 2, dtype=torch.bool) for m in x}
    return Batch(x, mask, {"sentiment": y}, domain, torch.arange(80))


@pytest.mark.parametrize("flip", [True, False])
def test_a_modality_that_misleads_from_source_to_source_is_not_read(flip):
    torch.manual_seed(0)
    given = sources(torch.tensor(flip))
    model = Midg(SPEC["regression"], Midg.Config()).eval()
    model.prepare([given])
    assert model.readable.tolist() == [True, not flip, True]
    loud = given.with_x(audio=given.x["audio"] * 5)
    assert torch.equal(model(loud).prediction, model(given).prediction) == flip
    again = Midg(SPEC["regression"], Midg.Config())
    again.load_state_dict(model.state_dict())
    assert again.readable.tolist() == model.readable.tolist()
    free = Midg(SPEC["regression"], Midg.Config(screen=False))
    free.prepare([given])
    assert free.readable.all()


def test_one_domain_or_a_modality_in_one_domain_only_is_never_screened():
    given = sources(torch.tensor(True))
    alone = replace(given, domain=torch.zeros(80, dtype=torch.long))
    half = replace(given, mask={**given.mask, "audio": given.mask["audio"] & (given.domain == 0)[:, None]})
    for batch in (alone, half):
        model = Midg(SPEC["regression"], Midg.Config())
        model.prepare([batch])
        assert model.readable.all()
