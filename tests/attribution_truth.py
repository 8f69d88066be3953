"""Do attributions of trained models find what was planted? `python tests/attribution_truth.py --models derl midg` prints it by method."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from msaviz import TABLES, Experiment, Run, override, train
from msaviz.interpret.coalitions import coalitions

MODELS = ("derl", "midg", "haemsa", "early_fusion")
METHODS = ("integrated_gradients", "gradient_shap", "feature_ablation", "occlusion")
BASELINES = {"feature_ablation": "missing", "occlusion": "missing", "gradient_shap": "train"}
"""The others start from zeros."""
NUMBERS = ["value", "low", "high", "control", "utterances"]


def trained(out: Path, model: str = "derl", *, seed: int = 0, rows: int = 900, epochs: int = 10) -> Run:
    """The model on synthetic data of the same seed; a finished run in this folder is opened."""
    if (out / "done").exists():
        return Run.open(out)
    experiment = Experiment(model=model, data=f"synthetic:rows={rows},seed={seed}", seed=seed)
    return train(override(experiment, {"train.epochs": epochs}), out, progress=False)


def facts(run: Run, methods: Sequence[str] = METHODS, *, limit: int = 128, split: str = "test") -> pd.DataFrame:
    """method, fact, modality, value, low, high, control (what a random order gives; NaN for a gap), utterances."""
    parts, refused = [shapley(run, limit, split)], []
    for name in methods:
        try:
            one = run.attribute(split, name, baseline=BASELINES.get(name, "zero"), limit=limit, progress=False)
        except ValueError as error:  # DeepLIFT says itself where it is not valid
            print(f"{run.name}, {name}: {error}")
            refused.append({"method": name, "fact": "refused", "modality": "all"})
            continue
        evidence = TABLES["planted_evidence"]({name: one})
        parts.append(evidence.rename(columns={"metric": "fact", "chance": "control"}))
        area = TABLES["deletion_curve"]({name: one}, limit=limit).drop_duplicates("kind")
        area = area.assign(fact=area["kind"] + " gain", value=area["gain"], low=area["gain_low"], high=area["gain_high"])
        parts.append(area.assign(control=0.0, modality="all"))
        gap = TABLES["attribution_completeness"]({name: one}).query("metric == 'relative_gap'")
        parts.append(gap.assign(fact="relative gap (median)", control=np.nan, modality="all"))
    found = [part[["method", "fact", "modality", *NUMBERS]] for part in parts]
    return pd.concat([*found, pd.DataFrame(refused)], ignore_index=True) if refused else pd.concat(found, ignore_index=True)


def shapley(run: Run, limit: int, split: str) -> pd.DataFrame:
    """The largest part of f(all) - f(nothing) that the Shapley values of the modalities leave over: rounding."""
    gap = np.abs(coalitions(run.observe(split, limit=limit)).gap)
    numbers = {"value": gap.max(), "low": gap.min(), "high": gap.max(), "control": np.nan, "utterances": len(gap)}
    return pd.DataFrame([{"method": "modality_shapley", "fact": "gap (largest)", "modality": "all", **numbers}])


def over_seeds(frame: pd.DataFrame) -> pd.DataFrame:
    """value and control of each model, method, fact and modality: the mean over seeds, and the deviation of the value."""
    keys = ["model", "method", "fact", "modality"]
    each = frame.groupby(keys, sort=False)
    found = each.agg(value=("value", "mean"), sd=("value", "std"), control=("control", "mean"), seeds=("seed", "nunique"))
    # of how many seeds the whole 95 % interval lies above the control
    return found.assign(clear=(frame["low"] > frame["control"]).groupby([frame[key] for key in keys], sort=False).sum()).reset_index()


def main(
    seeds: Sequence[int] = (0, 1, 2),
    rows: int = 900,
    epochs: int = 10,
    models: Sequence[str] = MODELS,
    methods: Sequence[str] = METHODS,
    out: Path | None = None,
) -> pd.DataFrame:
    """Train (or open) every model with every seed and print what the methods find; with `out`, runs and facts.json stay there."""
    parts = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = out or Path(temporary)
        for model in models:
            for seed in seeds:
                run = trained(folder / f"{model}-{rows}-{epochs}-{seed}", model, seed=seed, rows=rows, epochs=epochs)
                parts.append(facts(run, methods).assign(model=model, seed=seed))
    frame = pd.concat(parts, ignore_index=True)
    if out is not None:
        frame.to_json(out / "facts.json", orient="records", indent=1)
    print(over_seeds(frame).to_string(index=False, float_format="%.3g"))
    return frame


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", type=int, default=900)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--out", type=Path, default=None, help="folder for the runs and facts.json; without it nothing is kept")
    main(**vars(parser.parse_args()))
