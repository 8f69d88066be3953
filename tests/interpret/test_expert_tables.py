"""Do the tables about single experts say what each one reads and what it is worth?"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from msaviz.catalog import TABLES
from msaviz.data.load import load
from msaviz.interpret.expert_knockout import routers
from msaviz.interpret.expert_masks import expected_overlap
from msaviz.interpret.trace import observe
from msaviz.models.derl import Derl
from msaviz.nn.routers import Router
from msaviz.types import Output


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


@pytest.mark.parametrize("name", ["expert_masks", "gate_by_domain", "expert_knockout"])
def test_a_model_without_experts_gives_an_empty_frame(planted, name):
    plain = planted.plain()
    for trace in (plain, replace(plain, model=nn.Linear(1, 1))):
        frame = TABLES[name](trace)
        assert frame.empty
        assert tuple(frame.columns) == TABLES[name].columns


@pytest.fixture(scope="module")
def knockout(trace):
    return TABLES["expert_knockout"](trace).set_index(["router", "modality", "expert", "domain"])


def test_the_worth_of_each_expert_is_found(knockout, trace, planted):
    text = knockout.loc[("domain", "text")]
    by_domain = text["value"].unstack()
    assert list(text.index.unique("domain")) == ["all", "news", "film"]
    assert by_domain["news"].to_numpy() == pytest.approx([0, 1, -0.25, 0], abs=1e-5)
    assert by_domain["film"].to_numpy() == pytest.approx([0, 0, 0, 0.5], abs=1e-5)
    share = (trace.examples["domain"] == "news").mean()
    assert by_domain["all"].to_numpy() == pytest.approx([0, share, -0.25 * share, 0.5 * (1 - share)], abs=1e-5)
    assert set(knockout["metric"]) == {"mae"}
    assert (text["utterances"].unstack()["news"] == (trace.examples["domain"] == "news").sum()).all()
    assert text["gate"].unstack()["news"].to_numpy() == pytest.approx([0.1 / 3, 0.9, 0.1 / 3, 0.1 / 3], abs=1e-5)


def test_intervals_hold_the_value_and_are_exact_where_nothing_varies(knockout):
    assert ((knockout["low"] <= knockout["value"] + 1e-5) & (knockout["value"] <= knockout["high"] + 1e-5)).all()
    everyone = knockout.loc[("domain", "text", 1, "all")]
    assert 0 < everyone["low"] < everyone["value"] < everyone["high"] < 1
    alone = knockout.loc[("domain", "text", 1, "news")]
    assert (alone["low"], alone["high"]) == pytest.approx((1, 1), abs=1e-5)


def test_joint_routers_and_single_experts(knockout):
    assert set(knockout.index.unique("router")) == {"domain", "shared"}  # "lonely" has one expert
    shared = knockout.loc[("shared", "joint")]
    assert (shared["value"] == 0).all()
    # it serves text (expert 0), audio (1) and vision (2, not always there)
    gates = shared["gate"].unstack()["all"]
    assert gates[3] < gates[2] < gates[0] == pytest.approx(gates[1], abs=1e-5)
    assert gates.sum() == pytest.approx(1, abs=1e-5)


def test_knockout_of_classes(classes):
    frame = TABLES["expert_knockout"](classes).query("router == 'domain'")
    assert set(frame["metric"]) == {"error"}
    value = frame.set_index(["expert", "domain"])["value"]
    assert (value[1, "news"], value[1, "film"], value[3, "film"], value[2, "all"]) == (1, 0, 1, 0)


def test_utterances_without_a_label_are_left_out(planted):
    trace = planted.planted(60)
    unknown = [replace(b, labels={"sentiment": torch.where(b.example < 20, torch.nan, b.y)}) for b in trace.batches]
    frame = TABLES["expert_knockout"](replace(trace, batches=tuple(unknown)))
    assert set(frame.query("domain == 'all'")["utterances"]) == {40}
    assert np.isfinite(frame["value"]).all()


class Two(nn.Module):
    """Expert 0 knows domain 0 only, expert 1 alone is right on domain 1; the router (a real one) gives both their halves."""

    def __init__(self):
        super().__init__()
        self.router = Router(1, 2, kind="dense")

    def forward(self, batch):
        gates = self.router(torch.zeros(len(batch), 1))[1]
        answers = torch.stack([torch.where(batch.domain == 0, batch.y, batch.y + 4), batch.y], 1)
        return Output({"sentiment": (gates * answers).sum(1)}, torch.zeros(len(batch), 1))


def test_only_the_expert_that_is_right_on_a_domain_is_missed_there(planted):
    bare = planted.given(np.zeros((80, 1)), np.arange(80) % 2)
    model = Two().train()
    trace = observe(model, bare.batches, spec=bare.spec)
    frame = TABLES["expert_knockout"](trace)
    value = frame.set_index(["expert", "domain"])["value"]
    assert (value[1, "place 1"], value[1, "place 0"]) == (2, 0)  # the error rises from 2 to 4
    assert (value[0, "place 1"], value[0, "place 0"]) == (-2, 0)
    assert set(frame["router"]) == {"router"}
    assert frame["gate"].isna().all()  # the model tells no gates
    assert model.training
    assert model.router.off is None


def test_knockout_of_a_whole_model_restores_it():
    data = load("synthetic:rows=200")
    torch.manual_seed(0)
    model = Derl(data.spec, Derl.Config(dim=8, heads=1, experts=2, hidden=8, layers=0)).eval()
    batches = list(data.splits["test"].batches(16))
    trace = observe(model, batches, spec=data.spec)
    frame = TABLES["expert_knockout"](trace)
    names = set(zip(frame["router"], frame["modality"], strict=True))
    assert names == {("private", "text"), ("private", "audio"), ("private", "vision"), ("shared", "joint")}
    assert len(frame) == 4 * 2 * (1 + len(data.spec.domains))
    assert np.allclose(frame.groupby(["router", "modality", "domain"])["gate"].sum(), 1, atol=1e-5)
    assert frame["value"].abs().max() > 0
    again = observe(model, batches, spec=data.spec)
    assert np.array_equal(again.examples["prediction"], trace.examples["prediction"])
    with model.private["text"].router.without(1):
        off = observe(model, batches, spec=data.spec)
    assert all((o.routing["private/text"].gates[..., 1] == 0).all() for o in off.outputs)
    lost = (off.examples["error"].abs() - trace.examples["error"].abs()).mean()
    row = frame.query("router == 'private' and modality == 'text' and expert == 1 and domain == 'all'")
    assert row["value"].item() == pytest.approx(lost, abs=1e-6)


def test_names_of_routers():
    model = nn.ModuleDict({"model": nn.ModuleDict({"private": nn.ModuleDict({"text": nn.ModuleDict({"router": Router(2, 3)})})})})
    model["model"]["mixture"] = nn.ModuleDict({"router": Router(2, 2)})
    model["model"]["shared"] = nn.ModuleDict({"mixture": nn.ModuleDict({"router": Router(2, 2)})})
    model["router"] = Router(2, 4)
    model["model"]["single"] = nn.ModuleDict({"router": Router(2, 1)})
    found = {(r.router, r.modality): r.module.experts for r in routers(model, ("text", "audio"))}
    assert found == {("private", "text"): 3, ("mixture", "joint"): 2, ("router", "joint"): 4, ("shared", "joint"): 2}
