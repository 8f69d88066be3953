"""Are Self-MM's own labels those of the formulas, do they find a modality that contradicts, and do they survive a kill?"""

from dataclasses import replace

import pytest
import torch
from interrupted import resumed
from safetensors.torch import load_file
from test_models import SPEC, make_batch
from test_tfn import any_number_of_modalities, skips_holes

from msaviz import Experiment, train
from msaviz.catalog import MODELS
from msaviz.models.self_mm import Memory, nearness, own_labels
from msaviz.types import Batch, Spec, Task

SelfMm = MODELS["self_mm"]
NAMES = ("text", "audio", "vision")


@pytest.mark.parametrize("encoder", ["lstm", "transformer", "pooled"])
def test_it_takes_any_modalities_and_skips_holes(encoder):
    any_number_of_modalities("self_mm", encoder=encoder)
    skips_holes("self_mm", encoder=encoder)


def epochs(model, batch, count):
    """What the trainer does, without learning."""
    model.prepare([batch])
    for _ in range(count):
        model.begin(0.0)
        model.remember(batch, model(batch))
    return model.memory


def model(spec=None, **options):
    torch.manual_seed(0)
    return SelfMm(spec or SPEC["regression"], SelfMm.Config(dropout=0.0, **options)).train()


@pytest.mark.parametrize("task", [Task(), Task(low=1.0, high=5.0)])
def test_own_labels_are_the_formula(task):
    torch.manual_seed(0)
    features, positive, negative = torch.randn(5, 3, 4), torch.randn(3, 4), torch.randn(3, 4)
    label = torch.tensor([1.5, 2.0, 1.0, 3.0, 2.5])
    found = own_labels(label, nearness(features, torch.stack([positive, negative])), task)
    for row in range(5):
        near = [(features[row, k] - positive[k]).norm() / 2 for k in range(3)]
        far = [(features[row, k] - negative[k]).norm() / 2 for k in range(3)]
        alpha = [(n - p) / p for p, n in zip(near, far, strict=True)]
        y = label[row] - task.middle
        for m in (1, 2):
            value = 0.5 * y * alpha[m] / alpha[0] + 0.5 * (y + alpha[m] - alpha[0])
            torch.testing.assert_close(found[row, m - 1], (value + task.middle).clamp(task.low, task.high))


def test_a_feature_between_the_centres_gives_no_infinity():
    found = own_labels(torch.tensor([0.0, 2.0]), torch.tensor([[0.0, 1.0], [0.0, -1.0]]), Task())
    assert torch.isfinite(found).all()
    assert found.abs().max() <= 3


@pytest.mark.parametrize("neutral", [False, True])
def test_centres_are_means_by_each_features_own_labels(neutral):
    torch.manual_seed(0)
    memory = Memory(2, 4)
    memory.open(torch.arange(8), torch.tensor([1.0, 2.0, -1.0, -2.0, 0.0, torch.nan, 1.5, -0.5]))
    memory.features = torch.randn(8, 3, 4)
    memory.seen.fill_(True)
    memory.seen[6, 1] = False
    memory.moved[0, 1] = -3.0  # row 0 is negative to the second modality
    memory.features[5] = 77.0  # no label
    found, known = memory.centres(0.0, neutral)
    zero = [4] * neutral
    positive = ([0, 1, 6, *zero], [0, 1, *zero], [1, 6, *zero])
    negative = ([2, 3, 7], [2, 3, 7], [0, 2, 3, 7])
    for k in range(3):
        for side, rows in enumerate((positive[k], negative[k])):
            torch.testing.assert_close(found[side, k], memory.features[rows, k].mean(0))
    assert known.all()


def test_labels_move_from_the_second_epoch_with_momentum():
    batch, m = make_batch(), model()
    assert (epochs(m, batch, 1).moved == 0).all()
    memory = epochs(m, batch, 2)
    output = m(batch)
    features = torch.stack([output.fused, *output.private.values()], 1).detach()
    fresh = Memory(3, 64)
    fresh.open(batch.example, batch.y)
    fresh.features, fresh.seen = features, torch.ones(6, 4, dtype=torch.bool)
    centres, known = fresh.centres(0.0, False)
    assert known.all()
    new = own_labels(batch.y, nearness(features, centres), Task()) - batch.y[:, None]
    torch.testing.assert_close(memory.moved, 2 / 3 * new)  # epoch 2: 1/3 of the old 0
    assert memory.moved.abs().max() > 0.01
    before, (centres, known) = memory.moved.clone(), memory.centres(0.0, False)  # no longer by the true labels
    assert known[0]
    assert known[1:].any()
    m.begin(0.0)
    m.remember(batch, output)
    new = own_labels(batch.y, nearness(features, centres), Task()) - batch.y[:, None]
    torch.testing.assert_close(memory.moved, torch.where(known[1:], before / 2 + new / 2, before))  # epoch 3


def test_rows_without_a_label_or_a_modality_stay_out():
    batch = make_batch()
    y = batch.y.clone()
    y[2] = torch.nan
    mask = {**batch.mask, "audio": batch.mask["audio"] & (torch.arange(6) != 3)[:, None]}
    memory = epochs(model(), replace(batch, mask=mask, labels={"sentiment": y}), 3)
    assert (memory.moved[2] == 0).all()
    assert memory.moved[3, 1] == 0
    assert memory.moved[3, 0] != 0
    assert not memory.seen[3, 2]
    assert torch.isfinite(memory.moved).all()


def test_the_loss_is_weighted_by_how_far_the_own_label_lies():
    batch, m = make_batch(), model()
    assert all(loss == 0 for loss in m(batch).losses.values())  # no label of its own yet
    epochs(m, batch, 2)
    output = m(batch)
    for i, name in enumerate(NAMES):
        guess, moved = m.own_head[name](output.private[name])["sentiment"], m.memory.moved[:, i]
        torch.testing.assert_close(output.losses[f"unimodal/{name}"], (moved.abs().tanh() * (guess - batch.y - moved).abs()).mean())


def test_classes_have_no_own_labels_and_learn_the_true_one():
    m, batch = model(SPEC["classes"]), make_batch(task="classes")
    assert len(epochs(m, batch, 3).moved) == 0
    output = m(batch)
    expected = torch.nn.functional.cross_entropy(m.own_head["audio"](output.private["audio"])["emotion"], batch.y)
    torch.testing.assert_close(output.losses["unimodal/audio"], expected)


def test_own_labels_find_the_modality_that_contradicts():
    """`b` says the opposite of the label in 3 of 10 rows; `a` and `c` say the label."""
    torch.manual_seed(0)
    n, y = 300, torch.empty(300).uniform_(-3, 3)
    says = {"a": y, "b": torch.where(torch.rand(n) < 0.3, -y, y), "c": y}
    x = {m: v[:, None, None] * torch.linspace(-1, 1, 4) + 0.3 * torch.randn(n, 2, 4) for m, v in says.items()}
    mask = {m: torch.ones(n, 2, dtype=torch.bool) for m in x}
    whole = Batch(x, mask, {"sentiment": y}, torch.zeros(n).long(), torch.arange(n))
    m = model(Spec(dict.fromkeys(x, 4), {"sentiment": Task()}), dim=16, encoder="pooled")
    optimizer = torch.optim.Adam(m.parameters(), 3e-3)
    m.prepare([whole])
    for epoch in range(8):
        m.begin(epoch / 8)
        for rows in torch.randperm(n).split(50):
            batch = whole.map(lambda t, rows=rows: t[rows])
            output = m(batch)
            loss = (output.prediction - batch.y).abs().mean() + sum(output.losses.values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            m.remember(batch, output.map(torch.Tensor.detach))
    own = dict(zip(says, (y[:, None] + m.memory.moved).T, strict=True))

    def follows(a, b):
        return torch.corrcoef(torch.stack([a, b]))[0, 1]

    assert follows(own["b"], says["b"]) > follows(y, says["b"]) + 0.1
    against = (says["b"] != y) & (y.abs() > 1)
    assert (m.memory.moved[against, 1] * -y[against].sign()).mean() > 0.5  # away from the label, towards what b says
    agrees = ~against & (y.abs() > 1)
    for i in (0, 2):
        assert m.memory.moved[against, i].abs().mean() < m.memory.moved[against, 1].abs().mean() / 2
    assert m.memory.moved[agrees, 1].abs().mean() < m.memory.moved[against, 1].abs().mean() / 2


def test_a_killed_run_resumes_to_the_same_bits_and_its_model_knows_its_memory(tmp_path, monkeypatch):
    experiment = Experiment(
        model={"name": "self_mm", "dim": 8},
        data="synthetic:rows=200",
        train={"epochs": 4, "threads": 1, "validation_rates": [0.0], "device": "cpu"},
    )
    run = train(experiment, tmp_path / "whole", progress=False)
    again = resumed(experiment, tmp_path / "broken", monkeypatch, after=3)
    assert (again.path / "history.jsonl").read_bytes() == (run.path / "history.jsonl").read_bytes()
    assert (again.path / "weights.safetensors").read_bytes() == (run.path / "weights.safetensors").read_bytes()
    kept = load_file(run.path / "weights.safetensors")["model.memory.moved"]
    assert kept.shape == (140, 3)
    assert (kept != 0).any()
    assert torch.equal(run.model().model.memory.moved, kept)
