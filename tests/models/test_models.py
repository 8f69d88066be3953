"""Which laws hold for every model that the catalog finds, whatever the data?"""

import pytest
import torch

from msaviz.catalog import MODELS, OBJECTIVES
from msaviz.data.missing import Mixture, Subset, corrupt
from msaviz.types import Batch, Spec, Task

TASKS = {
    "regression": {"sentiment": Task()},
    "classes": {"emotion": Task("classes", classes=("a", "b", "c"))},
}
SPEC = {name: Spec({"text": 12, "audio": 5, "vision": 7}, tasks) for name, tasks in TASKS.items()}


def make_batch(rows=6, extra=0, task="regression"):
    g = torch.Generator().manual_seed(0)
    lengths = {
        "text": torch.tensor([9, 4, 7, 2, 9, 1]),
        "audio": torch.tensor([90, 70, 12, 80, 33, 5]),
        "vision": torch.tensor([20, 3, 20, 11, 1, 9]),
    }
    x, mask = {}, {}
    for m, length in lengths.items():
        t = int(length.max())
        values = torch.randn(6, t, SPEC[task].widths[m], generator=g)
        valid = torch.arange(t)[None] < length[:, None]
        x[m] = torch.cat([values.masked_fill(~valid[..., None], 0), torch.zeros(6, extra, values.shape[2])], 1)[:rows]
        mask[m] = torch.cat([valid, torch.zeros(6, extra, dtype=torch.bool)], 1)[:rows]
    y = {"regression": torch.randn(6, generator=g), "classes": torch.tensor([0, 1, 2, 0, 1, 2])}[task][:rows]
    return Batch(x, mask, {SPEC[task].target: y}, torch.zeros(rows, dtype=torch.long), torch.arange(rows))


@pytest.fixture(params=list(MODELS))
def name(request):
    return request.param


def make(name, task="regression"):
    torch.manual_seed(0)
    return MODELS[name](SPEC[task], MODELS[name].Config()).eval()


@pytest.mark.parametrize("task", list(TASKS))
def test_shapes_gates_and_importance(name, task):
    output = make(name, task)(make_batch(task=task))
    assert output.prediction.shape == ((6,) if task == "regression" else (6, 3))
    assert next(iter(output.predictions)) == SPEC[task].target
    for routing in output.routing.values():
        torch.testing.assert_close(routing.gates.sum(-1)[routing.mask], torch.ones(int(routing.mask.sum())))
    if output.importance is not None:
        torch.testing.assert_close(output.importance.sum(1), torch.ones(6))
        assert output.importance.shape[1] == len(output.contributors)


def test_padding_carries_no_information(name):
    """Longer padding, and any value in it, changes nothing."""
    model, plain, padded = make(name), make_batch(), make_batch(extra=13)
    loud = padded.with_x(**{m: torch.where(padded.mask[m][..., None], x, 77.0) for m, x in padded.x.items()})
    for other in (padded, loud):
        torch.testing.assert_close(model(other).prediction, model(plain).prediction, rtol=1e-5, atol=1e-6)


def test_permuting_the_batch_permutes_the_outputs(name):
    model, batch = make(name), make_batch()
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    torch.testing.assert_close(model(batch.map(lambda t: t[order])).prediction, model(batch).prediction[order], rtol=1e-5, atol=1e-6)


def test_an_utterance_does_not_depend_on_its_batch(name):
    model, batch = make(name), make_batch()
    alone = torch.cat([model(batch.map(lambda t, i=i: t[i : i + 1])).prediction for i in range(6)])
    torch.testing.assert_close(alone, model(batch).prediction, rtol=1e-5, atol=1e-6)


def test_the_last_valid_frame_of_each_modality_counts(name):
    """No modality is cut to another's length (a known defect of public code)."""
    model, batch = make(name), make_batch()
    read = [m for m in batch.modalities if name != "unimodal" or m == SPEC["regression"].modalities[0]]
    for m in read:
        last = batch.mask[m].sum(1) - 1
        x = batch.x[m].clone()
        x[torch.arange(6), last] += torch.linspace(-3, 3, x.shape[2])  # not a constant: a layer norm would swallow that
        assert (model(batch.with_x(**{m: x})).prediction - model(batch).prediction).abs().min() > 1e-7


def test_a_missing_modality_is_not_read_and_has_no_importance(name):
    """Whatever stands in the place of an absent modality changes nothing; its contributors weigh exactly 0."""
    model = make(name)
    gone = corrupt(make_batch(), Subset(keep=("text", "vision")), seed=0)
    output = model(gone)
    noise = gone.with_x(audio=torch.randn_like(gone.x["audio"]))
    torch.testing.assert_close(model(noise).prediction, output.prediction, rtol=0, atol=0)
    for i, contributor in enumerate(output.contributors):
        if contributor.endswith("audio"):
            assert (output.importance[:, i] == 0).all()
    for space in (output.private, output.shared):
        if "audio" in space:
            assert (space["audio"] == 0).all()


def test_nothing_present_gives_a_finite_answer_and_gradient(name):
    model = make(name).train()
    batch = make_batch()
    empty = Batch(
        {m: torch.zeros_like(x) for m, x in batch.x.items()},
        {m: torch.zeros_like(v) for m, v in batch.mask.items()},
        batch.labels,
        batch.domain,
        batch.example,
    )
    output = model(empty)
    (output.prediction.sum() + sum(output.losses.values())).backward()
    assert torch.isfinite(output.prediction).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_eval_is_deterministic_and_reads_no_target(name):
    """In eval mode the complete twin of a corrupted batch is never looked at."""
    model = make(name)
    gone = corrupt(make_batch(), Mixture(clean=0.0), seed=1)
    first = model(gone)
    other = Batch(gone.x, gone.mask, gone.labels, gone.domain, gone.example)
    torch.testing.assert_close(model(other).prediction, first.prediction, rtol=0, atol=0)
    assert not first.losses


def test_every_parameter_learns(name):
    """A parameter that never has a gradient is dead weight."""
    torch.manual_seed(0)
    model = MODELS[name](SPEC["regression"], MODELS[name].Config()).train()
    batch = corrupt(make_batch(), Mixture(clean=0.0), seed=3)
    sum(OBJECTIVES["erm"](SPEC["regression"], OBJECTIVES["erm"].Config())(model, batch).values()).backward()
    dead = [n for n, p in model.named_parameters() if p.grad is None]
    assert not dead
