"""Does each ingredient of HAEMSA do what it is there for, and can each be switched off?"""

from dataclasses import replace

import pytest
import torch
from test_models import SPEC, make_batch

from msaviz.catalog import MODELS, OBJECTIVES
from msaviz.data.missing import Subset, corrupt
from msaviz.models.haemsa import pairs_of
from msaviz.types import Spec, Task, heads_of, label_of, subsets

Haemsa = MODELS["haemsa"]
NAMES = ("text", "audio", "vision")
EMOTIONS = Task("classes", classes=("angry", "happy", "sad"))
BOTH = replace(SPEC["regression"], tasks={"sentiment": Task(), "emotion": EMOTIONS})


def model(spec=None, **options):
    torch.manual_seed(0)
    return Haemsa(spec or SPEC["regression"], Haemsa.Config(**options))


def batch(emotion=(0, 1, 2, 0, -1, 1)):
    plain = make_batch()
    return replace(plain, labels={**plain.labels, "emotion": torch.tensor(emotion)})


@pytest.mark.parametrize(
    ("options", "losses"),
    [
        ({}, {"balance", "distillation", "partial"}),
        ({"flat": True}, {"balance", "distillation", "partial"}),
        ({"pairs": "none"}, {"balance", "distillation", "partial"}),
        ({"pairs": ["text>audio"]}, {"balance", "distillation", "partial"}),
        ({"modalities": "text+vision"}, {"balance", "distillation", "partial"}),
        ({"modalities": ["audio"]}, {"balance"}),
        ({"distillation_weight": 0, "partial_weight": 0}, {"balance"}),
        ({"balance_weight": 0}, {"distillation", "partial"}),
        ({"multitask": False}, {"balance", "distillation", "partial"}),
        ({"uncertainty": False}, {"balance", "distillation", "partial"}),
        ({"experts": 1, "router": "dense", "fusion": "dense"}, {"balance", "distillation", "partial"}),
        ({"router": "top_k", "k": 1, "fusion": "top_k", "fusion_k": 1, "set_layers": 2}, {"balance", "distillation", "partial"}),
        ({"summary": 0, "layers": 0}, {"balance", "distillation", "partial"}),
    ],
)
def test_every_ablation_is_an_option_and_all_that_is_left_learns(options, losses):
    m = model(**options).train()
    output = m(make_batch())
    assert set(output.losses) == losses == set(output.weights)
    total = sum(p.float().sum() for p in output.predictions.values()) + sum(output.losses.values()) + sum(output.uncertainty.values())
    total.backward()
    idle = [name for name, p in m.named_parameters() if p.grad is None]
    assert idle == []


def test_contributors_are_all_sets_of_the_modalities_that_are_read():
    m = model(modalities="text+vision").eval()
    output = m(make_batch())
    assert output.contributors == ("text", "vision", "text+vision")
    assert set(output.routing) == {"local/text", "local/vision", "global"}
    assert output.importance.shape == (6, 3)
    loud = make_batch()
    loud = loud.with_x(audio=loud.x["audio"] + 77)
    assert torch.equal(m(loud).prediction, output.prediction)


@pytest.mark.parametrize("keep", [s for s in subsets(NAMES) if len(s) < 3])
@pytest.mark.parametrize("flat", [False, True])
def test_a_view_of_a_part_is_what_the_part_alone_gives(keep, flat):
    """What training distils into is what the model says when the other modalities really are missing."""
    m, whole = model(flat=flat).eval(), make_batch()
    alone = m(corrupt(whole, Subset(keep=keep), seed=0))
    seen = {}
    fused = type(m).fused

    def spy(self, levels, available, steer):
        seen["levels"] = levels
        return fused(self, levels, available, steer)

    m.fused = spy.__get__(m)
    m(whole)
    available = torch.tensor([[n in keep for n in NAMES]]).expand(6, 3)
    z, _, gates = fused(m, seen["levels"], available[None])
    torch.testing.assert_close(z[0], alone.fused)
    if not flat:
        torch.testing.assert_close(gates[0], alone.importance)
        blocked = [i for i, name in enumerate(m.contributors) if not set(name.split("+")) <= set(keep)]
        assert not alone.importance[:, blocked].any()


def test_distillation_pulls_parts_to_the_whole_and_leaves_the_whole_alone():
    m = model(distillation_weight=1.0, partial_weight=0.0, dropout=0.0, balance_weight=0.0, multitask=False).train()
    optimizer = torch.optim.Adam(m.parameters(), lr=3e-3)
    first = last = None
    for _ in range(30):
        output = m(make_batch())
        last = output.losses["distillation"]
        first = first if first is not None else last.item()
        optimizer.zero_grad()
        last.backward()
        optimizer.step()
    assert last.item() < 0.5 * first
    output = m(make_batch())
    gradient = torch.autograd.grad(output.losses["distillation"], output.fused, allow_unused=True)[0]
    assert gradient is None  # the whole is the detached teacher


def test_three_heads_and_those_without_labels_drop_out():
    m = model(BOTH).train()
    objective = OBJECTIVES["erm"](BOTH, OBJECTIVES["erm"].Config())
    assert list(m(batch()).predictions) == ["sentiment", "emotion", "sentiment_grade"]
    assert set(m.log_variance) == {"sentiment", "emotion", "sentiment_grade"}
    objective(m, batch(emotion=[-1] * 6))["task"].backward()
    assert not m.log_variance["emotion"].grad
    assert not any(p.grad.any() for p in m.head.heads["emotion"].parameters())
    assert m.log_variance["sentiment_grade"].grad
    assert list(model(BOTH, multitask=False)(batch()).predictions) == ["sentiment"]
    assert not model(BOTH, uncertainty=False)(batch()).uncertainty


def test_uncertainty_weighs_a_loss_as_kendall_says():
    m = model(BOTH, distillation_weight=0, partial_weight=0, balance_weight=0, dropout=0.0).train()
    objective = OBJECTIVES["erm"](BOTH, OBJECTIVES["erm"].Config())
    with torch.no_grad():
        for i, s in enumerate(m.log_variance.values()):
            s.fill_(0.5 * i - 0.3)
    each = objective(lambda b: replace(m(b), uncertainty={}), batch())["task"]
    plain = {}
    for name in ("sentiment", "emotion", "sentiment_grade"):

        def one(b, name=name):
            output = m(b)
            return replace(output, uncertainty={}, predictions={name: output.predictions[name]})

        plain[name] = objective(one, batch())["task"]
    torch.testing.assert_close(each, sum(plain.values()))
    expected = sum(loss * torch.exp(-m.log_variance[n]) / 2 + m.log_variance[n] / 2 for n, loss in plain.items())
    torch.testing.assert_close(objective(m, batch())["task"], expected)


def test_a_grade_is_the_clipped_and_rounded_label():
    spec = Spec({"text": 2}, {"sentiment": Task()})
    y = torch.tensor([-3.4, -0.4, 0.6, 2.5, float("nan")])
    assert label_of({"sentiment": y}, "sentiment_grade", spec).tolist() == [0, 3, 4, 5, -1]
    assert heads_of(spec)["sentiment_grade"].classes == ("-3", "-2", "-1", "0", "1", "2", "3")
    small = Spec({"text": 2}, {"sentiment": Task(low=-1, high=1)})
    assert heads_of(small)["sentiment_grade"].classes == ("-1", "0", "1")
    assert list(heads_of(SPEC["classes"])) == ["emotion"]


def test_pairs_of_inactive_modalities_say_nothing_and_strangers_are_named():
    assert pairs_of("all", ("text", "vision"), NAMES) == [(0, 1), (1, 0)]
    assert pairs_of(("text>audio", "vision>text"), ("text", "vision"), NAMES) == [(1, 0)]
    with pytest.raises(ValueError, match=r"text>smell; these exist: text>audio"):
        model(pairs=["text>smell"])
    with pytest.raises(ValueError, match=r"modalities names smell; these exist: text, audio, vision"):
        model(modalities=["smell"])
    with pytest.raises(ValueError, match="names none"):
        model(modalities="none")
