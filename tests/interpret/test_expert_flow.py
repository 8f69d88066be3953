"""Does what flows through the experts add up, and is it what captum finds?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from explained_models import Linear, Sparse, traced

from msaviz.interpret.expert_flow import expert_flow
from msaviz.interpret.explained import Explained
from msaviz.interpret.trace import observe


@pytest.mark.parametrize("kind", ["soft", "top_k"])
def test_what_the_gates_bring_adds_up(kind):
    trace = traced(Sparse(kind, k=2))
    flow = expert_flow(trace, "gates", steps=4)
    assert np.abs(flow.gap).max() < 1e-5  # the model is linear in its gates
    assert np.abs(flow.reference).max() < 1e-6
    routing = [o.routing["only/text"] for o in trace.outputs]
    never = np.concatenate([(r.gates.sum(1) == 0).numpy() for r in routing])
    assert (flow.values["only/text"][never] == 0).all()


@pytest.mark.parametrize("kind", ["soft", "top_k"])
def test_conductance_sums_to_the_change_where_all_goes_through_the_experts(kind):
    trace = traced(Sparse(kind, k=2))
    flow = expert_flow(trace, "conductance", steps=64)
    difference = flow.explained - flow.reference
    assert np.allclose(flow.values["only/text"].sum(1), difference, atol=0.01 * np.abs(difference).max())
    assert np.isnan(flow.gap).all()


def test_conductance_of_all_experts_together_is_captums_of_what_they_write():
    from captum.attr import LayerConductance

    from msaviz.data.load import load
    from msaviz.models.midg import Midg

    data = load("synthetic:rows=200")
    torch.manual_seed(0)
    model = Midg(data.spec, Midg.Config(dim=8, heads=1, bottleneck=4, hidden=8, layers=0)).eval()
    trace = observe(model, [data.splits["test"].batch(range(12))], spec=data.spec)
    explained = Explained(model, trace.batches[0])
    x = tuple(explained.batch.x.values())
    layer = LayerConductance(explained, model.mixture.dropout)
    theirs = layer.attribute(x, tuple(v * 0 for v in x), additional_forward_args=(explained.rows,), n_steps=200, method="riemann_trapezoid")
    ours = expert_flow(trace, "conductance", steps=200)
    assert np.allclose(ours.values["mixture"].sum(1), theirs.sum(1).detach().numpy(), atol=2e-3)


def test_flows_refuse_what_does_not_exist():
    trace = traced(Sparse())
    with pytest.raises(ValueError, match="no flow is called 'water'; these exist: gates, conductance"):
        expert_flow(trace, "water")
    with pytest.raises(ValueError, match="from one baseline: zero, or mean"):
        expert_flow(trace, baseline="missing")
    assert expert_flow(traced(Linear()), "gates").values == {}
