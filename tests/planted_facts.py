"""Which planted facts of the synthetic data do a trained DERL and our tables recover? `python tests/planted_facts.py` prints them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import cross_val_predict

from msaviz import TABLES, Experiment, Run, evaluate, override, train
from msaviz.data.missing import RandomFrames

MODALITIES = ("text", "audio", "vision")


def trained(out: Path, *, shift: float, seed: int = 0, epochs: int = 14) -> Run:
    """DERL on 900 rows whose domains differ in style by `shift`."""
    experiment = Experiment(model="derl", data=f"synthetic:rows=900,shift={shift},seed={seed}", seed=seed)
    return train(override(experiment, {"train.epochs": epochs, "train.batch": 16}), out, progress=False)


def explained(x: np.ndarray, y: np.ndarray) -> float:
    """Cross-validated R² of a ridge probe."""
    x = (x - x.mean(0)) / (x.std(0) + 1e-6)
    guess = cross_val_predict(RidgeCV(np.logspace(-1, 4, 11)), x, y, cv=5)
    return float(1 - ((y - guess) ** 2).sum() / ((y - y.mean(0)) ** 2).sum())


def facts(run: Run, split: str = "train") -> pd.DataFrame:
    """fact, value, control: what the trace says of the planted truth, and the value that says "nothing"."""
    trace, truth = run.observe(split), run.dataset.truth[split]
    spaces, rows = trace.representations, []
    shuffled = np.random.default_rng(0).permutation(truth.shared)
    for m in MODALITIES:
        shared, private = spaces[f"shared/{m}"], spaces[f"private/{m}"]
        rows.append((f"shared factor read from shared/{m} (R²)", explained(shared, truth.shared), explained(shared, shuffled)))
        other = MODALITIES[(MODALITIES.index(m) + 1) % 3]
        own = [explained(private, truth.private[m][:, k]) for k in range(2)]
        foreign = [explained(spaces[f"private/{other}"], truth.private[m][:, k]) for k in range(2)]
        rows.append((f"private factors of {m} read from private/{m} (R²); control: private/{other}", np.mean(own), np.mean(foreign)))
    domain = TABLES["expert_information"](trace).query("variable == 'domain'")
    rows.append(("routers' mutual information with the domain (mean); control: permuted", domain.value.mean(), domain.high.mean()))
    importance = TABLES["fusion_importance"](trace).query("domain == 'all'").groupby("modality").value.sum()
    rows += [(f"fusion importance of {m}", importance[m], 1 / 3) for m in MODALITIES]
    for rate in (0.0, 0.5, 0.9):
        seen = run.observe(split, missingness=RandomFrames(rate=rate))
        q = np.mean([o.completeness[m].mean().item() for o in seen.outputs for m in ("audio", "vision")])
        rows.append((f"completeness estimated at missing rate {rate} (true: {1 - rate:.1f})", q, 1 - rate))
    return pd.DataFrame(rows, columns=["fact", "value", "control"])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for shift in (0.0, 1.5):
            run = trained(Path(folder) / f"shift-{shift}", shift=shift)
            clean = evaluate(run, "clean", progress=False).set_index("metric")
            print(f"\nshift {shift}: test MAE {clean.value['mae']:.3f}, floor {clean.floor['mae']:.3f}")
            print(facts(run).to_string(index=False, float_format="%.3f"))


if __name__ == "__main__":
    main()
