"""How much of a prediction goes through each expert?

* `gates`: Integrated Gradients of the gates, from 0 (no expert speaks) to those of the input: what each gate's weight brings.
* `conductance`: of the change that the input makes on its way from the baseline, what passes through the expert (Dhamdhere et al. 2019):
  the sum over the path of d(number)/d(z) times the change of g_e E_e, for z = sum_e g_e E_e, what the router's experts write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from msaviz.interpret.explained import Explained, References, chunks, evaluating, references
from msaviz.interpret.trace import Trace
from msaviz.types import Batch, Output, Steer

KINDS = {"gates": "Integrated Gradients of the gates, from no expert", "conductance": "conductance of the experts"}


@dataclass(frozen=True)
class ExpertFlow:
    """`values`: routing key -> Float[n e], summed over the routed steps; 0 where the modality is absent. n = utterances."""

    trace: Trace
    kind: str
    baseline: str
    values: Mapping[str, np.ndarray]
    explained: np.ndarray  # Float[n]
    reference: np.ndarray  # Float[n]: without any expert (gates), or of the baseline (conductance)

    @property
    def name(self) -> str:
        """What a figure must say."""
        return KINDS[self.kind] if self.kind == "gates" else f"{KINDS[self.kind]} · baseline: {self.baseline}"

    @property
    def gap(self) -> np.ndarray:
        """Float[n]: for gates, what was given to nobody; NaN for conductance, which one level of experts hands on to the next."""
        if self.kind == "conductance":
            return np.full(len(self.explained), np.nan)
        return self.explained - self.reference - np.sum([v.sum(1) for v in self.values.values()], axis=0)


def expert_flow(
    trace: Trace,
    kind: str = "conductance",
    *,
    baseline: str = "zero",
    routing: str = "frozen",
    train: Sequence[Batch] = (),
    steps: int = 16,
) -> ExpertFlow:
    """The flow through every expert of every router; no values for a model without routers.

    Raises ValueError for an unknown kind, for a baseline without values, and for a trace without a model.
    """
    if kind not in KINDS:
        raise ValueError(f"no flow is called {kind!r}; these exist: {', '.join(KINDS)}")
    if baseline not in ("zero", "mean") or (baseline == "mean" and not train):
        raise ValueError("conductance follows values from one baseline: zero, or mean (which needs the batches `train`)")
    n = len(trace.examples)
    values = {key: np.zeros((n, trace.outputs[0].routing[key].gates.shape[-1])) for key in trace.routers}
    explained, reference = np.zeros(n), np.zeros(n)
    with evaluating(trace) as model:
        stands_in = references(baseline, model, train or trace.batches)
        for rows, batch in chunks(trace, steps if kind == "gates" else 2):
            about = Explained(model, batch, routing=routing)
            found, start = _gates(about, steps) if kind == "gates" else _conductance(about, stands_in, steps)
            explained[rows], reference[rows] = about.value.double().cpu(), start.double().cpu()
            for key, value in found.items():
                values[key][rows] = value.detach().double().cpu().sum(1)
    return ExpertFlow(trace, kind, baseline, values, explained, reference)


def _gates(about: Explained, steps: int) -> tuple[dict[str, Tensor], Tensor]:
    """(routing key -> Float[b t e], the number without any expert)."""
    from captum.attr import IntegratedGradients

    routing = {key: r for key, r in about.look().routing.items() if r.wrote is not None}
    if not routing:
        return {}, about.value

    def speaking(*given: Tensor) -> Tensor:
        *gates, rows = given
        steered = {key: Steer(gates=g) for key, g in zip(routing, gates, strict=True)}
        x = {m: v[rows] for m, v in about.batch.x.items()}
        return about.number(about.output(x, rows, steered=steered), rows)

    whole = tuple(r.gates for r in routing.values())
    silent = tuple(torch.zeros_like(g) for g in whole)
    found = IntegratedGradients(speaking).attribute(whole, silent, additional_forward_args=(about.rows,), n_steps=steps)
    with torch.no_grad():
        return dict(zip(routing, found, strict=True)), speaking(*silent, about.rows)


@dataclass(frozen=True)
class _Point:
    """The model at one point of the path: the gates as leaves, what the experts wrote with them, and the number's gradient there."""

    gates: dict[str, Tensor]
    wrote: dict[str, Tensor]
    slope: dict[str, Tensor]
    value: Tensor

    def through(self, slope: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Routing key -> Float[b t e]: <slope, g_e E_e> at this point; linear in the gates, so that a gradient reads it off."""
        if not self.gates:
            return {}
        whole = torch.stack([(slope[key] * self.wrote[key]).sum() for key in self.gates]).sum()
        each = torch.autograd.grad(whole, list(self.gates.values()), retain_graph=True)
        return {key: g.detach() * d for (key, g), d in zip(self.gates.items(), each, strict=True)}


def _conductance(about: Explained, stands_in: References, steps: int) -> tuple[dict[str, Tensor], Tensor]:
    """(routing key -> Float[b t e], the number of the baseline); trapezoids between `steps` + 1 points of the straight path."""
    start = {m: stands_in[m][0] * about.batch.mask[m][..., None] for m in about.modalities}
    total: dict[str, Tensor] = {}
    before, first = None, about.value
    for i in range(steps + 1):
        here = _point(about, {m: torch.lerp(start[m].to(x.dtype), x, i / steps) for m, x in about.batch.x.items()})
        if before is None:
            first = here.value
        else:
            ends = [here.through(before.slope), before.through(before.slope), here.through(here.slope), before.through(here.slope)]
            for key in here.gates:
                a, b, c, d = (end[key] for end in ends)
                total[key] = total.get(key, 0) + ((a - b) + (c - d)) / 2
        before = here
    return total, first


def _point(about: Explained, x: Mapping[str, Tensor]) -> _Point:
    with torch.no_grad():
        decided: Output = about.output(x, about.rows)
    gates = {key: r.gates.clone().requires_grad_() for key, r in decided.routing.items() if r.wrote is not None}
    output = about.output(x, about.rows, steered={key: Steer(gates=g) for key, g in gates.items()})
    value = about.number(output, about.rows)
    wrote = {key: output.routing[key].wrote for key in gates}
    slope = torch.autograd.grad(value.sum(), list(wrote.values()), retain_graph=True) if wrote else ()  # type: ignore[arg-type]
    return _Point(gates, wrote, dict(zip(gates, slope, strict=True)), value.detach())  # type: ignore[arg-type]
