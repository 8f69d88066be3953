"""What does a cue that flips in the unseen domain do to a model, and which picture shows why?

    python tests/flipped_cue.py [--seeds 5] [--rows 3000] [--workers 2] [--out DIR]

Four synthetic domains; the last is unseen. In the sources the last modality carries a clean cue for the label, of strength 2, 1 and 0; in
the unseen domain it is turned round. Prints the error and accuracy there of early fusion with some objectives, of MIDG, and of MIDG without
what makes it invariant, beside the constant and the best possible prediction, and writes pictures of the first seed of ERM and of MIDG.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from msaviz import TABLES, VIEWS, Run, compare, load
from msaviz.training.compare import Comparison
from msaviz.training.metrics import metrics
from msaviz.viz.theme import CONFIG

ABLATION = {"model.invariance": "none", "model.price_weight": 0.0, "model.gate_weight": 0.0, "model.screen": False}
INVARIANT = {"midg:model.invariance": "vrex", "midg:model.invariance_weight": 100.0}
METRICS = ["mae", "acc2_negpos", "corr"]
PLAN = {"train.batch": 96, "train.epochs": 10, "train.patience": 10}


def source(rows: int) -> str:
    return f"synthetic:rows={rows},domains=4,spurious=2,spurious_spread=1,shift=0.3,seed=7"


def measured(rows: int, seeds: int, workers: int, out: Path, objectives: list[str]) -> dict[str, Comparison]:
    """Early fusion with these objectives, MIDG, and MIDG without what makes it invariant, each tested in the domain `game` alone."""
    plan = {"data": source(rows), "domains": ["game"], "seeds": seeds, "workers": workers}
    bare = {**PLAN, **{f"midg:{path}": value for path, value in ABLATION.items()}}
    return {
        "early fusion": compare(["early_fusion"], objectives, changes=PLAN, out=out, **plan),
        "MIDG": compare(["midg"], ["erm"], changes={**PLAN, **INVARIANT}, out=out / "midg", **plan),
        "MIDG, nothing invariant": compare(["midg"], ["erm"], changes=bare, out=out / "without", **plan),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/flipped_cue"))
    asked = parser.parse_args()
    found = measured(asked.rows, asked.seeds, asked.workers, asked.out, ["erm", "groupdro", "vrex"])
    for name, one in found.items():
        rows = one.frame[(one.frame["target"] == "game") & one.frame["metric"].isin(METRICS)]
        print(f"{name}\n{rows.pivot(index='objective', columns='metric', values=['mean', 'sd']).round(3).to_string()}\n")
    truth = load(source(asked.rows))
    split = truth["test"]
    unseen = split.domain == truth.spec.domains.index("game")
    best = metrics(truth.truth.ideal("test")[unseen], split.labels["sentiment"][unseen], truth.spec.task)
    print("best possible without the cue:", {name: round(best[name], 3) for name in METRICS})
    pictures(asked.out, {"early fusion, ERM": found["early fusion"].runs[0], "MIDG": found["MIDG"].runs[0]})


def pictures(out: Path, runs: dict[str, Path]) -> None:
    """Rules that carry over, and calibration, of the two models side by side."""
    traces = {name: Run.open(path).observe("test") for name, path in runs.items()}
    for table, keep in {
        "domain_transfer": lambda f: f["representation"].eq("fused"),
        "calibration": lambda f: f["domain"].ne("all"),
    }.items():
        frames = [TABLES[table](trace).assign(run=name) for name, trace in traces.items()]
        frame = pd.concat(frames, ignore_index=True)
        frame = frame[keep(frame)]
        print(table, "-", VIEWS[table].read(frame))
        VIEWS[table](frame).write_html(out / f"{table}.html", include_plotlyjs=True, config=CONFIG)
    for name, trace in traces.items():
        there = trace.examples[trace.examples["domain"] == "game"]
        print(f"{name}: slope of label on prediction in the unseen domain {np.polyfit(there['prediction'], there['label'], 1)[0]:.2f}")


if __name__ == "__main__":
    main()
