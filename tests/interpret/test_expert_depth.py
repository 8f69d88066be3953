"""Do the tables about routers in depth find the decisions, words, epochs, knowledge and ways that were planted?"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from msaviz.catalog import TABLES
from msaviz.data.load import load
from msaviz.interpret.expert_information import mutual_information
from msaviz.interpret.trace import observe
from msaviz.models.derl import Derl
from msaviz.models.haemsa import Haemsa
from msaviz.models.midg import Midg
from msaviz.types import Routing

# -- other gates --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def swap(trace):
    return TABLES["router_swap"](trace).set_index(["router", "modality", "swap"]).sort_index()


def test_swapped_gates_cost_what_was_planted(swap, trace):
    news = (trace.examples["domain"] == "news").mean()
    low, high = 0.1 / 3, 0.9
    value = swap["value"]
    assert value["domain", "text", "uniform"] == pytest.approx(high - 0.25, abs=1e-5)
    # the mean gates of news's expert are those of a share `news` of the utterances
    mean = news * high + (1 - news) * low, news * low + (1 - news) * high
    assert value["domain", "text", "mean"] == pytest.approx(high - news * mean[0] - (1 - news) * mean[1], abs=1e-5)
    # another's gates are wrong where it is of the other domain; two ways to draw one of each, out of n (n - 1)
    wrong = 2 * news * (1 - news) * len(trace.examples) / (len(trace.examples) - 1)
    assert value["domain", "text", "shuffled"] == pytest.approx(wrong * (high - low), abs=0.06)
    assert value["shared", "text", "other modality: audio"] == pytest.approx(high - low, abs=1e-5)


def test_decisions_that_nobody_needs_cost_nothing(swap):
    idle = swap.drop([("domain", "text"), ("shared", "text")])
    assert (idle["value"] == 0).all()
    assert (swap.loc[("shared", "text", ["mean", "shuffled"]), "value"] == 0).all(), "it always decides the same"
    assert len(swap.loc["shared"]) == 3 * (3 + 2)
    assert set(swap.loc["domain"].index.unique("swap")) == {"uniform", "mean", "shuffled"}


def test_only_utterances_with_a_decision_count(swap, trace):
    assert set(swap.loc[("shared", "vision"), "utterances"]) == {trace.present("vision").sum()}
    assert set(swap.loc[("shared", "text"), "utterances"]) == {len(trace.examples)}


def test_swap_bounds_repeat_with_the_seed(planted, swap):
    assert ((swap["low"] <= swap["value"] + 1e-9) & (swap["value"] <= swap["high"] + 1e-9)).all()
    small = planted.planted(60)
    assert TABLES["router_swap"](small, seed=3).equals(TABLES["router_swap"](small, seed=3))


def test_gates_over_sets_go_only_where_all_members_are(planted):
    data = load("synthetic:rows=200")
    torch.manual_seed(0)
    model = Haemsa(data.spec, Haemsa.Config(dim=8, heads=1, experts=2, hidden=8, layers=0)).eval()
    batches = [replace(b, mask={**b.mask, "vision": b.mask["vision"] & False}) for b in data.splits["test"].batches(16)]
    trace = observe(model, batches, spec=data.spec)
    seen = []
    model.register_forward_hook(lambda _module, _inputs, output: seen.append(output.routing["global"].gates[:, 0]))
    frame = TABLES["router_swap"](trace, shuffles=1).query("router == 'global'")
    assert list(frame["swap"]) == ["uniform", "mean", "shuffled"]
    gates = torch.cat(seen)
    absent = ["vision" in name for name in trace.outputs[0].contributors]
    assert (gates[:, absent] == 0).all()
    assert torch.allclose(gates.sum(1), torch.ones(len(gates)), atol=1e-5)


# -- examples -----------------------------------------------------------------------------------------------------------


def spoken(planted, rows=60):
    """The planted trace with words: step i of utterance n says "n.i"."""
    trace = planted.planted(rows)
    lengths = torch.cat([b.mask["text"].sum(1) for b in trace.batches]).tolist()
    words = tuple(tuple(f"{n}.{i}" for i in range(length)) for n, length in enumerate(lengths))
    return replace(trace, tokens=words, texts=tuple(" ".join(w) for w in words))


def with_peak(trace, router, row, step, expert):
    """One token of one utterance gets a gate of 1 for this expert."""
    outputs, start = [], 0
    for output in trace.outputs:
        routing = output.routing[router]
        size = len(routing.gates)
        if start <= row < start + size:
            gates = routing.gates.clone()
            gates[row - start, step] = torch.nn.functional.one_hot(torch.tensor(expert), gates.shape[-1]).float()
            output = replace(output, routing={**output.routing, router: replace(routing, gates=gates)})
        outputs.append(output)
        start += size
    return replace(trace, outputs=tuple(outputs))


def test_the_token_with_the_largest_gate_comes_first_with_its_word(planted):
    trace = with_peak(spoken(planted), "shared/text", row=53, step=planted.SUMMARIES + 4, expert=3)
    frame = TABLES["expert_examples"](trace, top=3).query("router == 'shared' and modality == 'text'")
    assert frame.groupby("expert")["rank"].apply(list).tolist() == [[1, 2, 3]] * planted.EXPERTS
    best = frame.query("expert == 3 and rank == 1").iloc[0]
    assert (best["example"], best["time"], best["token"], best["gate"]) == (53, 4, "53.4", 1)
    assert best["text"].startswith("53.0 53.1")
    assert best["share"] < 0.3
    row = trace.examples.iloc[53]
    assert (best["label"], best["prediction"]) == (row["label"], row["prediction"])
    assert (frame.groupby("expert")["example"].nunique() == 3).all(), "an utterance appears once"
    assert (np.diff(frame.query("expert == 3")["gate"]) <= 1e-6).all()


def test_summary_tokens_are_no_place(planted):
    trace = with_peak(spoken(planted), "shared/text", row=7, step=0, expert=3)
    frame = TABLES["expert_examples"](trace).query("router == 'shared' and modality == 'text'")
    assert (frame["time"] >= 0).all()
    assert frame["gate"].max() < 0.95


def test_words_only_where_the_text_was_routed(planted):
    frame = TABLES["expert_examples"](spoken(planted))
    assert (frame.query("modality == 'audio'")["token"] == "").all()
    assert (frame.query("modality == 'text'")["token"] != "").all()
    bare = TABLES["expert_examples"](planted.planted(60))
    assert set(bare["text"]) == set(bare["token"]) == {""}
    assert len(bare) == len(frame)


def test_a_window_says_all_its_tokens():
    data = load("synthetic:rows=200")
    torch.manual_seed(0)
    model = Derl(data.spec, Derl.Config(dim=8, heads=1, experts=2, hidden=8, layers=0, frames=3, summary=1)).eval()
    part = data.splits["test"]
    trace = observe(model, list(part.batches(16)), spec=data.spec)
    trace = replace(trace, **data.behind("test", trace.examples["example"].tolist()))
    frame = TABLES["expert_examples"](trace).query("router == 'private' and modality == 'text'")
    assert len(frame) == 2 * 5
    for row in frame.itertuples():
        words = part.tokens(row.example)
        width = -(-len(words) // 3)  # three windows
        assert row.time % width == 0
        assert row.token.split() == words[row.time : row.time + width]
    assert frame["token"].str.count(" ").max() > 0


def test_routers_of_utterances_name_the_class(planted):
    gates = np.eye(2)[np.arange(9) % 2] * 0.5 + 0.25
    gates[4] = (0.9, 0.1)
    trace = planted.given(np.zeros((9, 1)), np.zeros(9), gates=gates)
    best = TABLES["expert_examples"](trace, top=1)
    assert list(best["time"]) == [-1, -1]
    assert set(best["token"]) == {""}
    assert best["example"][0] == 4
    assert np.allclose(best["gate"], best["share"])
    named = TABLES["expert_examples"](planted.planted(30, task=planted.CLASSES))
    assert set(named["label"]) <= set(planted.CLASSES.classes)


# -- epochs -------------------------------------------------------------------------------------------------------------


def test_loads_and_switches_over_the_epochs(planted):
    first = planted.planted(60)
    swapped = [replace(o, routing={**o.routing, "domain/text": turned(o.routing["domain/text"])}) for o in first.outputs]
    frame = TABLES["routing_epochs"]({5: replace(first, outputs=tuple(swapped)), 2: first})
    assert list(frame["epoch"].unique()) == [2, 5]
    switched = frame.groupby(["epoch", "router", "modality"])["switched"].first()
    assert switched[2].isna().all()
    assert switched[5, "domain", "text"] == 1
    assert (switched[5].drop(("domain", "text")) == 0).all()
    assert np.allclose(frame.groupby(["epoch", "router", "modality"])["load"].sum(), 1)
    assert ((frame["low"] <= frame["load"] + 1e-6) & (frame["load"] <= frame["high"] + 1e-6)).all()
    load = frame.query("router == 'domain'").set_index(["epoch", "expert"])["load"]
    assert load[2, 1] == pytest.approx(load[5, 2])  # every expert's work went to the next one
    usage = TABLES["router_health"](first).set_index(["router", "modality", "metric"])["value"]
    assert 4 * load[2].max() == pytest.approx(usage["domain", "text", "load_ratio"])


def turned(routing: Routing) -> Routing:
    return replace(routing, gates=routing.gates.roll(1, -1))


def test_epochs_of_other_utterances_are_refused(planted):
    with pytest.raises(ValueError, match=r"same utterances.*60 of split 'test' at epoch 1, 40 of split 'test' at epoch 2"):
        TABLES["routing_epochs"]({1: planted.planted(60), 2: planted.planted(40)})
    assert TABLES["routing_epochs"]({1: planted.plain(), 2: planted.plain()}).empty


# -- information --------------------------------------------------------------------------------------------------------


def test_mutual_information_formula():
    assert mutual_information(np.eye(4)) == pytest.approx(np.log(4))
    assert mutual_information(np.outer([0.2, 0.8], [0.5, 0.3, 0.2])) == pytest.approx(0, abs=1e-12)


def routed_by(planted, codes, experts, **more):
    """A joint router that sends utterance i to expert codes[i], of utterances of three domains in turn."""
    rows = len(codes)
    return planted.given(np.zeros((rows, 1)), np.arange(rows) % 3, gates=np.eye(experts)[codes], **more)


def test_a_router_by_domain_knows_log_3(planted):
    found = TABLES["expert_information"](routed_by(planted, np.arange(90) % 3, 3)).set_index("variable")
    assert found.loc["domain", "value"] == pytest.approx(np.log(3))
    assert found.loc["domain", "p"] == pytest.approx(1 / 301)
    assert found.loc["domain", "chance"] < found.loc["domain", "high"] < 0.15
    assert list(found.index) == ["domain"], "without labels and times there is nothing else to ask"


def test_a_router_by_label_knows_the_label(planted):
    group = np.arange(90) // 30  # crosses the domains
    found = TABLES["expert_information"](routed_by(planted, group, 3, label=2.0 * group - 2)).set_index("variable")
    assert found.loc["label", "value"] == pytest.approx(np.log(3))
    assert found.loc["label", "p"] < 0.01
    assert found.loc["domain", "value"] == pytest.approx(0, abs=1e-9)
    assert found.loc["domain", "p"] > 0.5


def test_a_router_that_knows_nothing_is_not_said_to_know(planted):
    g = np.random.default_rng(0)
    p = [TABLES["expert_information"](routed_by(planted, g.integers(0, 3, 90), 3), permutations=100)["p"].item() for _ in range(40)]
    assert 0.2 < np.mean(p) < 0.8
    assert np.mean(np.array(p) < 0.05) < 0.2
    even = planted.given(np.zeros((90, 1)), np.arange(90) % 3, gates=np.full((90, 3), 1 / 3))
    assert TABLES["expert_information"](even)["p"].item() == 1


@pytest.fixture(scope="module")
def information(trace):
    return TABLES["expert_information"](trace).set_index(["router", "modality", "variable"])


def test_planted_knowledge_is_found_and_nothing_else(information, trace, planted):
    sure = information[information["p"] < 0.01].index
    assert {("shared", "joint", "modality"), ("domain", "text", "domain"), ("time", "text", "time")} <= set(sure)
    assert [key for key in sure if key[0] == "idle" or (key[0] == "shared" and key[2] != "modality")] == []
    assert ((information["low"] <= information["chance"] + 1e-9) & (information["chance"] <= information["high"] + 1e-9)).all()
    # the modality: three rows of gates, .9 for its own expert
    rows = planted.gates_of(torch.tensor([[0], [1], [2]]))[:, 0].double().numpy()
    assert information.loc[("shared", "joint", "modality"), "value"] == pytest.approx(mutual_information(rows), abs=1e-4)


def test_time_that_decides_the_expert_is_known_to_the_last_nat(planted):
    trace = planted.planted(60)
    outputs = []
    for output, batch in zip(trace.outputs, trace.batches, strict=True):
        full = torch.ones(len(batch), planted.STEPS, dtype=torch.bool)
        time = torch.arange(planted.STEPS).expand(len(batch), -1)
        gates = torch.nn.functional.one_hot((time >= planted.STEPS // 2).long(), 2).float()
        outputs.append(replace(output, routing={"clock/text": Routing(gates, gates, full, "text", time)}))
    found = TABLES["expert_information"](replace(trace, outputs=tuple(outputs))).set_index("variable")
    assert found.loc["time", "value"] == pytest.approx(np.log(2), abs=1e-9)
    assert found.loc["time", "p"] < 0.01
    assert found.loc["domain", "p"] == found.loc["label", "p"] == 1, "every utterance is routed alike"


def test_experts_of_their_own_say_nothing_by_number(planted):
    trace = planted.planted(60)
    renamed = [replace(o, routing={k.replace("shared", "private"): r for k, r in o.routing.items()}) for o in trace.outputs]
    private = replace(trace, outputs=tuple(renamed))
    assert "modality" not in set(TABLES["expert_information"](private)["variable"])
    assert "modality" in set(TABLES["expert_information"](private, separate=())["variable"])
    assert "joint" not in set(TABLES["expert_knockout"](private)["modality"])


# -- ways and maps ------------------------------------------------------------------------------------------------------


def whole(model, **options):
    data = load("synthetic:rows=200")
    torch.manual_seed(0)
    net = model(data.spec, model.Config(dim=8, **options)).eval()
    batches = list(data.splits["test"].batches(16))
    cut = [replace(b, mask={**b.mask, "audio": b.mask["audio"] & (b.example % 4 > 0)[:, None]}) for b in batches]
    return observe(net, cut, spec=data.spec)


@pytest.fixture(scope="module", params=["derl", "haemsa", "haemsa, flat", "midg", "midg without masks", "planted"])
def way(request, trace):
    small = {"heads": 1, "experts": 2, "hidden": 8}
    made = {
        "derl": lambda: whole(Derl, **small, layers=0),
        "haemsa": lambda: whole(Haemsa, **small, layers=0),
        "haemsa, flat": lambda: whole(Haemsa, **small, layers=0, flat=True),
        "midg": lambda: whole(Midg, experts=2),
        "midg without masks": lambda: whole(Midg, experts=2, masks=False),
        "planted": lambda: trace,
    }[request.param]()
    return made, TABLES["prediction_path"](made)


LEVEL = {"expert": 1, "contributor": 2, "prediction": 3}


def test_what_enters_a_node_leaves_it(way):
    trace, frame = way
    into = frame.groupby([frame["kind"].map(LEVEL), "target"])["value"].sum()
    out = frame.groupby(["stage", "source"])["value"].sum()
    assert (frame["value"] > 0).all()
    assert (frame["stage"] < frame["kind"].map(LEVEL)).all()
    for level in (1, 2):
        if level in into.index:
            assert into[level].sort_index().to_dict() == pytest.approx(out[level].sort_index().to_dict())
    assert out[0].sum() == pytest.approx(into[3, "prediction"]) == pytest.approx(1, abs=1e-5)
    assert set(out[0].index) == set(trace.spec.modalities)
    assert "prediction" not in out.index.unique("source")


def test_flows_are_importance_times_gates(trace):
    frame = TABLES["prediction_path"](trace).set_index(["source", "target"])["value"]
    importance = np.concatenate([o.importance.double().numpy() for o in trace.outputs])
    shared = trace.outputs[0].contributors.index("shared/vision")
    assert frame["vision", "shared/vision · expert 2"] == pytest.approx(0.9 * importance[:, shared].mean(), rel=1e-4)
    assert frame["text", "private/text"] == pytest.approx(importance[:, 0].mean(), rel=1e-5), "it has no router here"
    assert frame["private/text", "prediction"] == pytest.approx(importance[:, 0].mean(), rel=1e-5)


def test_a_set_counts_evenly_for_its_members():
    trace = whole(Haemsa, heads=1, experts=2, hidden=8, layers=0)
    frame = TABLES["prediction_path"](trace)
    names = trace.outputs[0].contributors
    importance = np.concatenate([o.importance.double().numpy() for o in trace.outputs]).mean(0)
    assert "local/text · expert 0" in set(frame.query("target == 'text+audio'")["source"])
    shares = {m: sum(w / len(n.split("+")) for n, w in zip(names, importance, strict=True) if m in n.split("+")) for m in ("text", "audio")}
    modality = frame.query("stage == 0").groupby("source")["value"].sum()
    assert modality[list(shares)].to_dict() == pytest.approx(shares, abs=1e-6)
    shown = TABLES["importance_map"](trace).groupby("modality")["value"].mean()
    assert shown[list(shares)].to_dict() == pytest.approx(shares, abs=1e-6)


def test_masks_say_where_an_expert_reads(planted):
    """Expert 0 reads two coordinates of text, one of audio; expert 1 none, so that it reads all alike."""
    trace = planted.given(np.zeros((8, 1)), np.zeros(8), gates=np.tile([0.75, 0.25], (8, 1)))
    masks = {"text": torch.tensor([[1, 1, 0], [0, 0, 0]]).bool(), "audio": torch.tensor([[0, 1, 0], [0, 0, 0]]).bool()}
    masks["vision"] = torch.zeros(2, 3).bool()
    trace = replace(trace, outputs=(replace(trace.outputs[0], masks=masks),))
    frame = TABLES["prediction_path"](trace).query("stage == 0").set_index(["source", "target"])["value"]
    expected = {("text", 0): 0.5, ("audio", 0): 0.25, **{(m, 1): 0.25 / 3 for m in planted.MODALITIES}}
    assert frame.to_dict() == pytest.approx({(m, f"mixture · expert {e}"): v for (m, e), v in expected.items()})


def test_no_way_without_importance_or_router(planted):
    assert TABLES["prediction_path"](planted.plain()).empty
    assert TABLES["importance_map"](planted.plain()).empty
    silent = planted.planted(30)
    alone = replace(silent, outputs=tuple(replace(o, routing={}) for o in silent.outputs))
    assert set(TABLES["prediction_path"](alone)["kind"]) == {"contributor", "prediction"}


def test_importance_by_modality_of_single_utterances(trace):
    frame = TABLES["importance_map"](trace)
    assert np.allclose(frame.groupby("example")["value"].sum(), 1)
    wide = frame.pivot(index="example", columns="modality", values="value")
    there = trace.present("vision")
    assert np.allclose(wide.loc[there, ["text", "audio", "vision"]], [0.6, 0.2, 0.2])
    assert np.allclose(wide.loc[~there, ["text", "audio", "vision"]], [0.75, 0.25, 0])
    about = frame.drop_duplicates("example").set_index("example")
    same = trace.examples.set_index("example").loc[about.index]
    assert about[["domain", "label", "error"]].equals(same[["domain", "label", "error"]])


def test_utterances_without_anything_have_no_place_on_the_map(planted):
    trace = planted.planted(30, size=30)
    importance = trace.outputs[0].importance.clone()
    importance[:5] = 0
    frame = TABLES["importance_map"](replace(trace, outputs=(replace(trace.outputs[0], importance=importance),)))
    assert sorted(frame["example"].unique()) == list(range(5, 30))
