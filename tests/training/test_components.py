"""Do components fit every model, change nothing when they are off, and come back from disk as they were?"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from interrupted import resumed
from places import ROOT

from msaviz import Experiment, Run, load, override, train
from msaviz.catalog import MODELS
from msaviz.data.missing import Subset, WholeModality
from msaviz.interpret.explained import Explained
from msaviz.nn.surround import Surrounded
from msaviz.options import search_space, settled
from msaviz.search.genome import Genome
from msaviz.training.components import with_fewer
from msaviz.training.loop import Trainer
from msaviz.training.system import build

DATA = "synthetic:rows=200,seed=1"
QUICK = {
    "train.epochs": 1,
    "train.batch": 32,
    "train.threads": 1,
    "train.validation_rates": [0.0, 0.5],
    "missing": "mixture:inter_modal=true",
}
ON = {
    "token": {"components.absent": "token"},
    "imagined": {"components.absent": "imagined"},
    "cross_attention": {"components.cross_attention": True},
    "bottleneck": {"components.bottleneck": True},
    "modality_dropout": {"components.modality_dropout": 0.4},
    "gradient": {"components.modulation": "gradient"},
    "feature": {"components.modulation": "feature"},
}
EVERYTHING = ON["imagined"] | ON["cross_attention"] | ON["bottleneck"] | ON["modality_dropout"] | ON["gradient"]
STRUCTURAL = ("token", "imagined", "cross_attention", "bottleneck")


def experiment(model: str = "early_fusion", **changes: object) -> Experiment:
    return override(Experiment(model=model, data=DATA), {**QUICK, "model.dim": 8, **changes})


@pytest.fixture(scope="module")
def data():
    return load(DATA)


@pytest.mark.parametrize("model", list(MODELS))
def test_off_there_is_the_model_itself(model, data):
    e = experiment(model)
    torch.manual_seed(0)
    plain = MODELS[model](data.spec, e.model)
    torch.manual_seed(0)
    system = build(data.spec, e)
    assert type(system.model) is MODELS[model]
    assert list(system.state_dict()) == [f"model.{name}" for name in plain.state_dict()]
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in system.model.state_dict().items())
    trainer = Trainer(e, data)
    assert (trainer.modulation, trainer.lessons) == (None, None)
    assert not any(p._backward_hooks for p in trainer.system.parameters())


def test_what_says_nothing_changes_no_number(data, tmp_path):
    """Weights and strengths of what is off are not read."""
    idle = {"components.bottleneck_weight": 0.1, "components.modulation_strength": 3.0, "components.imagination": 5.0}
    runs = [train(experiment(**changes), tmp_path / str(len(changes)), progress=False) for changes in ({}, idle)]
    one, two = ((run.path / "weights.safetensors").read_bytes() for run in runs)
    assert one == two
    assert settled(runs[1].experiment) == settled(runs[0].experiment)


@pytest.mark.parametrize("name", STRUCTURAL)
def test_on_the_model_inside_begins_with_the_same_weights(name, data):
    inside = []
    for changes in ({}, ON[name]):
        torch.manual_seed(0)
        model = build(data.spec, experiment(**changes)).model
        inside.append(model.inner if isinstance(model, Surrounded) else model)
    assert all(torch.equal(a, b) for a, b in zip(*(m.state_dict().values() for m in inside), strict=True))


@pytest.mark.parametrize("model", ["derl", "early_fusion", "haemsa"])
@pytest.mark.parametrize("name", list(ON))
def test_every_component_trains_with_every_kind_of_model(model, name, tmp_path):
    run = train(experiment(model, **ON[name]), tmp_path / "run", progress=False)
    assert run.done
    assert np.isfinite(run.predict("test", Subset(keep=("audio",)))).all()
    np.testing.assert_allclose(run.predict("test"), Run.open(run.path).predictions("test").prediction, atol=1e-5)
    logged = set(run.history().metric)
    expected = {"imagined": "loss/imagination/step", "bottleneck": "loss/bottleneck"}
    assert expected.get(name, "loss/task") in logged


def test_everything_at_once_resumes_to_the_same_numbers(tmp_path, monkeypatch):
    e = experiment("derl", **EVERYTHING, **{"train.epochs": 2, "train.ema": 0.5, "train.accumulate": 2})
    whole = train(e, tmp_path / "whole", progress=False)
    again = resumed(e, tmp_path / "broken", monkeypatch)
    for name in ("history.jsonl", "weights.safetensors"):
        assert (again.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_an_attribution_reads_the_components_too(data):
    system = build(data.spec, experiment(**EVERYTHING)).eval()
    batch = data["test"].batch(np.arange(4))
    explained = Explained(system, batch)
    torch.testing.assert_close(explained.value, system(batch).prediction.detach())


def test_a_surrounded_model_answers_to_the_trainers_hooks(data):
    """MIDG is prepared, told of every epoch and, where it says that it learns from it, given the complete twin."""
    trainer = Trainer(experiment("midg", **ON["token"], **{"model.stage_one": 0.5, "train.epochs": 2}), data)
    assert isinstance(trainer.system.model, Surrounded)
    assert trainer.system.model.inner.typical.any()
    assert trainer.system.model.compares_domains
    trainer._train_epoch()
    assert trainer.system.model.inner.stage == 1
    reads = {m: build(data.spec, experiment(m, **ON["token"])).model.reads_complete for m in ("derl", "early_fusion")}
    assert reads == {"derl": True, "early_fusion": False}
    assert build(data.spec, experiment(**ON["imagined"])).model.reads_complete
    with pytest.raises(AttributeError, match="remember"):
        build(data.spec, experiment(**ON["token"])).model.remember  # noqa: B018


def test_heads_behind_the_bottleneck_are_those_of_the_model(data):
    batch = data["test"].batch(np.arange(4))
    plain, narrow = (build(data.spec, experiment("haemsa", **changes)).eval()(batch) for changes in ({}, ON["bottleneck"]))
    assert {n: p.shape for n, p in plain.predictions.items()} == {n: p.shape for n, p in narrow.predictions.items()}
    assert narrow.fused.shape == plain.fused.shape


def test_token_ids_are_vectors_before_any_component_reads_them(tmp_path):
    e = override(experiment(**EVERYTHING), {"data": "synthetic:rows=200,text=ids", "text.encoder": "embedding"})
    assert train(e, tmp_path / "run", progress=False).done


@pytest.mark.slow
def test_two_processes_train_to_the_numbers_of_one(tmp_path):
    """What draws no random number of its own is the same, however many share a batch; a teacher's lessons too."""
    import test_torchrun as several

    teacher = several.train(tmp_path / "teacher", "early_fusion", missing="none")
    quiet = {"components.modulation_noise": False, "components.distillation.teacher": teacher.path}
    options = {**ON["imagined"], **ON["cross_attention"], **ON["modality_dropout"], **ON["gradient"], **quiet, "train.batch": 23}
    one, two = (several.train(tmp_path / str(n), "early_fusion", processes=n, **options) for n in (1, 2))
    several.assert_equal(one, two)


# -- modality dropout ---------------------------------------------------------------------------------------------------


def test_modality_dropout_leaves_something_and_repeats_itself(data):
    batch = data["train"].batch(np.arange(120))
    one, again, later = (with_fewer(batch, 0.8, seed=3, epoch=epoch) for epoch in (1, 1, 2))
    there = torch.stack([one.present(m) for m in one.modalities], 1)
    assert there.any(1).all()
    assert 0.2 < there.float().mean() < 0.6
    assert all(torch.equal(one.mask[m], again.mask[m]) for m in one.modalities)
    assert any(not torch.equal(one.mask[m], later.mask[m]) for m in one.modalities)
    assert one.complete is batch
    assert with_fewer(batch, 0.0, seed=3, epoch=1) is batch
    part = with_fewer(batch.map(lambda tensor: tensor[40:50]), 0.8, seed=3, epoch=1)
    assert all(torch.equal(part.present(m), one.present(m)[40:50]) for m in one.modalities)


def test_modality_dropout_has_nothing_to_do_with_missing():
    """Fifty-fifty masks of the same rows agree as often as coins do; nor do neighbouring seeds share any."""
    from msaviz.data.missing import corrupt

    rows = load("synthetic:rows=3000")["train"].batch(np.arange(2000))
    gone = [~corrupt(rows, WholeModality(rate={"text": 0.5}), seed=seed).present("text") for seed in (0, 1)]
    mine = [~with_fewer(rows, 0.5, seed=seed, epoch=0).present("text") for seed in (0, 1)]
    pairs = [(gone[0], mine[0]), (gone[1], mine[0]), (mine[0], mine[1])]
    for a, b in pairs:
        centred = (a.float() - a.float().mean()) * (b.float() - b.float().mean())
        assert abs(centred.mean() / (a.float().std() * b.float().std())) < 4 / 2000**0.5


def test_the_trainer_drops_modalities_while_training_only(data):
    e = experiment(**ON["modality_dropout"], missing="none")
    trainer = Trainer(e, data)
    read = [batch for batch, _ in trainer._train_batches()]
    assert any((~batch.present("text")).any() for batch in read)
    assert all(batch.complete.present("text").all() for batch in read)
    whole = Trainer(experiment(missing="none"), data)
    for name, missingness in trainer.validator.conditions.items():
        one, two = (t.validator.measure(whole.system, "valid", missingness) for t in (trainer, whole))
        assert one == two, name


# -- options ------------------------------------------------------------------------------------------------------------


def test_every_component_is_a_gene():
    space = search_space(Experiment())
    wanted = {"absent", "cross_attention", "bottleneck", "bottleneck_weight", "modality_dropout", "modulation", "modulation_strength"}
    wanted |= {f"distillation.{name}" for name in ("contrast", "prototypes", "response")}
    assert {f"components.{name}" for name in wanted} <= set(space)
    genome = Genome(Experiment(model="derl"), ("text", "audio"), ("components",))
    assert genome.decode(genome.default) == genome.base
    changed = genome.decode({**genome.default, "components.absent": "imagined", "components.imagination": 0.3})
    assert (changed.components.absent, changed.components.imagination) == ("imagined", 0.3)


@pytest.mark.parametrize(
    ("idle", "awake"),
    [
        ({"components.imagination": 2.0}, {"components.absent": "imagined"}),
        ({"components.bottleneck_weight": 0.01}, {"components.bottleneck": True}),
        ({"components.modulation_strength": 2.0}, {"components.modulation": "feature"}),
        ({"components.modulation_noise": False}, {"components.modulation": "gradient"}),
        ({"components.distillation.contrast": 0.7}, {"components.distillation.teacher": "runs/teacher"}),
    ],
)
def test_a_gene_counts_only_where_it_says_something(idle, awake):
    base = Experiment()
    assert settled(override(base, idle)) == base
    assert settled(override(base, {**idle, **awake})) != settled(override(base, awake))


def test_a_run_from_before_components_still_opens(tmp_path):
    run = train(experiment(), tmp_path / "run", progress=False)
    path = run.path / "options.json"
    options = json.loads(path.read_text())
    del options["experiment"]["components"]
    path.write_text(json.dumps(options))
    old = Run.open(run.path)
    assert old.experiment == run.experiment
    np.testing.assert_array_equal(old.predict("test"), run.predict("test"))
    assert train(experiment(), run.path, progress=False).done


def test_options_explain_themselves():
    """Every field of the file is followed by its docstring."""
    lines = (
        (ROOT / "msaviz" / "training" / "components.py").read_text().split("class Distillation")[1].split("def surrounded")[0].split("\n")
    )
    fields = [i for i, line in enumerate(lines) if line.startswith("    ") and ": " in line and " = " in line and '"""' not in line]
    undocumented = [lines[i].split(":")[0].strip() for i in fields if not lines[i + 1].strip().startswith('"""')]
    assert undocumented == ["distillation"]
