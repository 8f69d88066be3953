"""Does every model work on data at their worst, from training to the last sentence, or say clearly why it cannot?"""

import pytest
from degenerate import DATA, REFUSED, UNTESTED, answered, looked_at, measured, trained
from endurance import TIMES, tell

from msaviz import evaluate
from msaviz.app.report import report
from msaviz.catalog import MODELS, OBJECTIVES

MODEL_NAMES = list(MODELS)
ROTATED = [(name, MODEL_NAMES[i % len(MODEL_NAMES)]) for i, name in enumerate(DATA)]
EVERY = [(name, model) for name in DATA for model in MODEL_NAMES]
SHOWN = [("no labels in test", "unimodal"), ("zero", "late_fusion")]
COMPONENTS = (
    {"components.absent": "imagined", "components.cross_attention": True, "components.modality_dropout": 0.9},
    {"components.absent": "token", "components.bottleneck": True, "components.modulation": "gradient", "train.batch": 1},
    {"missing": "modality:1.0", "train.views": 3, "train.batch": 512, "train.accumulate": 4, "train.ema": 0.9},
    {"missing": "random:1.0", "components.modulation": "feature", "train.sampling": "domains", "train.precision": "bfloat16"},
)


@pytest.mark.parametrize(("name", "model"), EVERY if TIMES >= 10 else ROTATED)
def test_a_model_learns_and_is_measured_or_says_why_not(name, model, tmp_path):
    if name in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[name]):
            trained(name, model, tmp_path)
    elif name in UNTESTED:
        with pytest.raises(ValueError, match=UNTESTED[name]):
            evaluate(trained(name, model, tmp_path), progress=False)
    else:
        measured(trained(name, model, tmp_path))
    clearly = name in REFUSED or name in UNTESTED
    tell("degenerate data: models", 1, worked=not clearly, refused_clearly=clearly)


@pytest.mark.parametrize(("name", "model"), [pair for pair in ROTATED if pair[0] not in {**REFUSED, **UNTESTED}] if TIMES >= 10 else SHOWN)
def test_every_table_is_answered_and_every_view_can_be_read(name, model, tmp_path):
    count = looked_at(dict(answered(trained(name, model, tmp_path))))
    assert count > 30
    tell("degenerate data: views", count, legible=count)


@pytest.mark.parametrize("name", [n for n in DATA if n not in REFUSED] if TIMES >= 10 else ["not one number", "one row"])
@pytest.mark.parametrize("options", COMPONENTS, ids=range(len(COMPONENTS)))
def test_every_component_and_every_kind_of_batch(name, options, tmp_path):
    if len(DATA[name]().spec.modalities) == 1 and options.get("components.modulation", "none") != "none":
        with pytest.raises(ValueError, match="balances modalities, but the model has parameters of speech alone"):
            trained(name, "late_fusion", tmp_path, **options)
        return tell("degenerate data: components", 1, refused_clearly=1)
    run = trained(name, "late_fusion", tmp_path, **options)
    assert run.done
    tell("degenerate data: components", 1, worked=1)


@pytest.mark.parametrize("name", [n for n in DATA if n not in REFUSED] if TIMES >= 10 else ["one train row", "all absent in train"])
@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_every_objective(name, objective, tmp_path):
    run = trained(name, "early_fusion", tmp_path, **{"objective": objective, "train.batch": 2})
    assert run.done
    tell("degenerate data: objectives", 1, worked=1)


@pytest.mark.parametrize("name", [n for n in DATA if n not in {**REFUSED, **UNTESTED}] if TIMES >= 10 else ["one row"])
def test_the_report_is_whole(name, tmp_path):
    said = []
    page = report(trained(name, "lmf", tmp_path), tmp_path / "report.html", progress=said.append).read_text(encoding="utf-8")
    assert "could not be made" not in page, said
    tell("degenerate data: reports", 1, whole=1)


def test_source_domains_without_a_validation_row_are_told(tmp_path):
    with pytest.raises(ValueError, match=r"no 'valid' split to train with; rows by split: .*'valid': 0"):
        trained("one row", "early_fusion", tmp_path, **{"domains.targets": ["domain 1"]})
