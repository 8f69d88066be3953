"""Small models whose attributions are known, and traces of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from msaviz.interpret.trace import Trace, observe
from msaviz.nn.moe import Mixture
from msaviz.types import Batch, Output, Spec, Task

SPEC = Spec({"text": 3, "audio": 2, "vision": 2}, {"sentiment": Task()})
LENGTHS = {"text": (1, 6), "audio": (0, 9), "vision": (1, 4)}


def batch(rows: int = 11, seed: int = 0, start: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    x, mask = {}, {}
    for m, width in SPEC.widths.items():
        low, high = LENGTHS[m]
        lengths = torch.randint(low, high + 1, (rows,), generator=g)
        mask[m] = torch.arange(high) < lengths[:, None]
        x[m] = torch.randn(rows, high, width, generator=g)  # padding is not zero here
    return Batch(x, mask, {"sentiment": torch.zeros(rows)}, torch.zeros(rows).long(), start + torch.arange(rows))


class Linear(nn.Module):
    """The sum over valid steps of w . x, text and vision only; `product` multiplies the two modalities' sums."""

    def __init__(self, product: bool = False):
        super().__init__()
        g = torch.Generator().manual_seed(1)
        self.w = nn.ParameterDict({m: nn.Parameter(torch.randn(w, generator=g)) for m, w in SPEC.widths.items()})
        self.product = product

    def parts(self, batch: Batch) -> dict[str, torch.Tensor]:
        return {m: (batch.x[m] @ self.w[m] * batch.mask[m]).sum(1) for m in ("text", "vision")}

    def forward(self, batch: Batch) -> Output:
        text, vision = self.parts(batch).values()
        y = text * vision if self.product else text + vision
        return Output({"sentiment": y}, y[:, None])


class Relu(nn.Module):
    """A network that DeepLIFT has rules for."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1))

    def forward(self, batch: Batch) -> Output:
        mean = (batch.x["text"] * batch.mask["text"][..., None]).sum(1)
        y = self.net(mean)[:, 0]
        return Output({"sentiment": y}, y[:, None])


class Sparse(nn.Module):
    """A token-level top-1 mixture, whose choice jumps."""

    def __init__(self, kind: str = "top_k", experts: int = 4, k: int = 1):
        super().__init__()
        torch.manual_seed(5)
        self.mixture = Mixture(3, experts, 8, kind=kind, k=k)

    def forward(self, batch: Batch) -> Output:
        wrote, routing = self.mixture(batch.x["text"], batch.mask["text"], modality="text", steer=batch.steered.get("only/text"))
        y = wrote.sum((1, 2))
        return Output({"sentiment": y}, y[:, None], routing={"only/text": routing})


def traced(model: nn.Module, batches: int = 2) -> Trace:
    return observe(model.eval(), [batch(seed=i, start=11 * i) for i in range(batches)], spec=SPEC)


def expected(trace: Trace, model: Linear, m: str) -> np.ndarray:
    """w . x of every valid step, utterance by utterance."""
    return torch.cat([(b.x[m] @ model.w[m])[b.mask[m]] for b in trace.batches]).detach().numpy()


class Classes(Linear):
    """Three classes, the second of which is the sum."""

    def forward(self, batch: Batch) -> Output:
        y = super().forward(batch).prediction
        return Output({"sentiment": torch.stack([-y, y, 0 * y + 0.1], 1)}, y[:, None])
