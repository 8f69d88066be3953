"""Do the tables about single experts say what each one reads and what it is worth?"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from msaviz.catalog import TABLES
from msaviz.data.load import load
from msaviz.interpret.expert_masks import expected_overlap
from msaviz.interpret.steering import without
from msaviz.interpret.trace import observe
from msaviz.models.derl import Derl
from msaviz.nn.routers import Router, picked
from msaviz.types import Output, Routing


def test_overlap_of_planted_masks(trace, planted):
    frame = TABLES["expert_masks"](trace).set_index(["modality", "expert", "other"])
    overlap, kept = frame["overlap"], frame["kept"]
    assert len(frame) == 4 * planted.EXPERTS**2
    assert [overlap["text", 0, i] for i in range(4)] == pytest.approx([1, 1 / 3, 1, 0])
    assert overlap["text", 3, 3] == 1  # two empty masks are one
    assert (overlap["audio"] == 1).all()
    assert [overlap["vision", 0, i] for i in range(4)] == pytest.approx([1, 0, 0, 1 / 3])
    assert overlap["joint", 0, 1] == pytest.approx(4 / 8)  # text 1 of 3, audio 3 of 3, vision 0 of 2
    assert [kept["text", e, 0] for e in range(4)] == pytest.approx([2 / 3, 2 / 3, 2 / 3, 0])
    assert [kept["joint", e, 0] for e in range(4)] == pytest.approx([6 / 9, 6 / 9, 6 / 9, 6 / 9])
    for modality in frame.index.unique("modality"):
        square = overlap[modality].unstack().to_numpy()
        assert np.array_equal(square, square.T)
        assert (np.diag(square) == 1).all()


def test_the_floor_is_what_random_masks_reach():
    g = np.random.default_rng(0)
    for width, a, b in ((10, 4, 7), (30, 15, 15), (6, 0, 3)):
        draws = g.random((4000, 2, width)).argsort(-1)
        one, other = draws[:, 0] < a, draws[:, 1] < b
        found = ((one & other).sum(1) / (one | other).sum(1)).mean()
        assert expected_overlap(width, a, b) == pytest.approx(found, abs=0.01)
    assert expected_overlap(5, 5, 5) == pytest.approx(1)
    assert expected_overlap(5, 0, 0) == 1
    assert 0.3 < expected_overlap(768, 384, 384) < 0.34


@pytest.mark.parametrize(
    "name", ["expert_masks", "gate_by_domain", "expert_knockout", "router_swap", "expert_examples", "expert_information"]
)
def test_a_model_without_experts_gives_an_empty_frame(planted, name):
    plain = planted.plain()
    for trace in (plain, replace(plain, model=nn.Linear(1, 1))):
        frame = TABLES[name](trace)
        assert frame.empty
        assert tuple(frame.columns) == TABLES[name].columns


@pytest.fixture(scope="module")
def knockout(trace):
    return TABLES["expert_knockout"](trace).set_index(["router", "modality", "expert", "by", "group"]).sort_index()


def test_the_worth_of_each_expert_is_found(knockout, trace, planted):
    text = knockout.loc[("domain", "text")]
    by_domain = text.xs("domain", level="by")["value"].unstack()
    assert list(text.index.unique("by")) == ["all", "domain", "label", "modality"]
    assert by_domain["news"].to_numpy() == pytest.approx([0, 1, -0.25, 0], abs=1e-5)
    assert by_domain["film"].to_numpy() == pytest.approx([0, 0, 0, 0.5], abs=1e-5)
    share = (trace.examples["domain"] == "news").mean()
    everyone = text.xs("all", level="by")
    assert everyone["value"].to_numpy() == pytest.approx([0, share, -0.25 * share, 0.5 * (1 - share)], abs=1e-5)
    assert set(knockout["metric"]) == {"mae"}
    news = text.xs("news", level="group")
    assert (news["utterances"] == (trace.examples["domain"] == "news").sum()).all()
    assert news["gate"].to_numpy() == pytest.approx([0.1 / 3, 0.9, 0.1 / 3, 0.1 / 3], abs=1e-5)


@pytest.mark.parametrize("by", ["domain", "label", "modality"])
def test_groups_share_out_what_is_lost_over_all(knockout, by):
    text = knockout.loc[("domain", "text", 1)]
    groups = text.loc[by]
    assert len(groups) > 1
    assert groups["utterances"].sum() == text.loc[("all", "all"), "utterances"]
    assert np.average(groups["value"], weights=groups["utterances"]) == pytest.approx(text.loc[("all", "all"), "value"])


def test_groups_of_modalities_are_those_that_the_utterances_have(knockout, trace, planted):
    groups = knockout.loc[("domain", "text", 0, "modality"), "utterances"]
    assert groups.to_dict() == {"text+audio": (~trace.present("vision")).sum(), "text+audio+vision": trace.present("vision").sum()}
    complete = TABLES["expert_knockout"](planted.planted(60, absent=0.0))
    assert set(complete["by"]) == {"all", "domain", "label"}, "where all have the same there is nothing to tell apart"


def test_one_grouping_or_several(planted, trace):
    small = planted.planted(40)
    assert set(TABLES["expert_knockout"](small, by="label")["group"]) == {"negative", "neutral", "positive"}
    with pytest.raises(ValueError, match=r"speaker.*these exist: all, domain, label, modality"):
        TABLES["expert_knockout"](small, by=("all", "speaker"))


def test_intervals_hold_the_value_and_are_exact_where_nothing_varies(knockout):
    assert ((knockout["low"] <= knockout["value"] + 1e-5) & (knockout["value"] <= knockout["high"] + 1e-5)).all()
    everyone = knockout.loc[("domain", "text", 1, "all", "all")]
    assert 0 < everyone["low"] < everyone["value"] < everyone["high"] < 1
    alone = knockout.loc[("domain", "text", 1, "domain", "news")]
    assert (alone["low"], alone["high"]) == pytest.approx((1, 1), abs=1e-5)


def test_a_router_of_several_modalities_is_steered_in_each_and_in_all(knockout):
    assert set(knockout.loc["shared"].index.unique("modality")) == {"text", "audio", "vision", "joint"}
    shared = knockout.loc[("shared", "joint")].xs("all", level="by")
    assert (shared["value"] == 0).all()
    # it serves text (expert 0), audio (1) and vision (2, not always there)
    gates = shared["gate"].droplevel("group")
    assert gates[3] < gates[2] < gates[0] == pytest.approx(gates[1], abs=1e-5)
    assert gates.sum() == pytest.approx(1, abs=1e-5)


def test_knockout_of_classes(classes):
    frame = TABLES["expert_knockout"](classes).query("router == 'domain'")
    assert set(frame["metric"]) == {"error"}
    value = frame.set_index(["expert", "group"])["value"]
    assert (value[1, "news"], value[1, "film"], value[3, "film"], value[2, "all"]) == (1, 0, 1, 0)


def test_utterances_without_a_label_are_left_out(planted):
    trace = planted.planted(60)
    unknown = [replace(b, labels={"sentiment": torch.where(b.example < 20, torch.nan, b.y)}) for b in trace.batches]
    frame = TABLES["expert_knockout"](replace(trace, batches=tuple(unknown)))
    assert set(frame.query("by == 'all'")["utterances"]) == {40}
    assert np.isfinite(frame["value"]).all()


class Two(nn.Module):
    """Expert 0 knows domain 0 only, expert 1 alone is right on domain 1; the router (a real one) gives both their halves."""

    def __init__(self, experts: int = 2):
        super().__init__()
        self.router = Router(1, experts, kind="dense")

    def forward(self, batch):
        valid = torch.ones(len(batch), 1, dtype=torch.bool)
        logits, gates = self.router(torch.zeros(len(batch), 1), picked(batch.steered.get("mixture"), valid))
        answers = torch.stack([torch.where(batch.domain == 0, batch.y, batch.y + 4), batch.y], 1)[:, : self.router.experts]
        routing = {"mixture": Routing(logits[:, None], gates[:, None], valid)}
        return Output({"sentiment": (gates * answers).sum(1)}, torch.zeros(len(batch), 1), routing)


def test_only_the_expert_that_is_right_on_a_domain_is_missed_there(planted):
    bare = planted.given(np.zeros((80, 1)), np.arange(80) % 2)
    model = Two().train()
    trace = observe(model, bare.batches, spec=bare.spec)
    frame = TABLES["expert_knockout"](trace)
    value = frame.set_index(["expert", "group"])["value"]
    assert (value[1, "place 1"], value[1, "place 0"]) == (2, 0)  # the error rises from 2 to 4
    assert (value[0, "place 1"], value[0, "place 0"]) == (-2, 0)
    assert set(zip(frame["router"], frame["modality"], frame["gate"], strict=True)) == {("mixture", "joint", 0.5)}
    assert model.training


def test_a_single_expert_cannot_be_spared(planted):
    bare = planted.given(np.zeros((20, 1)), np.arange(20) % 2)
    trace = observe(Two(1), bare.batches, spec=bare.spec)
    for name in ("expert_knockout", "router_swap", "expert_information"):
        assert TABLES[name](trace).empty, name


@pytest.fixture(scope="module")
def derl():
    """A trace of an untrained DERL with two experts, and its batches."""
    data = load("synthetic:rows=200")
    torch.manual_seed(0)
    model = Derl(data.spec, Derl.Config(dim=8, heads=1, experts=2, hidden=8, layers=0)).eval()
    return observe(model, list(data.splits["test"].batches(16)), spec=data.spec)


def test_knockout_of_a_whole_model_is_what_steering_it_gives(derl):
    frame = TABLES["expert_knockout"](derl)
    names = set(zip(frame["router"], frame["modality"], strict=True))
    modalities = ("text", "audio", "vision")
    assert names == {*(("private", m) for m in modalities), *(("shared", m) for m in (*modalities, "joint"))}
    assert np.allclose(frame.groupby(["router", "modality", "by", "group"])["gate"].sum(), 1, atol=1e-5)
    assert frame["value"].abs().max() > 0
    for router, modality, keys in (("private", "text", ["private/text"]), ("shared", "joint", [f"shared/{m}" for m in modalities])):
        told = [without(o.routing, router if modality == "joint" else keys[0], 1) for o in derl.outputs]
        steered = [replace(b, steered=steer) for b, steer in zip(derl.batches, told, strict=True)]
        off = observe(derl.model, steered, spec=derl.spec)
        assert all((o.routing[key].gates[..., 1] == 0).all() for o in off.outputs for key in keys)
        lost = (off.examples["error"].abs() - derl.examples["error"].abs()).mean()
        row = frame.query("router == @router and modality == @modality and expert == 1 and by == 'all'")
        assert row["value"].item() == pytest.approx(lost, abs=1e-6)


def test_a_trace_of_steered_batches_stays_steered_elsewhere(derl):
    base = [replace(b, steered=without(o.routing, "private/audio", 0)) for b, o in zip(derl.batches, derl.outputs, strict=True)]
    trace = observe(derl.model, base, spec=derl.spec)
    frame = TABLES["expert_knockout"](trace, by="all").set_index(["router", "modality", "expert"])["value"]
    assert frame["private", "audio", 0] == 0, "it was off already"
    told = [{**b.steered, **without(o.routing, "private/text", 0)} for b, o in zip(base, trace.outputs, strict=True)]
    both = observe(derl.model, [replace(b, steered=steer) for b, steer in zip(base, told, strict=True)], spec=derl.spec)
    lost = (both.examples["error"].abs() - trace.examples["error"].abs()).mean()
    assert frame["private", "text", 0] == pytest.approx(lost, abs=1e-6) != 0
