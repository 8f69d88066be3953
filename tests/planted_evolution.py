"""An evolution, and what a hierarchy of experts does with each set of modalities, made by hand: no search, no training."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import torch

from msaviz.catalog import TABLES
from msaviz.interpret.evolution import GENES, TRIALS, Evolution
from msaviz.interpret.trace import Trace
from msaviz.types import JOINT, Batch, Output, Routing, Spec, Task, subsets

RANGES = {
    "model.dim": {"low": 16, "high": 256, "log": True},
    "model.experts": {"choices": [2, 4, 8]},
    "model.router": {"choices": ["soft", "top", "noisy"]},
    "model.modalities": {"subset_of": "modalities"},
    "train.lr": {"low": 1e-4, "high": 1e-2, "log": True},
}
DEFAULT = {"model.dim": 32, "model.experts": 4, "model.router": "top", "train.lr": 1e-3}
PARTS = tuple(f"model.modalities[{m}]" for m in ("text", "audio", "vision"))


def error_of(genome: dict) -> float:
    """`dim` decides: .1 less for each doubling; half of that where text is not used; nothing else matters."""
    return round(1.5 - 0.1 * np.log2(genome["model.dim"] / 16) * (1.0 if genome[PARTS[0]] else 0.5), 6)


def evolution(*, population: int = 8, generations: int = 5, seed: int = 0, name: str = "planted") -> Evolution:
    """Arms "nsga2", "random" and "default" with `population` times `generations` trials each.

    In nsga2 trial 0 is the default genome, the rest of generation 0 is random, and each later trial is a child of one of the two best of
    the generation before it: `dim` grows by a half or stays, and one other gene is drawn anew; the last trial of generation 1 is pruned,
    the one before it a copy of trial 0. Parameters are the square of `dim`.
    """
    g = np.random.default_rng(seed)
    trials, genes = [], []
    for arm in ("nsga2", "random", "default"):
        genomes: list[dict] = []
        for trial in range(population * generations):
            generation = trial // population if arm == "nsga2" else 0
            row = {"arm": arm, "trial": trial, "generation": generation, "state": "complete", "seconds": 1.0, "epochs": 2}
            row |= {"parent": -1, "other": -1, "crossed": "", "mutated": "", "inherited": 0.0, "copy_of": -1}
            genome = {**DEFAULT, **dict.fromkeys(PARTS, True)}
            if generation:
                genome, more = _child(genomes, population, generation, g)
                row |= more
            elif arm == "random" or (arm == "nsga2" and trial):
                genome = _random(g)
            if arm == "nsga2" and trial == 2 * population - 1:
                row["state"] = "pruned"
            elif arm == "nsga2" and trial == 2 * population - 2:
                genome, row["copy_of"] = dict(genomes[0]), 0
            genomes.append(genome)
            luck = 0.02 * g.standard_normal()
            trials.append({**row, "error": error_of(genome) + luck * (row["copy_of"] < 0), "parameters": float(genome["model.dim"] ** 2)})
            genes += [(arm, trial, gene, str(value), number(value)) for gene, value in genome.items()]
    return Evolution(name, pd.DataFrame(trials)[list(TRIALS)], pd.DataFrame(genes, columns=list(GENES)), RANGES)


def number(value: object) -> float:
    return np.nan if isinstance(value, str) else float(value)  # type: ignore[arg-type]


def _random(g: np.random.Generator) -> dict:
    words = {gene: space["choices"][g.integers(3)] for gene, space in RANGES.items() if "choices" in space}
    parts = {part: bool(g.random() < 0.7) or part == PARTS[1] for part in PARTS}
    return {"model.dim": int(2 ** g.uniform(4, 6.5)), **words, "train.lr": float(10 ** g.uniform(-4, -2)), **parts}


def _child(genomes: list[dict], population: int, generation: int, g: np.random.Generator) -> tuple[dict, dict]:
    """A genome and what is known of its making."""
    before = range((generation - 1) * population, generation * population)
    first, second = sorted(before, key=lambda trial: error_of(genomes[trial]))[:2]
    parent, other = (first, second) if g.random() < 0.7 else (second, first)
    fresh = _random(g)
    mutated = str(g.choice(["model.experts", "train.lr", PARTS[2]]))
    genome = {**genomes[parent], mutated: fresh[mutated], "model.router": genomes[other]["model.router"]}
    if g.random() < 0.5:
        genome["model.dim"] = min(256, int(genome["model.dim"] * 1.5))
    more = {"parent": parent, "other": other, "crossed": "model.router", "mutated": f"model.dim {mutated}", "inherited": 0.8}
    return genome, more


def subset_traces(rows: int = 40) -> dict[str, Trace]:
    """{"text": …, "text+audio+vision": …}: what a planted hierarchy does with each set of modalities.

    Router "local/m" sends .7 to the expert with m's number, .2 and .1 to the next ones; "global" splits evenly over the contributors
    that are there; "late" is a joint router of two experts, .25 and .75; "steps/text" routes single tokens. In a third of the rows
    audio is absent.
    """
    modalities = ("text", "audio", "vision")
    spec = Spec(widths=dict.fromkeys(modalities, 2), tasks={"sentiment": Task()})
    audible = torch.arange(rows) % 3 > 0
    names = {"+".join(kept): _hierarchy(kept, subsets(modalities), audible) for kept in subsets(modalities)}
    return {name: Trace(spec, (batch,), (output,), None, "hierarchy", "test") for name, (batch, output) in names.items()}


def _hierarchy(kept: tuple[str, ...], contributors: list[tuple[str, ...]], audible: torch.Tensor) -> tuple[Batch, Output]:
    rows, modalities = len(audible), contributors[-1]
    there = {m: audible if m == "audio" else torch.ones(rows).bool() for m in modalities}
    there = {m: here & (m in kept) for m, here in there.items()}
    batch = Batch(
        {m: torch.zeros(rows, 3, 2) for m in modalities},
        {m: here[:, None].expand(-1, 3) for m, here in there.items()},
        {"sentiment": torch.zeros(rows)},
        torch.zeros(rows).long(),
        torch.arange(rows),
    )
    routing = {}
    for i, m in enumerate(modalities):
        routing[f"local/{m}"] = _routing(torch.tensor([0.7, 0.2, 0.1]).roll(i).expand(rows, -1), there[m], m)
    open_ = torch.stack([torch.stack([there[m] for m in names]).all(0) for names in contributors], 1).float()
    some = open_.any(1)
    routing["global"] = _routing(open_ / open_.sum(1, keepdim=True).clamp(min=1), some)
    routing["late"] = _routing(torch.tensor([0.25, 0.75]).expand(rows, -1), some)
    gates = torch.full((rows, 3, 2), 0.5)
    routing["steps/text"] = Routing(gates.log(), gates, batch.mask["text"], "text", torch.arange(3).expand(rows, -1))
    named = tuple("+".join(names) for names in contributors)
    return batch, Output({"sentiment": torch.zeros(rows)}, torch.zeros(rows, 2), routing, contributors=named)


def _routing(gates: torch.Tensor, there: torch.Tensor, modality: str = JOINT) -> Routing:
    gates = gates[:, None]
    return Routing(gates.clamp(min=1e-9).log(), gates, there[:, None], modality)


@cache
def answers() -> dict[str, pd.DataFrame]:
    """Every table about an evolution or about subsets, of the planted ones, asked once."""
    subjects = {"evolution": evolution(population=5, generations=3), "subsets": subset_traces()}
    quick = {"gene_importance": {"permutations": 4, "seeds": 2, "trees": 4}}
    return {name: table(subjects[table.of], **quick.get(name, {})) for name, table in TABLES.items() if table.of in subjects}
