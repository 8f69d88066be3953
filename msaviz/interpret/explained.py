"""What does one batch of a model look like to an attribution method: tensors in, one number an utterance out?

The number is the prediction of the main task: a real one, or the logit of the class that was predicted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from msaviz.interpret.steering import frozen
from msaviz.interpret.trace import Trace
from msaviz.types import Batch, Output, Steer

ROUTINGS = ("frozen", "live")
BASELINES = ("zero", "mean", "train", "missing")
FLOATS = 2**23
"""Numbers of input that one forward pass may hold: 32 MB."""
ROWS = 256
"""Rows of one forward pass, at most; more of them leave the processor's cache (IG over a split of DERL: 11 s with 256, 19 s with 2048)."""
WIDTH = 384
"""Numbers that a token id becomes, for this reckoning."""

References = Mapping[str, Float[Tensor, "s w"]]
"""Modality -> what stands in for a step of it; several (s > 1) are a distribution to draw from."""


class Explained(nn.Module):
    """f(values, rows): one number for each row of the values, which belongs to row `rows` of the batch.

    What an attribution method expands or repeats is told by `rows`: masks, domains and steering follow from it, so that a whole batch
    is explained in one go whatever its order. With `routing` "frozen" sparse routers call the experts that they call for the whole input.
    `target`: the class of each row whose logit is the number, instead of the predicted one.
    """

    def __init__(self, model: nn.Module, batch: Batch, *, routing: str = "frozen", target: Int[Tensor, " b"] | None = None):
        super().__init__()
        if routing not in ROUTINGS:
            raise ValueError(f"no routing is called {routing!r}; these exist: {', '.join(ROUTINGS)}")
        self.model = getattr(model, "model", model)
        self.batch = vectors(model, batch)
        self.modalities = self.batch.modalities
        output = self.look()
        own = output.prediction.argmax(-1) if output.prediction.ndim > 1 else None
        self.target = own if target is None or own is None else target.to(own)
        self.steered = {**self.batch.steered, **(frozen(output.routing) if routing == "frozen" else {})}
        self.rows = torch.arange(len(batch), device=self.batch.example.device)
        self.value = self.number(output, self.rows)

    def look(self) -> Output:
        """What the model makes of the batch itself."""
        with torch.no_grad():
            return self.model(self.batch)

    def number(self, output: Output, rows: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The explained number of each row of an output."""
        if self.target is None:
            return output.prediction
        return output.prediction.gather(-1, self.target[rows, None])[:, 0]

    def output(
        self,
        x: Mapping[str, Tensor],
        rows: Int[Tensor, " n"],
        mask: Mapping[str, Bool[Tensor, "n t"]] | None = None,
        steered: Mapping[str, Steer] | None = None,
    ) -> Output:
        """What the model makes of these values; `steered` goes before what is frozen."""
        here = {key: steer.map(lambda tensor: tensor[rows]) for key, steer in self.steered.items()}
        told = replace(
            self.batch,
            x=x,
            mask=mask or {m: self.batch.mask[m][rows] for m in self.modalities},
            labels={name: y[rows] for name, y in self.batch.labels.items()},
            domain=self.batch.domain[rows],
            example=self.batch.example[rows],
            steered={**here, **(steered or {})},
        )
        return self.model(told)

    def forward(self, *given: Tensor) -> Float[Tensor, " n"]:
        """From the values of all modalities, Float[n t w] in the order of `modalities`, and at last `rows`."""
        *values, rows = given
        found = self.number(self.output(dict(zip(self.modalities, values, strict=True)), rows), rows)
        return found + 0 * torch.stack([v.flatten(1).sum(1) for v in values]).sum(0)  # a modality that is not read has a gradient too: 0

    def hidden(
        self, keep: Mapping[str, Tensor], rows: Int[Tensor, " n"], references: References, features: bool = False
    ) -> Float[Tensor, " n"]:
        """From what is kept: `keep[m]` is 1 or 0, [n t] (or [n 1]) for steps, [n w] for `features`.

        What is not kept shows its reference; without a reference the step is missing (its mask is False).
        """
        x, mask = {}, {}
        for m in self.modalities:
            kept = keep[m] > 0.5
            x[m], mask[m] = self.batch.x[m][rows], self.batch.mask[m][rows]
            if m in references:
                x[m] = torch.where(kept[:, None] if features else kept[..., None], x[m], references[m][0].to(x[m].dtype))
            else:
                mask[m] = mask[m] & kept
        return self.number(self.output(x, rows, mask), rows)


@contextmanager
def evaluating(trace: Trace) -> Iterator[nn.Module]:
    """The trace's model, in eval mode inside the block; its mode is restored. ValueError for a trace without one."""
    if trace.model is None:
        raise ValueError("this trace holds no model; `observe(model, …)` or `Run.observe` makes one that does")
    was_training = trace.model.training
    trace.model.eval()
    try:
        yield trace.model
    finally:
        trace.model.train(was_training)


def vectors(model: nn.Module, batch: Batch) -> Batch:
    """The batch as the model behind the text encoder reads it: token ids become vectors; what is padded is zero."""
    turn = getattr(model, "vectors", None)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    batch = replace(batch, complete=None, dropped={}).to(device)
    with torch.no_grad():
        batch = turn(batch) if turn is not None else batch
    return batch.with_x(**{m: x.masked_fill(~batch.mask[m][..., None], 0) for m, x in batch.x.items()})


def references(kind: str, model: nn.Module, batches: Sequence[Batch], *, draws: int = 16, seed: int = 0) -> dict[str, Tensor]:
    """Modality -> Float[s w], what stands in for a step: zeros, the mean of all steps, or `draws` of the steps ("train"); {} for "missing".

    `batches`: the train split for "mean" and "train"; any for the others.
    """
    if kind not in BASELINES:
        raise ValueError(f"no baseline is called {kind!r}; these exist: {', '.join(BASELINES)}")
    if kind == "missing":
        return {}
    read = [vectors(model, batch) for batch in (batches[:1] if kind == "zero" else batches)]
    steps = {m: torch.cat([b.x[m][b.mask[m]] for b in read]) for m in read[0].modalities}
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for m, x in steps.items():
        found[m] = x.new_zeros(1, x.shape[-1])
        if kind == "mean" and len(x):
            found[m] = x.mean(0, keepdim=True)
        if kind == "train" and len(x):
            found[m] = x[torch.randint(len(x), (draws,), generator=generator).to(x.device)]
    return found


def chunks(trace: Trace, copies: int = 1) -> Iterator[tuple[np.ndarray, Batch]]:
    """(positions in the trace Int[b], those utterances padded to their own longest), few enough that `copies` of them fit in one pass.

    Utterances of like length share a chunk: what is padded is neither computed nor kept.
    """
    start = 0
    for batch in trace.batches:
        lengths = torch.stack([length(mask) for mask in batch.mask.values()])
        order = lengths.sum(0).argsort(stable=True)
        while len(order):
            widths = [batch.x[m].shape[-1] if batch.x[m].is_floating_point() else WIDTH for m in batch.modalities]
            steps = lengths[:, order].cummax(1).values * torch.tensor(widths)[:, None]
            held = steps.sum(0) * torch.arange(1, len(order) + 1) * copies
            size = max(1, min(int((held <= FLOATS).sum()), ROWS // copies))
            rows, order = order[:size], order[size:]
            yield start + rows.numpy(), trimmed(batch, rows)
        start += len(batch)


def trimmed(batch: Batch, rows: Int[Tensor, " n"]) -> Batch:
    """These rows, padded to the longest of them; steering must be the same at all steps, which are others then."""
    assert all(tensor is None or tensor.shape[1] == 1 for s in batch.steered.values() for tensor in (s.allowed, s.gates))
    longest = {m: max(1, int(length(mask[rows]).max())) for m, mask in batch.mask.items()}
    return Batch(
        {m: x[rows, : longest[m]] for m, x in batch.x.items()},
        {m: mask[rows, : longest[m]] for m, mask in batch.mask.items()},
        {name: y[rows] for name, y in batch.labels.items()},
        batch.domain[rows],
        batch.example[rows],
        steered={key: steer.map(lambda tensor: tensor[rows]) for key, steer in batch.steered.items()},
    )


def length(mask: Bool[Tensor, "b t"]) -> Int[Tensor, " b"]:
    """The last valid step of each row, from 1; 0 where there is none."""
    return (mask * torch.arange(1, mask.shape[1] + 1)).amax(1)
