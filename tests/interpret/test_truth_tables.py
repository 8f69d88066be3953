"""Do the tables that judge attributions tell a true one from a false one? Linear models, whose attributions are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from judged_models import WIDTHS, Bent, Linear, changed, noise, reversed_sizes, traced
from torch import nn

from msaviz.catalog import TABLES
from msaviz.interpret import methods
from msaviz.interpret.attribution import Steps, attribute
from msaviz.interpret.attribution_sanity import cascade, groups, shuffle
from msaviz.interpret.judged import flat
from msaviz.interpret.trace import observe
from msaviz.types import Batch, Output, Spec, Task

NAMES = (
    *("attribution_completeness", "attribution_faithfulness", "attribution_agreement"),
    *("attribution_sanity", "deletion_curve", "planted_evidence"),
)
QUICK = {
    "attribution_faithfulness": {"steps": 4, "samples": 8, "draws": 2},
    "attribution_sanity": {"steps": 4},
    "deletion_curve": {"orders": 3},
}


def by(frame, *columns, value="value"):
    return frame.set_index(list(columns))[value]


# -- every table -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_tables_name_what_was_done_and_leave_the_model_alone(name, linear, true):
    before = {key: value.clone() for key, value in linear.model.state_dict().items()}
    mode = linear.model.training
    missing = attribute(linear, "feature_ablation", baseline="missing", routing="live")
    frame = TABLES[name]({"IG": true, "taken away": missing}, **QUICK.get(name, {}))
    found = frame.groupby("method")[["baseline", "routing"]].first()
    assert found.loc["IG"].tolist() == ["zero", "frozen"]
    assert found.loc["taken away"].tolist() == ["missing", "live"]
    assert all(torch.equal(value, before[key]) for key, value in linear.model.state_dict().items())
    assert linear.model.training == mode
    assert TABLES[name]({"IG": true, "taken away": missing}, **QUICK.get(name, {})).equals(frame), "not the same numbers twice"


@pytest.mark.parametrize("name", NAMES)
def test_features_alone_have_no_steps_and_nothing_is_no_error(name, linear):
    only = attribute(linear, "feature_ablation", over="features")
    frame = TABLES[name]({"features": only})
    assert frame.empty == (name != "attribution_completeness")
    assert TABLES[name]({}).empty


def test_a_baseline_of_the_train_split_asks_for_it(linear):
    one = attribute(linear, "gradient_shap", baseline="train", train=linear.batches, steps=4)
    for name in ("attribution_faithfulness", "attribution_sanity"):
        with pytest.raises(ValueError, match="train"):
            TABLES[name]({"shap": one}, **QUICK[name])
        assert len(TABLES[name]({"shap": one}, train=linear.batches, limit=8, **QUICK[name]))


# -- completeness ----------------------------------------------------------------------------------------------------------


def test_integrated_gradients_of_a_linear_model_leave_no_gap_and_ablation_of_a_bent_one_does(true):
    bent = traced(Bent)
    attributions = {"fine": attribute(bent, steps=64), "coarse": attribute(bent, steps=2), "ablation": attribute(bent, "feature_ablation")}
    found = TABLES["attribution_completeness"](attributions)
    gap = by(found, "metric", "method")["relative_gap"]
    assert gap["fine"] < 1e-3 < 1e-2 < gap["coarse"]
    assert gap["ablation"] > 0.05
    assert (found["low"] <= found["value"]).all()
    assert ((found["value"] <= found["high"]) & (found["value"] <= found["p90"])).all()
    assert TABLES["attribution_completeness"]({"IG": true})["p90"].max() < 1e-4


# -- hiding steps ----------------------------------------------------------------------------------------------------------


def test_the_true_order_beats_random_ones_and_the_reverse_falls_behind(true):
    found = TABLES["deletion_curve"]({"true": true, "reverse": reversed_sizes(true), "noise": noise(true)}, limit=None)
    areas = found[["method", "kind", "area", "random_area", "gain"]].drop_duplicates()
    assert len(areas) == 6, "each curve has one area, in all of its rows"
    means = found.groupby(["method", "kind"])["value"].agg(lambda y: np.trapezoid(y, np.linspace(0, 1, 11)))
    assert np.allclose(
        areas.set_index(["method", "kind"])["area"], means.loc[list(zip(areas["method"], areas["kind"], strict=True))], atol=1e-5
    )
    found = found.drop_duplicates(["method", "kind"])
    low, high = by(found, "method", "kind", value="gain_low"), by(found, "method", "kind", value="gain_high")
    # insertion: the steps of largest size alone need not bring a sum close, but those of the reverse order bring it less
    assert low["true", "deletion"] > 0
    assert high["reverse", "deletion"] < 0
    assert low["noise", "deletion"] < 0.1
    assert high["noise", "deletion"] > -0.1
    gain = by(found, "method", "kind", value="gain")
    assert gain["true", "insertion"] > gain["reverse", "insertion"]
    assert found.groupby("kind")["random_area"].nunique().eq(1).all(), "the random orders are the same for every method"


def test_the_curve_is_that_of_the_model(linear, true):
    frame = TABLES["deletion_curve"]({"true": true}, fractions=(0, 0.5, 1), hidden="zero", limit=None)
    found = by(frame, "kind", "fraction")
    assert found["deletion", 0] == 0 == found["insertion", 1]
    whole = np.abs(true.explained - true.reference).mean()
    assert found["deletion", 1] == pytest.approx(whole, abs=1e-5)
    assert found["insertion", 0] == pytest.approx(whole, abs=1e-5)
    # of a linear model the prediction moves by the sum of what was hidden
    values, moved = flat(true), []
    for row in range(len(true.explained)):
        own = values.value[values.row == row]
        moved.append(abs(own[np.argsort(-np.abs(own), kind="stable")][: round(len(own) / 2)].sum()))
    assert found["deletion", 0.5] == pytest.approx(np.mean(moved), abs=1e-5)


def test_wrong_curves_are_refused(true):
    for options, words in [
        ({"fractions": (0, 2)}, "between 0 and 1"),
        ({"orders": 0}, "random order"),
        ({"hidden": "train"}, "missing or shows zero"),
        ({"hidden": "mean"}, "train"),
    ]:
        with pytest.raises(ValueError, match=words):
            TABLES["deletion_curve"]({"true": true}, **options)


class Classes(Linear):
    """Three classes, whose logits are f, -f and 0."""

    def forward(self, batch: Batch) -> Output:
        f = super().forward(batch).prediction
        return Output({"emotion": torch.stack([f, -f, 0 * f], 1)}, f[:, None])


def test_of_classes_the_logit_of_the_predicted_one_is_followed(linear):
    spec = Spec(widths=WIDTHS, tasks={"emotion": Task("classes", classes=("a", "b", "c"))})
    model = Classes()
    model.load_state_dict(linear.model.state_dict())
    trace = observe(model, [replace(b, labels={"emotion": torch.zeros(len(b), dtype=torch.long)}) for b in linear.batches], spec=spec)
    one = attribute(trace, steps=4)
    found = by(TABLES["deletion_curve"]({"IG": one}, hidden="zero", limit=None), "kind", "fraction")
    assert found["deletion", 1] == pytest.approx(np.abs(one.explained - one.reference).mean(), abs=1e-5)
    assert by(TABLES["attribution_faithfulness"]({"IG": one}, **QUICK["attribution_faithfulness"]), "metric")["infidelity"] < 1e-6


# -- faithfulness ----------------------------------------------------------------------------------------------------------


def test_a_linear_model_is_told_exactly_and_a_random_order_is_not(true):
    turned = changed(true, lambda m, s: -s.value)
    found = TABLES["attribution_faithfulness"]({"true": true, "turned": turned, "noise": noise(true)}, **QUICK["attribution_faithfulness"])
    value, chance = by(found, "metric", "method"), by(found, "metric", "method", value="chance")
    assert value["infidelity", "true"] < 1e-6
    assert chance["infidelity", "true"] > 0.3
    assert value["infidelity", "turned"] == pytest.approx(4, abs=1e-3)  # twice the movement off, squared
    assert value["infidelity_scaled", "turned"] < 1e-6  # the best scale may be negative
    assert value["infidelity", "noise"] > 0.8 * chance["infidelity", "noise"]
    # x moves by at most a tenth of a deviation, and so does w.x relative to itself
    assert 0 < value["sensitivity", "true"] < 0.1 < 1 < chance["sensitivity", "true"]


# -- sanity ----------------------------------------------------------------------------------------------------------------


def size_of_input(explained, references, *, steps=32, seed=0):
    """What knows nothing of the model: the norm of each step."""
    return {m: explained.batch.x[m].norm(dim=-1) for m in explained.modalities}


def test_an_attribution_of_the_input_does_not_fall_and_one_of_the_model_does(linear, true, monkeypatch):
    monkeypatch.setitem(methods.METHODS, "norm", methods.Method(size_of_input, "Norm of the input", lambda steps: 1, "t"))
    found = TABLES["attribution_sanity"]({"IG": true, "norm": attribute(linear, "norm")}, steps=4)
    assert list(dict.fromkeys(found["part"])) == ["none", "head", "read"], "the last part first, and none that the prediction does not read"
    last, first = (found[found["parts"] == n].set_index(["method", "kind"])["similarity"] for n in (2, 0))
    assert first.to_numpy() == pytest.approx(1)
    assert last["norm"].to_numpy() == pytest.approx(1)
    assert last["IG", "signed"] < 0.6
    assert last["IG", "absolute"] < 0.6


def test_shuffling_keeps_the_numbers_and_the_cascade_adds_up(linear):
    weight = nn.Parameter(torch.arange(12.0).view(3, 4))
    shuffle([weight], torch.Generator().manual_seed(0))
    assert sorted(weight.flatten().tolist()) == list(range(12))
    assert weight.flatten().tolist() != list(range(12))
    assert [name for name, _ in groups(linear.model)] == ["unused", "head", "read"]
    (_, whole), (_, head), (_, both) = cascade(linear)
    assert torch.equal(whole.head.weight, linear.model.head.weight)
    assert not torch.equal(head.head.weight, whole.head.weight)
    assert torch.equal(head.read["text"].weight, whole.read["text"].weight)
    assert torch.equal(both.head.weight, head.head.weight)
    assert not torch.equal(both.read["text"].weight, head.read["text"].weight)


# -- agreement -------------------------------------------------------------------------------------------------------------


def test_a_method_agrees_with_itself_and_not_with_its_negation(true):
    subjects = {
        "true": true,
        "turned": changed(true, lambda m, s: -s.value),
        "noise": noise(true),
        "flat": changed(true, lambda m, s: 0 * s.value),
    }
    frame = TABLES["attribution_agreement"](subjects)
    found, count = (by(frame, "modality", "method", "other", value=name) for name in ("value", "utterances"))
    for m in ("all", "text", "audio"):
        assert found[m, "true", "true"] == pytest.approx(1)
        assert found[m, "true", "turned"] == pytest.approx(-1)
        assert found[m, "true", "noise"] == pytest.approx(found[m, "noise", "true"])
        assert abs(found[m, "true", "noise"]) < 0.25
    assert count["text", "true", "noise"] == 40
    assert count["audio", "true", "noise"] == 32, "a fifth has no audio"
    assert "flat" not in set(frame["method"]), "the same value everywhere has no order"


# -- planted evidence ------------------------------------------------------------------------------------------------------


def test_planted_values_are_found_and_random_ones_give_chance(linear, true):
    def planted(m: str, s: Steps):
        return -1.0 * np.array([linear.evidence[m][r][t] for r, t in zip(s.row, s.time, strict=True)])

    mean = {}
    for seed in range(30):
        frame = TABLES["planted_evidence"]({"noise": noise(true, seed)}, resamples=10)
        mean[seed] = by(frame[frame["modality"] == "all"], "metric")
    frame = TABLES["planted_evidence"]({"planted": changed(true, planted), "absent": changed(true, lambda m, s: 1 + planted(m, s))})
    found, chance = by(frame, "method", "modality", "metric"), by(frame, "method", "modality", "metric", value="chance")
    assert found["planted"].to_numpy() == pytest.approx(1)
    assert found["absent"].xs("pointing", level="metric").to_numpy() == pytest.approx(0)
    for metric in ("pointing", "mass", "top_k"):
        assert np.mean([one[metric] for one in mean.values()]) == pytest.approx(chance["planted", "all", metric], abs=0.03)


def test_ties_count_as_if_broken_at_random(true):
    frame = TABLES["planted_evidence"]({"even": changed(true, lambda m, s: np.ones(len(s.value)))})
    assert frame["value"].to_numpy() == pytest.approx(frame["chance"].to_numpy())
    nothing = TABLES["planted_evidence"]({"zero": changed(true, lambda m, s: np.zeros(len(s.value)))})
    assert set(nothing["metric"]) == {"pointing", "top_k"}, "of nothing no share can be taken"


def test_data_of_unknown_truth_give_no_row(true):
    assert TABLES["planted_evidence"]({"true": replace(true, trace=replace(true.trace, evidence={}))}).empty
