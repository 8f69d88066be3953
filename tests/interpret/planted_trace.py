"""Traces made by hand, whose truth is known: no model, no training."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import nn

from msaviz.interpret.trace import Trace
from msaviz.types import Batch, Output, Routing, Spec, Steer, Task

MODALITIES = ("text", "audio", "vision")
DOMAINS = ("news", "film")
STEPS, SUMMARIES, EXPERTS, WIDTH = 20, 2, 4, 16
NUMBER, CLASSES = Task(), Task("classes", classes=("angry", "calm", "glad"))
MASKS = {
    "text": torch.tensor([[1, 1, 0], [0, 1, 1], [1, 1, 0], [0, 0, 0]]).bool(),
    "audio": torch.ones(EXPERTS, 3).bool(),
    "vision": torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]).bool(),
}


def gates_of(expert: torch.Tensor, sharpness: float = 0.9) -> torch.Tensor:
    """Float[b t e]: `sharpness` on the given expert Int[b t], the rest spread evenly."""
    hot = torch.nn.functional.one_hot(expert, EXPERTS).float()
    return hot * sharpness + (1 - hot) * (1 - sharpness) / (EXPERTS - 1)


def planted(rows: int = 240, *, size: int = 50, seed: int = 0, task: Task = NUMBER, run: str = "planted", absent: float = 0.1) -> Trace:
    """What is planted:

    * router "domain": expert 1 in domain news, expert 3 in domain film; router "shared": expert 0, 1, 2 for text, audio, vision;
      router "time" (text): expert 0 in the first half of the utterance, expert 2 in the second; router "idle": even gates; the routers
      "domain", "time" and "idle" see text only.
    * private/text holds the label; shared/* hold one common factor that is no function of the label, in the same directions; private/audio
      and private/vision are noise in directions of their own; private/vision holds the domain too.
    * importance .5 for private/text, the rest even; absent vision (a share `absent` of the rows) has importance 0.
    * predictions: label + .5 in domain news, label - 1 in film (error by domain).
    * masks: `MASKS`; the model: `Knowing`, which predicts just that and needs its experts.
    """
    g = torch.Generator().manual_seed(seed)
    domain = (torch.arange(rows) % 3 == 0).long()  # a third is film
    value = torch.randn(rows, generator=g).clamp(-3, 3)
    label = value if task.kind == "regression" else (value > 0.5).long() + (value > -0.5).long()
    factor = torch.randn(rows, 2, generator=g)
    there = torch.rand(rows, generator=g) >= absent
    spaces = representations(label.float(), factor, domain, g)
    lengths = torch.randint(6, STEPS + 1, (rows,), generator=g)
    parts = []
    for start in range(0, rows, size):
        keep = torch.arange(start, min(start + size, rows))
        parts.append(one_batch(keep, domain, label, there, lengths, spaces, task))
    spec = Spec(widths=dict.fromkeys(MODALITIES, 3), tasks={"sentiment": task}, domains=DOMAINS)
    return Trace(spec, tuple(b for b, _ in parts), tuple(o for _, o in parts), Knowing(task), run, "test")


def representations(label: torch.Tensor, factor: torch.Tensor, domain: torch.Tensor, g: torch.Generator) -> dict[str, torch.Tensor]:
    rows = len(label)

    def noise(columns: slice) -> torch.Tensor:
        x = torch.zeros(rows, WIDTH)
        x[:, columns] = torch.randn(rows, len(range(WIDTH)[columns]), generator=g)
        return x

    found = {}
    for m in MODALITIES:
        x = 0.05 * torch.randn(rows, WIDTH, generator=g)
        x[:, 0:2] += factor
        found[f"shared/{m}"] = x
    found["private/text"] = noise(slice(4, 8))
    found["private/text"][:, 4] = label + 0.1 * torch.randn(rows, generator=g)
    found["private/audio"] = noise(slice(8, 12))
    found["private/vision"] = noise(slice(12, 16))
    found["private/vision"][:, 12] += 4 * domain
    found["fused"] = torch.cat([label[:, None], torch.randn(rows, 7, generator=g)], 1)
    return found


def one_batch(keep, domain, label, there, lengths, spaces, task) -> tuple[Batch, Output]:
    step = torch.arange(STEPS)
    mask = dict.fromkeys(MODALITIES, step[None] < lengths[keep, None])
    mask["vision"] = mask["vision"] & there[keep, None]
    batch = Batch(
        x={m: torch.zeros(len(keep), STEPS, 3) for m in MODALITIES},
        mask=mask,
        labels={"sentiment": label[keep]},
        domain=domain[keep],
        example=keep,
    )
    time = torch.cat([torch.full((SUMMARIES,), -1), step])[None].expand(len(keep), -1)  # Int[b t]
    routing = {}

    def route(router: str, expert: torch.Tensor, modality: str, *, sharpness: float = 0.9) -> None:
        seen = torch.cat([mask[modality].any(1, keepdim=True).expand(-1, SUMMARIES), mask[modality]], 1)
        gates = gates_of(expert.expand(len(keep), STEPS + SUMMARIES), sharpness)
        # padding routes nonsense on purpose: no table may look at it
        gates = torch.where(seen[..., None], gates, torch.eye(EXPERTS)[3])
        routing[f"{router}/{modality}"] = Routing(gates.log(), gates, seen, modality, time)

    for i, m in enumerate(MODALITIES):
        route("shared", torch.tensor(i), m)
    route("domain", 1 + 2 * domain[keep, None], "text")
    route("time", 2 * (time.clamp(min=0) >= (lengths[keep, None] / 2)).long(), "text")
    route("idle", torch.tensor(0), "text", sharpness=1 / EXPERTS)
    contributors = tuple(f"{space}/{m}" for space in ("private", "shared") for m in MODALITIES)
    importance = torch.tensor([0.5, 0.1, 0.1, 0.1, 0.1, 0.1]).repeat(len(keep), 1)
    importance[:, [2, 5]] *= there[keep, None]
    importance = importance / importance.sum(1, keepdim=True)
    prediction = predicted(label[keep], domain[keep], task)
    cut = {name: value[keep] for name, value in spaces.items()}
    cut["shared/vision"], cut["private/vision"] = (cut[f"{s}/vision"] * there[keep, None] for s in ("shared", "private"))
    output = Output(
        predictions={"sentiment": prediction},
        fused=cut["fused"],
        routing=routing,
        private={m: cut[f"private/{m}"] for m in MODALITIES},
        shared={m: cut[f"shared/{m}"] for m in MODALITIES},
        importance=importance,
        contributors=contributors,
        masks=MASKS,
    )
    return batch, output


def predicted(label: torch.Tensor, domain: torch.Tensor, task: Task, off: int | None = None) -> torch.Tensor:
    """What the planted model says with expert `off` of router "domain" switched off.

    Expert 1 carries news (without it the error is 1 larger there, a class wrong), expert 3 film (.5 larger), expert 2 disturbs news
    (without it the error is .25 smaller), expert 0 does nothing.
    """
    news = domain == 0
    if task.kind == "classes":
        lost = news if off == 1 else ~news if off == 3 else torch.zeros_like(news)
        return nn.functional.one_hot((label.long() + lost.long()) % len(task.classes), len(task.classes)).float()
    added = {None: (0.0, 0.0), 0: (0.0, 0.0), 1: (1.0, 0.0), 2: (-0.25, 0.0), 3: (0.0, -0.5)}[off]
    return label + torch.where(news, 0.5 + added[0], -1.0 + added[1])


WANTED = {"domain/text": (1, 3), "shared/text": (0, 0)}
"""The experts whose gate, .9 of its own, the planted model needs in news and in film."""


class Knowing(nn.Module):
    """Reads the label itself, so that the worth of each expert and gate is known: what its routers are told decides how wrong it is.

    Experts switched off: see `predicted`; those of the other routers are worth nothing. Gates from outside: what is missing to the .9
    of a `WANTED` expert adds to the error.
    """

    def __init__(self, task: Task = NUMBER):
        super().__init__()
        self.task = task

    def forward(self, batch: Batch) -> Output:
        assert not self.training
        assert not torch.is_grad_enabled()
        told = batch.steered.get("domain/text", Steer()).allowed
        off = None if told is None else int((~told[0, 0]).int().argmax())
        found = predicted(batch.y, batch.domain, self.task, off)
        for key, experts in WANTED.items():
            gates = batch.steered.get(key, Steer()).gates
            if gates is not None and self.task.kind == "regression":
                wanted = torch.tensor(experts)[batch.domain]
                missing = 0.9 - gates[:, 0].gather(1, wanted[:, None])[:, 0].nan_to_num(0.9)
                found = found + torch.where(batch.domain == 0, missing, -missing)
        return Output({"sentiment": found}, torch.zeros(len(batch), 2))


def given(fused: np.ndarray, domain: np.ndarray, **more) -> Trace:
    """One batch of rows with this representation and domain; `label`, `prediction`, `task`, `gates` Float[n e] or `run` if they matter."""
    rows, task = len(fused), more.get("task", NUMBER)
    label = torch.as_tensor(np.asarray(more.get("label", np.zeros(rows))))
    label = label.float() if task.kind == "regression" else label.long()
    x, there = {m: torch.zeros(rows, 1, 3) for m in MODALITIES}, dict.fromkeys(MODALITIES, torch.ones(rows, 1).bool())
    batch = Batch(x, there, {"sentiment": label}, torch.as_tensor(domain).long(), torch.arange(rows))
    routing = {}
    if "gates" in more:
        gates = torch.as_tensor(more["gates"]).float()[:, None]
        routing = {"mixture": Routing(gates.clamp(min=1e-9).log(), gates, torch.ones(rows, 1).bool())}
    prediction = torch.as_tensor(np.asarray(more.get("prediction", label))).float()
    names = tuple(f"place {i}" for i in range(int(np.max(domain)) + 1))
    spec = Spec(widths=dict.fromkeys(MODALITIES, 3), tasks={"sentiment": task}, domains=names)
    output = Output({"sentiment": prediction}, torch.as_tensor(fused).float(), routing)
    return Trace(spec, (batch,), (output,), None, more.get("run", "given"), "test")


def plain(rows: int = 60) -> Trace:
    """A model with a prediction and a fused vector only."""
    full = planted(rows)
    return Trace(full.spec, full.batches, tuple(Output(o.predictions, o.fused) for o in full.outputs), None, "plain", "test")


def sweep(*, models: tuple[str, ...] = ("derl", "early_fusion"), seeds: int = 5, protocol: str = "missing") -> pd.DataFrame:
    """MAE = start + slope * rate + (seed - 2) / 100, exactly; Acc-2 falls; the floor is 1.4 and .6."""
    keys = (
        [round(r / 10, 1) for r in range(10)] if protocol == "missing" else ["text", "audio", "vision", "text+audio", "text+audio+vision"]
    )
    rows = []
    for model, (start, slope) in zip(models, ((0.9, 0.4), (1.0, 0.5), (1.1, 0.3)), strict=False):
        for seed in range(seeds):
            for i, key in enumerate(keys):
                rate, subset = (key, np.nan) if protocol == "missing" else (np.nan, key)
                r = i / 10
                head = (f"{model}-{seed}", model, seed, protocol, "test", "validation", rate, subset)
                rows.append((*head, "mae", start + slope * r + (seed - 2) / 100, 1.4))
                rows.append((*head, "acc2_negpos", 0.8 - 0.2 * r, 0.6))
                rows.append((*head, "corr", 0.7 - 0.5 * r, 0.0))
            for summary in ("mean", "area"):  # rows that a protocol adds itself; no table may take them for a condition
                rows.append((f"{model}-{seed}", model, seed, protocol, "test", "validation", np.nan, summary, "mae", 99.0, 1.4))
    return pd.DataFrame(
        rows, columns=["run", "model", "seed", "protocol", "split", "selection", "rate", "subset", "metric", "value", "floor"]
    )


def history(steps: int = 600, run: str = "derl-0") -> pd.DataFrame:
    """Loss terms a step that fall as 1/step, validation MAE every 50 steps with its best, .7, at step 400."""
    rows = []
    for step in range(1, steps + 1):
        for term, size in (
            ("loss/total", 3.0),
            ("loss/task", 1.0),
            ("loss/reconstruction", 1.5),
            ("loss/orthogonality", 0.2),
            ("loss/similarity", 0.4),
        ):
            rows.append((run, step, step // 50, "train", "all", term, size / step**0.5))
        if step % 50 == 0:
            rows.append((run, step, step // 50, "valid", "all", "mae@0", 0.7 + abs(step - 400) / 1000))
            rows.append((run, step, step // 50, "valid", "all", "mae@0.5", 0.9 + abs(step - 400) / 1000))
            rows.append((run, step, step // 50, "valid", "news", "mae@0", 0.6))
            rows.append((run, step, step // 50, "valid", "all", "corr@0", 0.6 - abs(step - 400) / 1000))
    return pd.DataFrame(rows, columns=["run", "step", "epoch", "split", "domain", "metric", "value"])
