"""Do the tables of attributions give what is known in closed form? Linear models, products, and experts whose parts can be written down."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from msaviz.catalog import TABLES
from msaviz.interpret.attribution import Attribution, Steps, attribute
from msaviz.interpret.trace import Trace, observe
from msaviz.types import Batch, Output, Routing, Spec, Task

WIDTHS = {"text": 3, "audio": 2, "vision": 2}
DOMAINS = ("news", "film")
WORDS = {"good": 1.0, "bad": -1.0, "the": 0.0, "odd": 0.0}
WEIGHTS = {"text": torch.tensor([1.0, 0.5, 0.0]), "audio": torch.tensor([2.0, 0.0]), "vision": torch.zeros(2)}
ROWS, STEPS = 48, 7


class Linear(nn.Module):
    """The sum of w.x over all valid steps, plus 1; vision counts for nothing."""

    def parts(self, batch: Batch) -> dict[str, torch.Tensor]:
        return {m: (batch.x[m] @ WEIGHTS[m] * batch.mask[m]).sum(1) for m in WIDTHS}

    def number(self, batch: Batch) -> torch.Tensor:
        return 1 + torch.stack(list(self.parts(batch).values())).sum(0)

    def forward(self, batch: Batch) -> Output:
        found = self.number(batch)
        return Output({"sentiment": found}, torch.zeros(len(found), 1))


class Product(Linear):
    """Text times audio: nothing without either."""

    def number(self, batch: Batch) -> torch.Tensor:
        parts = self.parts(batch)
        return parts["text"] * parts["audio"]


class Repeating(Linear):
    """Text and audio both know the label; one of them is enough."""

    def number(self, batch: Batch) -> torch.Tensor:
        there = batch.present("text") | batch.present("audio")
        return torch.where(there, torch.where(batch.example % 4 < 2, 1.5, -1.5), 0)


SAYS = {"text": torch.tensor([1.0, -2.0, 0.0]), "audio": torch.tensor([0.5, 0.0, 4.0])}
GATES = torch.tensor([0.5, 0.25, 0.25])


class Experts(nn.Module):
    """Two pools of one router: expert e writes its gate times c_e times the first feature of the modality."""

    def forward(self, batch: Batch) -> Output:
        routing = {}
        for m, says in SAYS.items():
            steer, present = batch.steered.get(f"pool/{m}"), batch.present(m)
            gates = steer.gates if steer is not None and steer.gates is not None else GATES.expand(len(batch.domain), 1, 3)
            wrote = (gates * says).sum(-1, keepdim=True) * (batch.x[m][..., 0] * batch.mask[m]).sum(1)[:, None, None]
            routing[f"pool/{m}"] = Routing(gates, gates, present[:, None], m, wrote=wrote)
        number = torch.stack([r.wrote[:, 0, 0] for r in routing.values()]).sum(0)
        return Output({"sentiment": number}, torch.zeros(len(number), 1), routing)


def batches() -> tuple[tuple[Batch, ...], tuple[tuple[str, ...], ...]]:
    """Words good, bad, the and odd with values of their own; audio is silent in news; vision is missing in every sixth row."""
    g = torch.Generator().manual_seed(0)
    lengths = torch.randint(3, STEPS + 1, (ROWS,), generator=g)
    drawn = torch.randint(len(WORDS), (ROWS, STEPS), generator=g)
    x = {m: torch.randn(ROWS, STEPS, width, generator=g) for m, width in WIDTHS.items()}
    domain = torch.arange(ROWS) % 2
    x["text"][..., 0] = torch.tensor(list(WORDS.values()))[drawn]
    x["text"][..., 1] = torch.where(drawn == 3, x["text"][..., 1], 0)  # "odd" differs from time to time
    x["audio"] = x["audio"] * domain[:, None, None]
    mask = dict.fromkeys(WIDTHS, torch.arange(STEPS) < lengths[:, None])
    mask["vision"] = mask["vision"] & (torch.arange(ROWS) % 6 > 0)[:, None]
    whole = Batch(x, mask, {"sentiment": torch.zeros(ROWS)}, domain, 100 + torch.arange(ROWS))
    said = tuple(tuple(list(WORDS)[w] for w in row[:length]) for row, length in zip(drawn.tolist(), lengths.tolist(), strict=True))
    return tuple(whole.map(lambda tensor, start=start: tensor[start : start + 20]) for start in range(0, ROWS, 20)), said


SPEC = Spec(widths=WIDTHS, tasks={"sentiment": Task()}, domains=DOMAINS)


def traced(model: nn.Module) -> Trace:
    read, said = batches()
    trace = observe(model, read, spec=SPEC, run="linear")
    evidence = {"text": tuple(np.array([word in ("good", "bad") for word in words]) for words in said)}
    return replace(trace, texts=tuple(" ".join(words) for words in said), tokens=said, evidence=evidence)


@pytest.fixture(scope="module")
def trace():
    return traced(Linear())


@pytest.fixture(scope="module")
def subject(trace):
    return {
        "IG": attribute(trace, steps=4),
        "ablation": attribute(trace, "feature_ablation", baseline="missing", routing="live"),
        "features": attribute(trace, "feature_ablation", over="features"),
    }


def brought(trace: Trace) -> dict[str, list[np.ndarray]]:
    """Modality -> of each utterance Float[t w], w times x of its valid steps."""
    found = {}
    for m, w in WEIGHTS.items():
        found[m] = [(b.x[m][i] * w)[b.mask[m][i]].double().numpy() for b in trace.batches for i in range(len(b))]
    return found


def test_steps_bring_what_they_say(trace, subject):
    frame = TABLES["token_attribution"](subject, examples=[107, 101])
    assert list(frame["method"].unique()) == ["IG", "ablation"]  # features have no steps
    truth = brought(trace)
    for (method, example, m), part in frame.groupby(["method", "example", "modality"]):
        np.testing.assert_allclose(part["value"], truth[m][example - 100].sum(1), atol=1e-5, err_msg=f"{method} {example} {m}")
        assert list(part["time"]) == list(range(len(part)))
    assert list(frame["example"].unique()) == [107, 101]
    words = frame[frame["modality"] == "text"]
    assert list(words.query("method == 'IG' and example == 107")["token"]) == list(trace.tokens[7])
    assert set(words.loc[words["token"].isin(["good", "bad"]), "evidence"]) == {"yes"}
    assert set(words.loc[words["token"] == "the", "evidence"]) <= {"no"}
    assert set(frame.loc[frame["modality"] != "text", "evidence"]) == {""}
    assert set(frame.loc[frame["modality"] != "text", "token"]) == {""}
    assert set(frame.query("method == 'ablation'")["baseline"]) == {"missing"}
    assert set(frame.query("method == 'ablation'")["routing"]) == {"live"}


def test_examples_span_the_predictions(trace, subject):
    frame = TABLES["token_attribution"](subject, count=5)
    predictions = frame.drop_duplicates("example")["prediction"]
    assert len(predictions) == 5
    assert predictions.is_monotonic_increasing
    truth = trace.examples["prediction"]
    assert (predictions.iloc[0], predictions.iloc[-1]) == (truth.min(), truth.max())
    assert frame.groupby("method")["example"].nunique().eq(5).all()
    with pytest.raises(ValueError, match=r"no examples \[7\].*48 from 100 to 147"):
        TABLES["token_attribution"](subject, examples=[7])


def test_classes_have_their_names(trace, subject):
    task = Task("classes", classes=("sad", "glad"))
    outputs = tuple(replace(o, predictions={"sentiment": torch.stack([0 * o.prediction, o.prediction], 1)}) for o in trace.outputs)
    labelled = tuple(replace(b, labels={"sentiment": torch.full((len(b),), -1)}) for b in trace.batches)
    named = Trace(replace(SPEC, tasks={"sentiment": task}), labelled, outputs)
    frame = TABLES["token_attribution"]({"IG": replace(subject["IG"], trace=named)})
    assert set(frame["prediction"]) == {"sad", "glad"}
    assert set(frame["label"]) == {""}
    assert set(frame["token"]) == set(frame["evidence"]) == {""}


def test_modalities_add_up(trace, subject):
    frame = TABLES["modality_attribution"](subject)
    truth = {m: np.array([one.sum() for one in parts]) for m, parts in brought(trace).items()}
    for (method, m), part in frame[frame["domain"] == "all"].groupby(["method", "modality"]):
        assert part["value"].item() == pytest.approx(truth[m].mean(), abs=1e-5), method
        assert part["size"].item() == pytest.approx(np.abs(truth[m]).mean(), abs=1e-5), method
    whole = frame[(frame["domain"] == "all") & (frame["method"] == "IG")]
    assert whole["value"].sum() == pytest.approx(trace.examples["prediction"].mean() - 1, abs=1e-5)
    assert np.allclose(frame.groupby(["method", "domain"])["share"].sum(), 1)
    assert (frame.loc[frame["modality"] == "vision", ["value", "size", "share", "low", "high"]] == 0).all(axis=None)
    silent = frame[(frame["domain"] == "news") & (frame["modality"] == "audio")]
    assert (silent["share"] == 0).all()
    assert (frame["low"] <= frame["share"]).all()
    assert (frame["share"] <= frame["high"]).all()
    sure = frame[(frame["domain"] == "all") & (frame["modality"] == "text")]
    assert (sure["high"] - sure["low"] > 0.02).all()
    assert dict(frame.groupby("domain")["utterances"].first()) == {"all": ROWS, "news": ROWS / 2, "film": ROWS / 2}


def test_one_domain_is_not_told_twice(trace, subject):
    news = tuple(replace(b, domain=torch.zeros_like(b.domain)) for b in trace.batches)
    frame = TABLES["modality_attribution"]({"IG": replace(subject["IG"], trace=replace(trace, batches=news))})
    assert set(frame["domain"]) == {"all"}


def test_nothing_attributed_has_no_share(trace, subject):
    nothing = replace(subject["IG"], steps={m: replace(s, value=0 * s.value) for m, s in subject["IG"].steps.items()})
    frame = TABLES["modality_attribution"]({"none": nothing})
    assert frame[["share", "low", "high"]].isna().all(axis=None)
    assert (frame["size"] == 0).all()


@pytest.mark.parametrize("label", ["IG", "features"])
def test_features_add_up_to_their_modality(trace, subject, label):
    frame = TABLES["feature_attribution"]({label: subject[label]})
    for m, parts in brought(trace).items():
        each = np.stack([one.sum(0) for one in parts])
        part = frame[frame["modality"] == m]
        np.testing.assert_allclose(part["value"], each.mean(0), atol=1e-5)
        np.testing.assert_allclose(part["size"], np.abs(each).mean(0), atol=1e-5)
        modality = TABLES["modality_attribution"]({label: subject[label]}).query("domain == 'all' and modality == @m")
        assert part["value"].sum() == pytest.approx(modality["value"].item(), abs=1e-5)
    assert frame.query("modality == 'text'")["rank"].tolist() == [1, 2, 3]
    assert frame.query("modality == 'audio'")["rank"].tolist() == [1, 2]
    clear = frame[frame["size"] > 0.01]
    assert ((clear["low"] < clear["size"]) & (clear["size"] < clear["high"])).all()
    silent = frame[(frame["modality"] == "vision") | (frame["feature"] > 1) | ((frame["modality"] == "audio") & (frame["feature"] == 1))]
    assert (silent[["size", "low", "high"]] == 0).all(axis=None)


def test_hiding_steps_says_nothing_of_features(subject):
    assert TABLES["feature_attribution"]({"ablation": subject["ablation"]}).empty


def test_words_mean_what_they_say(trace, subject):
    frame = TABLES["word_attribution"]({"IG": subject["IG"]})
    assert frame["value"].is_monotonic_decreasing
    words = frame.set_index("token")
    for word in ("good", "bad", "the"):
        assert words.loc[word, ["value", "low", "high"]].to_numpy(float) == pytest.approx(WORDS[word], abs=1e-5)
        assert words.loc[word, "count"] == sum(said.count(word) for said in trace.tokens)
        assert words.loc[word, "utterances"] == sum(word in said for said in trace.tokens)
    assert words.loc["odd", "low"] < words.loc["odd", "value"] < words.loc["odd", "high"]


def repeated(values: np.ndarray, times: int) -> Attribution:
    """Every utterance says "so" `times` times, each with the utterance's own value; the first says "once"."""
    n = len(values)
    batch = Batch(
        {"text": torch.zeros(n, 1, 1)}, {"text": torch.ones(n, 1).bool()}, {"s": torch.zeros(n)}, torch.zeros(n).long(), torch.arange(n)
    )
    outputs = (Output({"s": torch.zeros(n)}, torch.zeros(n, 1)),)
    tokens = (("so",) * times + ("once",), *[("so",) * times for _ in range(n - 1)])
    trace = Trace(Spec(widths={"text": 1}, tasks={"s": Task()}), (batch,), outputs, tokens=tokens)
    row, time = np.r_[np.repeat(np.arange(n), times), 0], np.r_[np.tile(np.arange(times), n), times]
    steps = Steps(np.r_[np.repeat(values, times), 3.0], row, time)
    return Attribution(trace, "integrated_gradients", "zero", "frozen", np.zeros(n), np.zeros(n), {"text": steps})


def test_a_word_said_again_is_no_new_evidence():
    values = np.random.default_rng(0).normal(size=100)
    once, often = (TABLES["word_attribution"]({"x": repeated(values, k)}, least=2, resamples=1000).iloc[0] for k in (1, 5))
    assert once[["value", "low", "high"]].to_numpy(float) == pytest.approx(often[["value", "low", "high"]].to_numpy(float))
    assert often["high"] - often["low"] == pytest.approx(2 * 1.96 * values.std() / 10, rel=0.15)
    assert (often["count"], often["utterances"]) == (500, 100)
    assert set(TABLES["word_attribution"]({"x": repeated(values, 1)})["token"]) == {"so"}
    single = TABLES["word_attribution"]({"x": repeated(values, 1)}, least=1).set_index("token").loc["once"]
    assert single["value"] == 3
    assert single[["low", "high"]].isna().all()


def test_words_need_a_transcript(trace, subject):
    silent = replace(subject["IG"], trace=replace(trace, tokens=()))
    assert TABLES["word_attribution"]({"IG": silent}).empty
    assert TABLES["word_attribution"]({"IG": subject["IG"]}, least=1000).empty


@pytest.mark.parametrize("name", ["token", "modality", "feature", "word"])
def test_attributions_are_of_one_trace(name, subject, trace):
    table = TABLES[f"{name}_attribution"]
    assert table.of == "attributions"
    assert table({}).empty
    other = replace(subject["IG"], trace=replace(trace, split="valid"))
    with pytest.raises(ValueError, match="same utterances; there and IG"):
        table({"IG": subject["IG"], "there": other})


def shapley(model: nn.Module, **options) -> pd.DataFrame:
    return TABLES["modality_shapley"](traced(model), **options).set_index(["domain", "part"])


def test_a_sum_has_no_interactions(trace):
    frame = shapley(Linear())
    truth = {m: np.array([one.sum() for one in parts]) for m, parts in brought(trace).items()}
    for m, values in truth.items():
        assert frame.loc[("all", m), ["value", "size"]].to_numpy(float) == pytest.approx([values.mean(), np.abs(values).mean()], abs=1e-5)
        film = frame.loc[("film", m)]
        assert film["value"] == pytest.approx(values[1::2].mean(), abs=1e-5)
    pairs = frame[frame["kind"] == "interaction"]
    assert set(pairs.loc["all"].index) == {"text+audio", "text+vision", "audio+vision", "text+audio+vision"}
    assert pairs[["value", "size", "synergy", "size_high"]].abs().to_numpy().max() < 1e-5
    onwards = frame[frame["kind"] == "value"].groupby("domain")["synergy"].sum()
    assert onwards["all"] == pytest.approx(np.abs(trace.examples["prediction"] - 1).mean(), abs=1e-5)
    assert set(frame["baseline"]) == {"missing"}
    assert set(frame["routing"]) == {"live"}


def test_a_product_is_nothing_but_interaction():
    frame, trace = shapley(Product()), traced(Product())
    product = trace.examples["prediction"].to_numpy()
    both, film = frame.loc[("all", "text+audio")], frame.loc[("film", "text+audio")]
    assert both["value"] == pytest.approx(product.mean(), abs=1e-5)
    assert both["synergy"] == both["size"] == pytest.approx(np.abs(product).mean(), abs=1e-5)
    assert 0 < film["synergy_low"] < film["synergy"] < film["synergy_high"]
    for m in ("text", "audio"):
        assert frame.loc[("all", m), "value"] == pytest.approx(product.mean() / 2, abs=1e-5)
    assert (frame.loc["news", ["value", "size", "synergy"]] == 0).all(axis=None)
    assert frame.loc[("all", "text+vision"), "size"] == pytest.approx(0, abs=1e-6)


def test_saying_the_same_is_redundancy_for_either_sign():
    frame = shapley(Repeating())
    both = frame.loc[("all", "text+audio")]
    assert both["value"] == pytest.approx(0, abs=1e-6)  # half of the utterances are negative: signed interactions cancel
    assert [both["synergy"], both["synergy_low"], both["synergy_high"]] == pytest.approx([-1.5] * 3)
    assert both["size"] == pytest.approx(1.5)
    assert [frame.loc[("all", m), "synergy"] for m in WIDTHS] == pytest.approx([0.75, 0.75, 0])


def test_experts_get_gate_times_what_they_say():
    trace = traced(Experts())
    frame = TABLES["expert_attribution"](trace)
    assert list(frame["kind"].unique()) == ["gates", "conductance"]
    for m, says in SAYS.items():
        first = np.concatenate([(b.x[m][..., 0] * b.mask[m]).sum(1).numpy() for b in trace.batches])
        for kind in ("gates", "conductance"):
            here = (frame["kind"] == kind) & (frame["modality"] == m) & (frame["domain"] == "all")
            part = frame[here].sort_values("expert")
            each = first[:, None] * (says * GATES).numpy()
            np.testing.assert_allclose(part["value"], each.mean(0), atol=1e-5)
            np.testing.assert_allclose(part["size"], np.abs(each).mean(0), atol=1e-5)
            assert ((part["low"] <= part["size"]) & (part["size"] <= part["high"])).all()
    assert set(frame["router"]) == {"pool"}
    assert np.allclose(frame.groupby(["kind", "router", "domain"])["share"].sum(), 1)
    assert (frame.query("domain == 'news' and modality == 'audio'")["size"] == 0).all()
    assert set(frame.query("kind == 'gates'")["baseline"]) == {"no expert"}
    assert set(frame.query("kind == 'conductance'")["baseline"]) == {"zero"}
    one = TABLES["expert_attribution"](trace, kinds="gates", routing="live")
    assert set(one["kind"]) == {"gates"}
    assert set(one["routing"]) == {"live"}


def test_what_has_no_model_or_routers_says_nothing(trace):
    for name in ("modality_shapley", "expert_attribution"):
        frame = TABLES[name](replace(trace, model=None))
        assert frame.empty
        assert tuple(frame.columns) == TABLES[name].columns
    assert TABLES["expert_attribution"](trace).empty
    with pytest.raises(ValueError, match="these exist: gates, conductance"):
        TABLES["expert_attribution"](traced(Experts()), kinds="x")
