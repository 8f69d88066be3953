"""What does HAEMSA's evolution bring on real data, beside baselines, its controls and its ablations?

    python tests/mosi_evolution.py mosi_standard.pkl [--trials 40] [--seeds 5] [--epochs 15] [--workers 2] [--out DIR]

Runs `msaviz search haemsa` (or goes on with what is in DIR), trains the baselines and the ablations of the default genome with the same
options, and tests everything on every set of modalities. Prints mean [95 % interval over test utterances], for complete input and as the
mean over the sets, and the gain over the best baseline of that metric on the test split (the hardest bar).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from msaviz import Experiment, Run, override
from msaviz.search.evolve import prepared, search
from msaviz.search.winners import outcome, train_all, validation_score
from msaviz.training.metrics import higher_is_better

BASELINES: Mapping[str, Mapping[str, Any]] = {
    "text alone": {"model": "unimodal"},
    "early fusion": {"model": "early_fusion"},
    "late fusion": {"model": "late_fusion"},
    "DERL": {"model": "derl"},
}
ABLATIONS: Mapping[str, Mapping[str, Any]] = {
    "flat mixture": {"model.flat": True},
    "no transfer": {"model.pairs": "none", "model.distillation_weight": 0.0, "model.partial_weight": 0.0},
    "single task": {"model.multitask": False},
}
METRICS = ("mae", "acc2_negpos", "acc7", "corr")
ARMS = {"default": "HAEMSA, default genome", "random": "HAEMSA, random search", "nsga2": "HAEMSA, evolution"}


def trained(name: str, experiment: Experiment, out: Path, seeds: int, workers: int) -> list[Run]:
    """The runs of one row, trained where they are not there yet."""
    jobs = [(override(experiment, {"seed": seed}), out / "rows" / f"{name.replace(' ', '_')}-{seed}") for seed in range(seeds)]
    if failed := train_all(jobs, workers, tqdm(desc=name, unit="run")):
        raise RuntimeError(f"{name}: {failed}")
    return [Run.open(path) for _, path in jobs]


def rows_of(asked: argparse.Namespace) -> dict[str, list[Run]]:
    """Row's name -> its runs: baselines, ablations, and the winners of the search."""
    plain = override(Experiment(model="haemsa", data=asked.data), {"train.epochs": asked.epochs})
    found = search(plain, asked.out, trials=asked.trials, seeds=asked.seeds, workers=asked.workers)
    rows = {}
    for name, changes in {**BASELINES, **ABLATIONS}.items():
        base = Experiment(model=changes["model"], data=asked.data, train=plain.train) if "model" in changes else plain
        experiment = prepared(override(base, {path: value for path, value in changes.items() if path != "model"}))
        rows[name] = trained(name, experiment, Path(asked.out), asked.seeds, asked.workers)
    return rows | {ARMS.get(arm, arm): found.runs(arm) for arm in reversed(found.arms)}


def best_baselines(frame: pd.DataFrame, target: str) -> dict[str, str]:
    """Metric -> the baseline that is best at it on the test split."""
    part = frame[(frame["target"] == target) & frame["model"].isin(BASELINES)]
    rows = {metric: part[part["metric"] == metric].set_index("model")["mean"] for metric in METRICS}
    return {metric: str(v.idxmax() if higher_is_better(metric) else v.idxmin()) for metric, v in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", default="runs/mosi_evolution")
    asked = parser.parse_args()
    rows = rows_of(asked)
    frame, notes = outcome(rows, "row", list(rows))
    frame.to_csv(Path(asked.out) / "rows.csv", index=False)
    full = "+".join(next(iter(rows.values()))[0].spec.modalities)
    for target in (full, "mean"):
        best = best_baselines(frame, target)
        print(f"\n{target} (best baseline: {', '.join(f'{m} {b}' for m, b in best.items())})")
        for name, runs in rows.items():
            cells = []
            for metric in METRICS:
                part = frame[(frame["target"] == target) & (frame["model"] == name) & (frame["metric"] == metric)]
                one = part[part["against"] == best[metric]].iloc[0]
                gain = f" {one['gain']:+.1f} [{one['gain_low']:.1f}, {one['gain_high']:.1f}]" if name not in BASELINES else ""
                cells.append(f"{one['mean']:.3f} [{one['low']:.3f}, {one['high']:.3f}]{gain}")
            validation = pd.Series([validation_score(run) for run in runs])
            print(f"{name} | {' | '.join(cells)} | validation {validation.mean():.3f} ± {validation.std():.3f}")
        print(
            "constant |", " | ".join(f"{frame[(frame['target'] == target) & (frame['metric'] == m)]['floor'].iloc[0]:.3f}" for m in METRICS)
        )
    for note in notes:
        print(f"! {note}")


if __name__ == "__main__":
    main()
