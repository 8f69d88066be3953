"""Do Spec, Batch and Output say what is wrong, and say the truth about what is there?"""

import pytest
import torch

from msaviz.types import Batch, Output, Routing, Spec, Task


def batch(**changes):
    values = {
        "x": {"text": torch.ones(2, 3, 4)},
        "mask": {"text": torch.tensor([[1, 1, 0], [0, 0, 0]]).bool()},
        "labels": {"sentiment": torch.zeros(2)},
        "domain": torch.zeros(2, dtype=torch.long),
        "example": torch.arange(2),
    }
    return Batch(**{**values, **changes})


def test_an_all_false_mask_is_the_only_sign_of_a_missing_modality():
    assert batch().present("text").tolist() == [True, False]
    assert batch().kept("text").tolist() == [1.0, 0.0]


def test_kept_counts_against_the_complete_batch():
    whole = batch(mask={"text": torch.ones(2, 3).bool()})
    dropped = {"text": torch.tensor([[1, 0, 0], [1, 1, 1]]).bool()}
    part = Batch(whole.x, {"text": torch.tensor([[1, 1, 1], [0, 0, 0]]).bool()}, whole.labels, whole.domain, whole.example, whole, dropped)
    assert part.kept("text").tolist() == pytest.approx([2 / 3, 0.0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mask": {"audio": torch.ones(2, 3).bool()}}, "x holds .*text.* but mask holds .*audio"),
        ({"mask": {"text": torch.ones(2, 5).bool()}}, r"x\['text'\] is \(2, 3, 4\) but its mask is \(2, 5\)"),
        ({"labels": {"sentiment": torch.zeros(3)}}, "'sentiment' has 3 rows"),
        ({"domain": torch.zeros(1, dtype=torch.long)}, "'domain' has 1 rows"),
    ],
)
def test_a_batch_says_in_words_what_is_wrong(change, words):
    with pytest.raises(ValueError, match=words):
        batch(**change)


def test_map_reaches_every_tensor():
    moved = batch(complete=batch()).map(lambda t: t[:1])
    assert len(moved) == 1
    assert len(moved.complete) == 1
    routing = Routing(torch.zeros(2, 1, 3), torch.full((2, 1, 3), 1 / 3), torch.ones(2, 1).bool())
    output = Output({"sentiment": torch.zeros(2)}, torch.zeros(2, 4), routing={"top": routing}, importance=torch.ones(2, 1))
    first = output.map(lambda t: t[:1])
    assert first.routing["top"].gates.shape == (1, 1, 3)
    assert first.importance.shape == (1, 1)


def test_spec_refuses_what_does_not_agree():
    with pytest.raises(ValueError, match="at least one task"):
        Spec({"text": 3}, {})
    with pytest.raises(ValueError, match="disagree"):
        Spec({"text": 3}, {"y": Task()}, modalities=("text", "audio"))
    spec = Spec({"audio": 5}, {"y": Task(), "emotion": Task("classes", classes=("a", "b"))}, vocabularies={"text": 10})
    assert spec.modalities == ("text", "audio")
    assert (spec.target, spec.tasks["emotion"].width) == ("y", 2)
