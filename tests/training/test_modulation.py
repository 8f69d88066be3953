"""Is a modality that runs ahead held back by exactly what is said, and one that does not left alone?"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from msaviz import Experiment, load, override
from msaviz.catalog import MODELS
from msaviz.data.missing import Subset, corrupt
from msaviz.nn.text import Front
from msaviz.training.components import Components, alone
from msaviz.training.loop import Trainer
from msaviz.training.modulation import Modulation, modulation_of, own_parameters, ratios, worth
from msaviz.training.system import System
from msaviz.types import Batch, Output, Spec, Task

DATA = "synthetic:rows=200,seed=1"
QUICK = {"train.epochs": 1, "train.batch": 32, "train.threads": 1, "missing": "none", "model.dim": 8}


def experiment(model: str = "early_fusion", **changes: object) -> Experiment:
    return override(Experiment(model=model, data=DATA), {**QUICK, "components.modulation": "gradient", **changes})


@pytest.fixture(scope="module")
def data():
    return load(DATA)


def trainer_with(leads: dict[str, float], monkeypatch, data, **changes: object) -> Trainer:
    """A trainer whose modalities lead as is said."""
    import msaviz.training.modulation as module

    monkeypatch.setattr(module, "ratios", lambda value, counts: leads)
    return Trainer(experiment(**changes), data)


def gradients(trainer: Trainer, batches: int = 1) -> dict[str, torch.Tensor]:
    """Of the first batches, added up, with no dropout."""
    trainer.system.eval()
    for _, (batch, _) in zip(range(batches), trainer._train_batches(), strict=False):
        torch.stack([*trainer._terms(batch).values()]).sum().backward()
    return {name: p.grad.clone() for name, p in trainer.system.named_parameters() if p.grad is not None}


EQUAL = {"text": 1.0, "audio": 1.0, "vision": 1.0}
TEXT = {"text": 1.8, "audio": 0.7, "vision": 0.6}


def test_equal_scores_change_nothing(monkeypatch, data):
    plain = gradients(Trainer(experiment(**{"components.modulation": "none"}), data))
    for kind in ("gradient", "feature"):
        found = gradients(trainer_with(EQUAL, monkeypatch, data, **{"components.modulation": kind}))
        assert plain.keys() == found.keys()
        assert all(torch.equal(value, plain[name]) for name, value in found.items())


def test_what_leads_has_its_gradient_multiplied_and_the_others_keep_theirs(monkeypatch, data):
    quiet = {"components.modulation_noise": False, "components.modulation_strength": 0.5}
    plain = gradients(Trainer(experiment(**{"components.modulation": "none"}), data))
    found = gradients(trainer_with(TEXT, monkeypatch, data, **quiet))
    factor, held = 1 - math.tanh(0.5 * 0.8), [name for name in plain if "text" in name.split(".")]
    assert any(name.startswith("model.encoders.text.") for name in held)
    for name, value in found.items():
        torch.testing.assert_close(value, plain[name] * (factor if name in held else 1), rtol=1e-6, atol=0)


def test_every_batch_of_a_step_has_factors_of_its_own(monkeypatch, data):
    """With `train.accumulate` gradients add up: .5 of the first batch's, all of the second's."""
    import msaviz.training.modulation as module

    plain = [gradients(Trainer(experiment(**{"components.modulation": "none"}), data), n) for n in (1, 2)]
    leads = iter([{**EQUAL, "text": 1 + math.atanh(0.5)}, EQUAL])
    monkeypatch.setattr(module, "ratios", lambda value, counts: next(leads))
    found = gradients(Trainer(experiment(**{"components.modulation_noise": False, "train.accumulate": 2}), data), 2)
    name = "model.encoders.text.project.weight"
    torch.testing.assert_close(found[name], plain[1][name] - 0.5 * plain[0][name])


def test_noise_is_as_large_as_the_gradient_and_falls_on_what_is_held_back_only(monkeypatch, data):
    plain = gradients(Trainer(experiment(**{"components.modulation": "none"}), data))
    found = gradients(trainer_with({**TEXT, "text": 50.0}, monkeypatch, data))  # k is 0: what is left is noise
    name = "model.encoders.text.blocks.0.up.weight"
    assert found[name].std().item() == pytest.approx(plain[name].std().item(), rel=0.3)
    assert abs(torch.corrcoef(torch.stack([found[name].flatten(), plain[name].flatten()]))[0, 1]) < 0.3
    assert torch.equal(found["model.encoders.audio.project.weight"], plain["model.encoders.audio.project.weight"])


def test_what_leads_is_dropped_as_often_as_is_said_and_never_all(monkeypatch, data):
    leads = {"text": 1.5, "audio": 1.2, "vision": 0.3}
    trainer = trainer_with(leads, monkeypatch, data, **{"components.modulation": "feature", "components.modulation_strength": 1.0})
    batch = data["train"].batch(np.arange(140))
    found, again = (trainer.modulation.held_back(batch, 3) for _ in range(2))
    gone = {m: (~found.present(m)).float().mean().item() for m in leads}
    assert gone["vision"] == 0
    for m in ("text", "audio"):
        assert gone[m] == pytest.approx(0.5 * (1 + math.tanh(leads[m] - 1)), abs=4 * (0.25 / 140) ** 0.5)
    assert all(torch.equal(found.mask[m], again.mask[m]) for m in leads)
    only = corrupt(batch, Subset(keep=("text",)), seed=0)
    assert trainer.modulation.held_back(only, 3).present("text").all()


def test_a_score_is_that_of_the_modality_alone(data):
    trainer = Trainer(experiment("derl"), data)
    trainer.system.train()
    batch = data["train"].batch(np.arange(12))
    value, counts = trainer.modulation.scores(batch)
    assert trainer.system.training
    trainer.system.eval()
    for m in batch.modalities:
        expected = worth(trainer.system(corrupt(batch, Subset(keep=(m,)), seed=0)).prediction, batch.y, Task())
        torch.testing.assert_close(value[m], expected.detach())
        assert counts[m].all()


def test_scoring_leaves_no_trace(data):
    """Neither gradients nor random numbers nor files."""
    trainer, batch = Trainer(experiment(), data), data["train"].batch(np.arange(12))
    trainer.system.train()
    before = torch.get_rng_state()
    trainer.modulation.held_back(batch, 0)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(p.grad is None for p in trainer.system.parameters())


def test_worth_and_ratios_by_hand():
    torch.testing.assert_close(worth(torch.tensor([1.0, -1.0]), torch.tensor([1.0, 2.0]), Task()), torch.tensor([1.0, 0.25]))
    scores = torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0]])
    torch.testing.assert_close(worth(scores, torch.tensor([1, 0]), Task("classes", classes=("a", "b"))), torch.tensor([0.75, 0.5]))
    yes, no = torch.tensor([True, True]), torch.tensor([False, False])
    value = {"a": torch.tensor([0.9, 0.3]), "b": torch.tensor([0.2, 0.4]), "c": torch.tensor([0.1, 0.1])}
    found = ratios(value, {"a": yes, "b": yes, "c": yes})
    assert found == pytest.approx({"a": 0.6 / 0.2, "b": 0.3 / 0.35, "c": 0.1 / 0.45})
    assert ratios(value, {"a": yes, "b": torch.tensor([True, False]), "c": no}) == pytest.approx({"a": 3.0, "b": 1 / 3, "c": 1.0})
    assert ratios(value, {"a": yes, "b": no, "c": no}) == {"a": 1.0, "b": 1.0, "c": 1.0}


@pytest.mark.parametrize("model", [model for model in MODELS if model != "unimodal"])
def test_every_model_has_parameters_of_every_modality(model, data):
    found = Trainer(experiment(model), data).modulation
    assert list(found.owned) == list(data.spec.modalities)
    assert all(found.owned.values())


def test_a_model_without_parameters_to_balance_says_so(data):
    with pytest.raises(ValueError, match=r"parameters of none alone \(of text, audio, vision\)"):
        Trainer(experiment("unimodal"), data)
    with pytest.raises(ValueError, match="parameters of audio alone"):
        Trainer(experiment("haemsa", **{"model.modalities": "audio"}), data)


def test_a_pairs_parameters_are_nobodys(data):
    trainer = Trainer(experiment("haemsa", **{"components.cross_attention": True}), data)
    owned = own_parameters(trainer.system, data.spec)
    mine = {id(p) for parameters in owned.values() for p in parameters}
    outside = [p for part in trainer.system.model.before for p in part.parameters()]
    assert outside
    assert not mine & {id(p) for p in outside}
    assert len(mine) == sum(map(len, owned.values()))


def test_a_model_that_reads_fewer_modalities_balances_those(data):
    trainer = Trainer(experiment("haemsa", **{"model.modalities": "text+audio"}), data)
    assert list(trainer.modulation.owned) == ["text", "audio"]


def test_no_modulation_is_none(data):
    system = Trainer(experiment(), data).system
    assert modulation_of(experiment(**{"components.modulation": "none"}), system, data.spec) is None
    assert isinstance(modulation_of(experiment(), system, data.spec), Modulation)


# -- planted: one modality says the label aloud, the other says it too, among noise ----------------------------------------

PLANTED = Spec(widths={"easy": 2, "hard": 8}, tasks={"y": Task()})


class Sum(torch.nn.Module):
    """One small network a modality, and a head on the sum of what they say."""

    def __init__(self):
        super().__init__()
        nets = {m: [torch.nn.Linear(w, 16), torch.nn.Tanh(), torch.nn.Linear(16, 8)] for m, w in PLANTED.widths.items()}
        self.encoders = torch.nn.ModuleDict({m: torch.nn.Sequential(*layers) for m, layers in nets.items()})
        self.head = torch.nn.Linear(8, 1)

    def forward(self, batch: Batch) -> Output:
        z = torch.stack([net(batch.x[m][:, 0]) * batch.present(m)[:, None] for m, net in self.encoders.items()]).sum(0)
        return Output({"y": self.head(z)[:, 0]}, z)


def planted(rows: int, seed: int) -> Batch:
    g, way = torch.Generator().manual_seed(seed), torch.linspace(-1, 1, 8)
    y = torch.rand(rows, generator=g) * 4 - 2
    easy = torch.stack([y, torch.randn(rows, generator=g)], 1)
    hard = 0.7 * y[:, None] * way / way.norm() + 0.35 * torch.randn(rows, 8, generator=g)
    x = {"easy": easy[:, None], "hard": hard[:, None]}
    mask = {m: torch.ones(rows, 1, dtype=torch.bool) for m in x}
    return Batch(x, mask, {"y": y}, torch.zeros(rows, dtype=torch.long), torch.arange(rows))


def error_of_the_hard_one(kind: str, seed: int) -> float:
    """MAE from the hard modality alone, after a short training on both."""
    torch.manual_seed(seed)
    system = System(Front({}), Sum())
    options = Components(modulation=kind, modulation_strength=3.0)
    modulation = Modulation(options, system, PLANTED, seed) if kind != "none" else None
    optimizer = torch.optim.AdamW(system.parameters(), lr=6e-3)
    for step in range(70):
        batch = planted(32, 1000 * seed + step + 1)
        batch = batch if modulation is None else modulation.held_back(batch, step)
        optimizer.zero_grad()
        (system(batch).prediction - batch.y).square().mean().backward()
        optimizer.step()
    test = planted(1000, 0)
    with torch.no_grad():
        return float((system(alone(test, "hard")).prediction - test.y).abs().mean())


def test_the_hard_modality_is_learnt_better_when_the_easy_one_is_held_back():
    found = {kind: [error_of_the_hard_one(kind, seed) for seed in range(3)] for kind in ("none", "gradient", "feature")}
    for plain, weaker, dropped in zip(*found.values(), strict=True):
        assert weaker < 0.97 * plain, found
        assert dropped < 0.7 * plain, found
