"""Do the routing tables find the routing that was planted?"""

import numpy as np
import pytest

from msaviz.catalog import TABLES


@pytest.fixture(scope="module")
def usage(trace):
    return TABLES["expert_usage"](trace)


@pytest.fixture(scope="module")
def health(trace):
    return TABLES["router_health"](trace).set_index(["router", "modality", "metric"])


def favourite(usage, router, modality="text", by="all"):
    part = usage.query("router == @router and modality == @modality and by == @by and metric == 'gate'")
    return part.loc[part.groupby("group", sort=False)["value"].idxmax()].set_index("group")["expert"].to_dict()


def test_shares_sum_to_one(usage):
    sums = usage[usage["metric"].isin(["gate", "top"])].groupby(["router", "modality", "by", "group", "metric"])["value"].sum()
    assert np.allclose(sums, 1)
    assert usage["value"].between(0, 1).all()


def test_planted_experts_are_found(usage):
    assert [favourite(usage, "shared", m)["all"] for m in ("text", "audio", "vision")] == [0, 1, 2]
    assert favourite(usage, "domain", by="domain") == {"news": 1, "film": 3}
    times = favourite(usage, "time", by="time")
    assert times["0–10 %"] == times["30–40 %"] == 0
    assert times["60–70 %"] == times["90–100 %"] == 2
    idle = usage.query("router == 'idle' and by == 'all' and metric == 'gate'")["value"]
    assert np.allclose(idle, 0.25)


def test_padding_and_absent_modalities_route_nothing(trace, usage):
    steps = {m: sum(int(b.mask[m].sum()) + 2 * int(b.present(m).sum()) for b in trace.batches) for m in ("text", "vision")}
    for m, count in steps.items():
        rows = usage[(usage["router"] == "shared") & (usage["modality"] == m) & (usage["by"] == "all")]
        assert set(rows["tokens"]) == {count}
    assert (
        usage.query("router == 'shared' and by == 'time' and modality == 'text' and metric == 'top' and expert == 0")["tokens"].sum()
        == steps["text"]
    )


def test_usage_does_not_depend_on_batching(planted, usage):
    again = TABLES["expert_usage"](planted.planted(400, size=7))
    assert np.allclose(again["value"], usage["value"], atol=1e-6)


def test_selected_counts_the_chosen_experts(planted):
    from dataclasses import replace

    trace = planted.planted(40)
    sparse = [
        replace(o, routing={k: replace(r, gates=(r.gates * (r.gates > 0.5)).clamp(max=1)) for k, r in o.routing.items()})
        for o in trace.outputs
    ]
    frame = TABLES["expert_usage"](replace(trace, outputs=tuple(sparse)), by="all")
    chosen = frame.query("router == 'shared' and modality == 'audio' and metric == 'selected'").set_index("expert")["value"]
    assert chosen.to_dict() == {0: 0, 1: 1, 2: 0, 3: 0}
    health = TABLES["router_health"](replace(trace, outputs=tuple(sparse))).set_index(["router", "modality", "metric"])["value"]
    assert health["shared", "audio", "dead_experts"] == 3
    assert health["shared", "audio", "load_ratio"] == pytest.approx(4)


def test_one_grouping_or_several(trace):
    assert set(TABLES["expert_usage"](trace, by="label")["group"]) == {"negative", "neutral", "positive"}
    with pytest.raises(ValueError, match=r"speaker.*these exist: all, domain, label, time"):
        TABLES["expert_usage"](trace, by="speaker")


def test_balance_measures(health):
    value = health["value"]
    for router in ("shared", "domain", "time"):
        assert value[router, "text", "entropy"] == pytest.approx(-0.9 * np.log(0.9) - 0.1 * np.log(0.1 / 3), rel=1e-4)
    assert value["idle", "text", "token_effective"] == pytest.approx(1, abs=1e-5)
    assert value["idle", "text", "load_ratio"] == pytest.approx(1, abs=1e-5)
    assert value["shared", "text", "load_ratio"] == pytest.approx(3.6, abs=1e-4)
    assert (value.xs("dead_experts", level="metric") == 0).all()


def test_importance(planted, trace):
    frame = TABLES["fusion_importance"](trace)
    assert np.allclose(frame.groupby("domain")["value"].sum(), 1)
    everything = frame[frame["domain"] == "all"].set_index("expert")
    assert everything["value"].idxmax() == "private/text"
    assert everything.loc["shared/vision", "modality"] == "vision"
    importance = np.concatenate([o.importance[:, 0].numpy() for o in trace.outputs])
    assert everything.loc["private/text", "standard_error"] == pytest.approx(importance.std(ddof=1) / np.sqrt(len(importance)), rel=1e-5)
    rates = TABLES["fusion_importance"]([(r, planted.planted(120, absent=r)) for r in (0.0, 0.5, 1.0)])
    vision = rates.query("expert == 'private/vision' and domain == 'all'").set_index("rate")["value"]
    assert vision[0.0] == pytest.approx(0.1)
    assert vision[1.0] == 0
    assert vision.is_monotonic_decreasing
    assert TABLES["fusion_importance"]({0.0: trace}).equals(TABLES["fusion_importance"]([(0.0, trace)]))
