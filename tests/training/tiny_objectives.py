"""A tiny model with two heads, rows of three domains, and what an objective makes of them."""

import numpy as np
import torch

from msaviz.catalog import OBJECTIVES
from msaviz.types import Batch, Output, Spec, Task

DOMAINS = ("a", "b", "c")
SPEC = Spec(widths={"cues": 2}, tasks={"y": Task(), "k": Task("classes", classes=("low", "middle", "high"))}, domains=DOMAINS)


class Tiny(torch.nn.Module):
    """Mean of the valid steps, a hidden layer, two heads, and a loss of its own that starts at .5."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.hidden, self.y, self.k = torch.nn.Linear(2, 5), torch.nn.Linear(5, 1), torch.nn.Linear(5, 3)

    def forward(self, batch: Batch) -> Output:
        mask = batch.mask["cues"].unsqueeze(2)
        z = torch.tanh(self.hidden((batch.x["cues"] * mask).sum(1) / mask.sum(1).clamp(min=1)))
        own = {"own": z.square().mean()}
        return Output({"y": self.y(z)[:, 0], "k": self.k(z)}, z, losses=own, weights={"own": 0.1}, starts={"own": 0.5})


def rows(*, domains: int = 3, each: int = 6, seed: int = 0) -> Batch:
    """The domains in turn; sequences of 1 to 4 steps."""
    g = torch.Generator().manual_seed(seed)
    n = domains * each
    domain = torch.arange(n) % domains
    x = torch.randn(n, 4, 2, generator=g) + domain[:, None, None]
    mask = torch.arange(4) < torch.randint(1, 5, (n, 1), generator=g)
    labels = {"y": torch.randn(n, generator=g), "k": torch.randint(3, (n,), generator=g)}
    return Batch({"cues": x * mask.unsqueeze(2)}, {"cues": mask}, labels, domain, torch.arange(n))


def made(name: str, model: torch.nn.Module, *, spec: Spec = SPEC, **options: object):
    kind = OBJECTIVES[name]
    objective = kind(spec, kind.Config(**options))
    torch.manual_seed(1)
    objective.prepare(lambda: model(rows()))
    return objective


def measured(name: str, batch: Batch, *, spec: Spec = SPEC, progress: float = 1.0, **options: object):
    """(terms, gradient of every parameter of the system, objective)."""
    model = Tiny()
    objective = made(name, model, spec=spec, **options)
    torch.manual_seed(2)
    terms = objective(model, batch, progress)
    torch.stack(list(terms.values())).sum().backward()
    return {k: v.detach() for k, v in terms.items()}, [p.grad for p in model.parameters()], objective


def total(terms: dict[str, torch.Tensor]) -> float:
    """Without the discriminator's own loss, which reaches the system only through the reversed gradient."""
    return float(sum(value for name, value in terms.items() if name != "domain"))


def assert_same(one, two):
    np.testing.assert_allclose(total(one[0]), total(two[0]), rtol=1e-5, atol=1e-6)
    for a, b in zip(one[1], two[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
