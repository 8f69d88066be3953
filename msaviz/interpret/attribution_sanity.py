"""Does an attribution look at the model at all: does it change when the model's weights are shuffled? (Adebayo et al. 2018)

The parts of the model lose what they have learnt one after the other, from the prediction back to the input (`parts` of them, `part` the
last one): the numbers of each of their parameters change places at random. `similarity`: the rank correlation (Spearman) over the steps of
an utterance between the attribution and that of the shuffled model, averaged over utterances, with its 95 % bootstrap interval; of the
values ("signed") and of their sizes ("absolute"). It must fall; if it stays, the attribution shows the input and not the model. `parts` 0
is the same method run again on the untouched model with another seed: the most that can be reached. Parts that do not move the prediction
are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from msaviz.interpret.attributed import HEAD, head
from msaviz.interpret.attribution import Attribution, attribute
from msaviz.interpret.judged import Flat, again, flat, part, spearman, spread, stepwise
from msaviz.interpret.resample import averages
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered
from msaviz.interpret.trace import Trace
from msaviz.types import Batch

COLUMNS = (*HEAD, "kind", "part", "parts", "similarity", "low", "high", "utterances")
KINDS = ("signed", "absolute")
UNTOUCHED = "none"


def answer(
    attributions: Mapping[str, Attribution],
    *,
    limit: int | None = 32,
    steps: int = 16,
    train: Sequence[Batch] = (),
    resamples: int = 300,
    seed: int = 0,
) -> pd.DataFrame:
    """Every method, kind and number of shuffled parts, on `limit` utterances. Runs each method once for every part.

    `steps`: points of a path; `train`: batches of the train split, for methods whose baseline is made of it. Methods over features
    alone are left out.
    """
    asked, parts = stepwise(attributions), []
    if not asked:
        return pd.DataFrame()
    trace = next(iter(asked.values())).trace
    few = part(trace, spread(len(trace.examples), limit))
    models = list(cascade(few, seed))
    for label, one in asked.items():
        given: dict[str, Any] = {"steps": steps, "train": train, "target": classes(few), **again(one)}
        first = attribute(few, one.method, seed=seed, **given)
        for i, (name, model) in enumerate(models):
            other = attribute(replace(few, model=model), one.method, seed=seed + 1 + i, **given)
            rows = averages(_similar(first, other), resamples, seed).rename(columns={"value": "similarity"})
            parts.append(rows.assign(kind=list(KINDS), part=name, parts=i, **head(label, one)))
    return gathered(parts, COLUMNS)


def classes(trace: Trace) -> np.ndarray | None:
    """Int[n]: the class that the trained model predicts, so that a shuffled one is asked about the same; None for a real number."""
    prediction = torch.cat([output.prediction for output in trace.outputs])
    return prediction.argmax(-1).numpy() if prediction.ndim > 1 else None


def _similar(one: Attribution, other: Attribution) -> np.ndarray:
    """Float[n 2]: signed and absolute; an attribution that became the same for every step has lost all likeness: 0."""
    n, a, b = len(one.explained), flat(one), flat(other)
    sizes = [replace(each, value=np.abs(each.value)) for each in (a, b)]
    found = np.stack([spearman(a, b, n), spearman(sizes[0], sizes[1], n)], 1)
    return np.where(_alike(b, n)[:, None] & ~_alike(a, n)[:, None], 0.0, found)


def _alike(values: Flat, utterances: int) -> np.ndarray:
    """Bool[n]: utterances in which every step got the same."""
    each = pd.Series(values.value).groupby(values.row)
    return (each.max() == each.min()).reindex(range(utterances), fill_value=True).to_numpy()


def cascade(trace: Trace, seed: int = 0) -> Iterator[tuple[str, nn.Module]]:
    """(name of the part, the model in which it and all before it are shuffled), the untouched model first."""
    assert trace.model is not None
    system, generator = deepcopy(trace.model).eval(), torch.Generator().manual_seed(seed)
    yield UNTOUCHED, deepcopy(system)
    before, model = _numbers(system, trace), getattr(system, "model", system)
    for name, parameters in groups(model):
        shuffle(parameters, generator)
        after = _numbers(system, trace)
        if not torch.equal(before, after):
            before = after
            yield name, deepcopy(system)


def groups(model: nn.Module) -> list[tuple[str, list[nn.Parameter]]]:
    """The parameters of each part of the model, the last part first; those that belong to no part come at the end."""
    found = [(name, list(child.parameters())) for name, child in model.named_children()][::-1]
    return [(name, own) for name, own in [*found, ("own parameters", list(model.parameters(recurse=False)))] if own]


@torch.no_grad()
def shuffle(parameters: Sequence[nn.Parameter], generator: torch.Generator) -> None:
    """The numbers of each parameter change places."""
    for parameter in parameters:
        order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
        parameter.copy_(parameter.flatten()[order].view_as(parameter))


@torch.no_grad()
def _numbers(model: nn.Module, trace: Trace) -> torch.Tensor:
    """All predictions of the main task."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    return torch.cat([model(batch.to(device)).prediction for batch in trace.batches])


TABLE = Table(COLUMNS, answer, of="attributions")
