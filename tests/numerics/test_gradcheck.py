"""Is every gradient in `msaviz.nn`, of every objective and of every model that of finite differences, in double precision?"""

from __future__ import annotations

import inspect
from importlib import import_module
from pkgutil import iter_modules

import pytest
import torch
from endurance import tell, tries
from frozen_gradcheck import check
from gradient_functions import FUNCTIONS
from gradient_modules import MODULES, UNCHECKED
from gradient_tools import Draw
from numeric_models import ASKED, SPECS, TASKS, corrupted, double, made, rows
from torch import nn
from torch.autograd.gradcheck import GradcheckError

import msaviz.nn
from msaviz.catalog import OBJECTIVES
from msaviz.nn.invariance import gradient_reversal
from msaviz.types import Batch, Output

PARTS = {**FUNCTIONS, **MODULES}


def public() -> set[str]:
    """ "module.name" of every function and class of `msaviz.nn` that others may use."""
    found = set()
    for info in iter_modules(msaviz.nn.__path__):
        module = import_module(f"msaviz.nn.{info.name}")
        mine = {name: value for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}
        found |= {
            f"{info.name}.{name}"
            for name, value in mine.items()
            if name[0] != "_" and (inspect.isfunction(value) or inspect.isclass(value))
        }
    return found


def test_everything_with_a_gradient_is_checked():
    """What is new in `msaviz.nn` must be put down in `gradient_functions` or `gradient_modules`, or there why it is not checked."""
    assert public() == PARTS.keys() | UNCHECKED.keys()
    assert not PARTS.keys() & UNCHECKED.keys()


@pytest.mark.parametrize("name", PARTS)
def test_gradients_of_parts(name):
    count = 0
    for seed in range(tries(1)):
        torch.manual_seed(seed)
        for function, inputs in PARTS[name](Draw(seed)):
            assert check(function, *inputs, seed=seed, entries=count == 0 and not isinstance(function, nn.Module))
            count += 1
    assert count
    tell("gradcheck: parts x inputs", count)


@pytest.mark.parametrize(("case", "task"), ASKED)
def test_gradients_of_models(case, task):
    """All that a model returns in training, its losses included, by its inputs and its parameters."""
    for seed in range(tries(1)):
        model = made(case, task, seed).double().train()
        batch = double(corrupted(rows(5, task, seed), seed))
        assert check(Reading(model, batch), *batch.x.values(), seed=seed)
    tell("gradcheck: models x draws", tries(1))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_gradients_of_objectives(objective, task):
    """Every term by the inputs and the parameters of a model; the adversary's reversed gradient reaches its own parameters as it is."""
    for seed in range(tries(1)):
        model = Plain(task).double()
        batch = double(corrupted(rows(8, task, seed), seed))
        kind = OBJECTIVES[objective]
        asked = kind(SPECS[task], kind.Config(loss=("l1", "mse", "smooth_l1")[seed % 3]))
        asked.prepare(lambda model=model, batch=batch: model.float()(batch.map(lambda x: x.float() if x.is_floating_point() else x)))
        model.double()
        asked.double().train()
        if objective == "dann":
            asked.strength = lambda progress: -1.0  # unreversed: what remains is the gradient of the term
        assert check(Asking(asked, model, batch), *batch.x.values(), seed=seed)
    tell("gradcheck: objectives x draws", tries(1))


def test_the_reversal_gives_back_the_input_and_turns_the_gradient():
    x, above = torch.randn(3, 4, dtype=torch.float64, requires_grad=True), torch.randn(3, 4, dtype=torch.float64)
    y = gradient_reversal(x, 0.7)
    y.backward(above)
    assert torch.equal(y, x)
    torch.testing.assert_close(x.grad, -0.7 * above, rtol=0, atol=0)


def test_a_wrong_gradient_is_found():
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.square()

        @staticmethod
        def backward(ctx, above):
            return above

    layer = nn.Linear(3, 2).double()
    x = torch.randn(4, 3, dtype=torch.float64)
    with pytest.raises(GradcheckError):
        check(lambda x: Wrong.apply(x), x.clone())
    with pytest.raises(GradcheckError):  # of a parameter too
        check(Spoilt(layer, Wrong.apply), x.clone())


def test_a_lost_precision_is_found():
    with pytest.raises(AssertionError, match="float32"):
        check(lambda x: x.float(), torch.randn(3, dtype=torch.float64))


class Spoilt(nn.Module):
    def __init__(self, layer: nn.Module, function):
        super().__init__()
        self.layer, self.function = layer, function

    def forward(self, x):
        return self.function(self.layer(x.detach()))


class Reading(nn.Module):
    """A model as a function of its sequences."""

    def __init__(self, model: nn.Module, batch: Batch):
        super().__init__()
        self.model, self.batch = model, batch

    def forward(self, *x):
        return self.model(self.batch.with_x(**dict(zip(self.batch.x, x, strict=True))))


class Asking(nn.Module):
    """An objective's terms as a function of the sequences; what it learns of a step is forgotten."""

    def __init__(self, objective: nn.Module, model: nn.Module, batch: Batch):
        super().__init__()
        self.objective, self.model, self.batch = objective, model, batch
        self.before = [buffer.clone() for buffer in objective.buffers()]

    def forward(self, *x):
        for buffer, before in zip(self.objective.buffers(), self.before, strict=True):
            buffer.copy_(before)
        return self.objective(self.model, self.batch.with_x(**dict(zip(self.batch.x, x, strict=True))), 1.0)


class Plain(nn.Module):
    """A smooth model of the first modality, with a loss of its own."""

    def __init__(self, task: str):
        super().__init__()
        torch.manual_seed(0)
        self.target, self.hidden = SPECS[task].target, nn.Linear(5, 4)
        self.head = nn.Linear(4, SPECS[task].task.width)
        self.kind = SPECS[task].task.kind

    def forward(self, batch: Batch) -> Output:
        mask = batch.mask["text"][..., None]
        z = torch.tanh(self.hidden((batch.x["text"] * mask).sum(1) / mask.sum(1).clamp(min=1)))
        guess = self.head(z)
        return Output({self.target: guess if self.kind == "classes" else guess[:, 0]}, z, losses={"own": z.square().mean()})
