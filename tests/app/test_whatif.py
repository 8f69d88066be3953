"""Does a change do to one utterance what it says, and nothing else?"""

import numpy as np
import pytest
import torch
from tiny_runs import trained

from msaviz.app.whatif import Change, look
from msaviz.catalog import TABLES


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from msaviz import Run

    return Run.open(trained(tmp_path_factory.mktemp("whatif"), "derl-0"))


def prediction(trace) -> float:
    return float(trace.examples["prediction"].iloc[0])


def test_without_a_change_it_is_what_the_run_says(run):
    whole = run.observe("test").examples
    for row in (0, 7):
        assert prediction(look(run, row)) == pytest.approx(whole["prediction"][row], abs=1e-5)
        assert look(run, row).examples["example"].tolist() == [row]


def test_a_dropped_modality_is_gone(run):
    trace = look(run, 3, Change(dropped=("text",)))
    assert not trace.present("text").any()
    names = trace.outputs[0].contributors
    assert all(trace.outputs[0].importance[0, i] == 0 for i, name in enumerate(names) if name.endswith("/text"))
    assert prediction(trace) != prediction(look(run, 3))
    with pytest.raises(ValueError, match="one modality must stay"):
        look(run, 3, Change(dropped=run.spec.modalities))


def test_missing_steps_become_zero_and_nothing_else_changes(run):
    before, after = (look(run, 3, change).batches[0] for change in (None, Change(rates={"audio": 0.6})))
    gone = (after.x["audio"] == 0).all(-1) & before.mask["audio"]
    assert 0 < gone.sum() < before.mask["audio"].sum()
    assert torch.equal(after.x["audio"][~gone], before.x["audio"][~gone])
    assert torch.equal(after.x["text"], before.x["text"])


def test_a_hidden_word_is_hidden(run):
    before, after = (look(run, 3, change).batches[0] for change in (None, Change(hidden={"text": (1, 2)})))
    changed = (before.x["text"] != after.x["text"]).any(-1)[0]
    assert changed.nonzero()[:, 0].tolist() == [1, 2]
    assert (after.x["text"][0, [1, 2]] == 0).all()
    with pytest.raises(ValueError, match=r"text has steps 0 to \d+; asked to hide 999"):
        look(run, 3, Change(hidden={"text": (999,)}))


def test_an_expert_switched_off_has_no_gate_and_the_others_share(run):
    off = look(run, 3, Change(off=(("shared", 1), ("private/text", 0)))).outputs[0].routing
    for key, expert in (("shared/audio", 1), ("shared/text", 1), ("private/text", 0)):
        gates = off[key].gates[off[key].mask]
        assert (gates[:, expert] == 0).all()
        torch.testing.assert_close(gates.sum(-1), torch.ones(len(gates)))
    free = off["private/audio"]
    assert (free.gates[free.mask] > 0).all()
    with pytest.raises(ValueError, match="no router is called 'private/smell'; these exist: private/text"):
        look(run, 3, Change(off=(("private/smell", 0),)))


def test_both_experts_of_one_router_can_go_but_not_all(run):
    experts = run.observe("test", limit=2).outputs[0].routing["private/text"].gates.shape[-1]
    off = look(run, 3, Change(off=tuple(("private/text", e) for e in range(experts - 1)))).outputs[0].routing["private/text"]
    torch.testing.assert_close(off.gates[off.mask][:, experts - 1], torch.ones(int(off.mask.sum())))
    with pytest.raises(ValueError, match="private/text: one expert must stay"):
        look(run, 3, Change(off=tuple(("private/text", e) for e in range(experts))))


def test_strangers_are_named(run):
    with pytest.raises(ValueError, match="there is no modality 'smell'; the data have text"):
        look(run, 3, Change(rates={"smell": 0.5}))


def test_gates_and_importance_beside_each_other(run):
    frame = TABLES["routing_change"]({"whole": look(run, 3), "changed": look(run, 3, Change(off=(("shared", 1),)))})
    sums = frame.groupby(["condition", "kind", "router", "modality"])["value"].sum()
    assert np.allclose(sums, 1, atol=1e-5)
    gone = frame.query("condition == 'changed' and router == 'shared' and name == 'expert 1'")
    assert len(gone) == 3
    assert (gone["value"] == 0).all()
    assert (frame.query("condition == 'whole' and router == 'shared' and name == 'expert 1'")["value"] > 0).all()
