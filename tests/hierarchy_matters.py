"""Does each ingredient of HAEMSA matter where it must: on problems that were planted for it?

    python tests/hierarchy_matters.py [--seeds 5] [--only trust,parts,...]

Every problem is made so that one ingredient is what solves it; HAEMSA is trained with and without that ingredient, everything else alike.
Prints the mean absolute error on the test split (complete input, and the mean over all sets of modalities) with its spread over seeds, the
constant and the noise that no model can explain.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from msaviz import Experiment, override
from msaviz.data.dataset import Dataset
from msaviz.search.evolve import search
from msaviz.training.loop import Trainer
from msaviz.training.validation import COMPLETE

SIZES = {"train": 1200, "valid": 300, "test": 600}
NAMES = ("text", "audio", "vision")
QUICK = {
    "train.epochs": 25,
    "train.validation": "subsets",
    "train.threads": 1,
    "model.dim": 32,
    "model.layers": 0,
    "model.summary": 0,
    "model.hidden": 32,
    "missing": "none",
}


@dataclass(frozen=True)
class Problem:
    """What is planted, and the options with which HAEMSA lacks what solves it. `best`: MAE of the noise alone."""

    story: str
    make: Callable[[int], Dataset]
    without: Mapping[str, Mapping[str, Any]]
    subject: str
    """Which error it is about: "complete" or "mean" (over the sets of modalities)."""
    changes: Mapping[str, Any]


def squashed(latent: np.ndarray) -> np.ndarray:
    """A label in [-3, 3] from a latent number of variance 1."""
    return 3 * np.tanh(0.7 * latent)


def dataset(y: Any, **modalities: np.ndarray) -> Dataset:
    return Dataset.from_arrays(y=y, splits=np.repeat(list(SIZES), list(SIZES.values())), name="planted", **modalities)


def directions(generator: np.random.Generator, count: int, width: int) -> np.ndarray:
    """Float[count width]: orthonormal."""
    return np.linalg.qr(generator.standard_normal((width, width)))[0][:count]


def trust(seed: int) -> Dataset:
    """In each utterance one modality tells the label, the others something else; each says of itself whether it is the one."""
    g, rows = np.random.default_rng(seed), sum(SIZES.values())
    s, right, told = g.standard_normal(rows), g.integers(len(NAMES), size=rows), {}
    for i, m in enumerate(NAMES):
        reading, sign = np.where(right == i, s, g.standard_normal(rows)), np.where(right == i, 1.5, -1.5)
        u, v = directions(g, 2, 12)
        told[m] = reading[:, None] * u + sign[:, None] * v + 0.1 * g.standard_normal((rows, 12))
    return dataset(squashed(s), **{m: x.astype(np.float32) for m, x in told.items()})


def parts(seed: int) -> Dataset:
    """Every modality shows the same factor through its own noise: the whole and each part can tell it, if they have learnt to."""
    g, rows = np.random.default_rng(seed), sum(SIZES.values())
    s, told = g.standard_normal(rows), {}
    for m, noise in zip(NAMES, (0.4, 0.7, 1.0), strict=True):
        u = directions(g, 1, 12)[0]
        told[m] = (s + noise * g.standard_normal(rows))[:, None] * u + 0.3 * g.standard_normal((rows, 12))
    return dataset(squashed(s), **{m: x.astype(np.float32) for m, x in told.items()})


def pointing(seed: int) -> Dataset:
    """Text says three numbers, audio says which of them counts: only who asks the other knows the label."""
    g, rows = np.random.default_rng(seed), sum(SIZES.values())
    numbers, which = g.standard_normal((rows, 3)), g.integers(3, size=rows)
    basis, keys = directions(g, 6, 12), directions(g, 3, 12)
    text = numbers @ basis[:3] + 0.1 * g.standard_normal((rows, 12))
    audio = 2 * keys[which] + 0.1 * g.standard_normal((rows, 12))
    vision = g.standard_normal((rows, 12))
    told = {"text": text, "audio": audio, "vision": vision}
    return dataset(squashed(numbers[np.arange(rows), which]), **{m: x.astype(np.float32) for m, x in told.items()})


def few_labels(seed: int) -> Dataset:
    """One training utterance in twenty has a sentiment label, all have an emotion: the half and the strength of the same factor."""
    g, rows = np.random.default_rng(seed), sum(SIZES.values())
    s, told = g.standard_normal(rows), {}
    for m in NAMES:
        u = directions(g, 1, 40)[0]
        told[m] = (s + 0.5 * g.standard_normal(rows))[:, None] * u + 0.7 * g.standard_normal((rows, 40))
    y = squashed(s)
    hidden = (np.arange(rows) < SIZES["train"]) & (g.random(rows) > 0.05)
    emotion = np.digitize(y, [-1.5, -0.5, 0.5, 1.5])
    return dataset({"sentiment": np.where(hidden, np.nan, y), "emotion": emotion}, **{m: x.astype(np.float32) for m, x in told.items()})


NO_PARTS = {"model.distillation_weight": 0.0, "model.partial_weight": 0.0}
EVOLUTION = "evolution"
PROBLEMS = {
    "trust": Problem(
        "one modality tells the truth, another one in each utterance",
        trust,
        {"flat mixture": {"model.flat": True}},
        "complete",
        {"model.hidden": 8, "model.experts": 2},
    ),
    "parts": Problem(
        "trained on whole input, tested on parts",
        parts,
        {"no transfer to parts": NO_PARTS, "distillation alone": {"model.partial_weight": 0.0}},
        "mean",
        {},
    ),
    "pointing": Problem("audio says which of text's numbers counts", pointing, {"no pairs": {"model.pairs": "none"}}, "complete", {}),
    "few labels": Problem(
        "sentiment for 5 % of the training rows, emotion for all", few_labels, {"single task": {"model.multitask": False}}, "complete", {}
    ),
}


def error(data: Dataset, seed: int, changes: Mapping[str, Any]) -> dict[str, float]:
    """MAE on the test split of HAEMSA with these changes: on complete input, and the mean over the sets of modalities."""
    experiment = override(Experiment(model="haemsa", data="planted", seed=seed), {**QUICK, **changes})
    trainer = Trainer(experiment, data)
    trainer.fit(progress=False)
    trainer.kept.load_state_dict(trainer.best_state)
    read = trainer.validator
    found = {n: read.measure(trainer.kept, "test", missing)["all"]["mae"] for n, missing in read.conditions.items()}
    return {"complete": read.measure(trainer.kept, "test", COMPLETE)["all"]["mae"], "mean": float(np.mean(list(found.values())))}


def measured(name: str, seeds: int) -> pd.DataFrame:
    """A row an ablation and seed: the two errors and that of the constant."""
    problem, rows = PROBLEMS[name], []
    for seed in range(seeds):
        data = problem.make(seed)
        y = {s: data.splits[s].labels["sentiment"] for s in ("train", "test")}
        constant = float(np.abs(y["test"] - np.nanmedian(y["train"])).mean())
        for label, changes in {"haemsa": {}, **problem.without}.items():
            rows.append({"model": label, "seed": seed, **error(data, seed, {**problem.changes, **changes}), "constant": constant})
    return pd.DataFrame(rows)


def distraction(seed: int) -> dict[str, np.ndarray]:
    """Few utterances; text tells the label, audio and vision are wide noise that a network learns by heart."""
    g, sizes, arrays = np.random.default_rng(seed), {"train": 300, "valid": 300, "test": 600}, {}
    u = directions(g, 1, 12)[0]
    for split, rows in sizes.items():
        s = g.standard_normal(rows)
        text = (s + 0.5 * g.standard_normal(rows))[:, None] * u + 0.5 * g.standard_normal((rows, 12))
        arrays |= {f"y_{split}": squashed(s), f"text_{split}": text[:, None]}
        arrays |= {f"{m}_{split}": g.standard_normal((rows, 1, 200)) for m in ("audio", "vision")}
    return {name: x.astype(np.float32) for name, x in arrays.items()}


def evolved(seeds: int, trials: int, out: Path) -> pd.DataFrame:
    """A row an arm and data set: the error on test of its winner (3 seeds), for complete input and as the mean over the sets."""
    rows = []
    for seed in range(seeds):
        path = out / f"distraction-{seed}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **distraction(seed))
        experiment = override(Experiment(model="haemsa", data=str(path), seed=seed), {"train.epochs": 25, "missing": "none"})
        found = search(experiment, out / f"search-{seed}", trials=trials, seeds=3, progress=False)
        mae = found.results[found.results["metric"] == "mae"].drop_duplicates(["model", "target"])
        for arm, part in mae.groupby("model", sort=False):
            value = part.set_index("target")["mean"]
            rows.append(
                {"model": arm, "seed": seed, "complete": value["+".join(NAMES)], "mean": value["mean"], "constant": part["floor"].iloc[0]}
            )
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default=",".join([*PROBLEMS, EVOLUTION]))
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("runs/hierarchy_matters"))
    asked = parser.parse_args()
    for name in asked.only.split(","):
        if name == EVOLUTION:
            frame, about = evolved(asked.seeds, asked.trials, asked.out), f"audio and vision are wide noise, {asked.trials} trials an arm"
        else:
            frame, about = measured(name, asked.seeds), f"{PROBLEMS[name].story} (about the error: {PROBLEMS[name].subject})"
        table = frame.groupby("model", sort=False)[["complete", "mean", "constant"]].agg(["mean", "std"]).round(3)
        print(f"{name}: {about}\n{table.to_string()}\n", flush=True)


if __name__ == "__main__":
    main()
