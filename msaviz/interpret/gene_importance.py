"""Which genes decide how good a trial is, beyond what chance would give?

fANOVA (Hutter, Hoos & Leyton-Brown, ICML 2014) as Optuna has it: a random forest learns the error from the genes, and the variance of its
prediction is split over them. With some tens of trials a forest finds something in noise too: the floor says how much.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from msaviz.interpret.evolution import Evolution
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered

if TYPE_CHECKING:
    from optuna.study import Study

COLUMNS = ("run", "arm", "gene", "importance", "sd", "floor", "trials")
FEWEST = 8
"""An arm with fewer trained trials has no rows."""


def answer(evolution: Evolution, *, seeds: int = 5, permutations: int = 30, trees: int = 16, seed: int = 0) -> pd.DataFrame:
    """`importance`: the share of the variance of a forest's error that a gene alone explains, most first.

    It is the mean over `seeds` forests of so many `trees`, `sd` their standard deviation. `floor`: the 95 % quantile of the
    gene's importance after permuting the errors over the trials. Genes that never vary in an arm, and those that some of its trials do
    not have, have no row; what is missing to 1 is interaction.
    """
    parts = []
    for arm, rows in evolution.trained.dropna(subset="error").groupby("arm", sort=False):
        genes = evolution.genes[(evolution.genes["arm"] == arm) & evolution.genes["trial"].isin(rows["trial"])]
        found = _importances(rows, genes, evolution.ranges, trees)
        if found is not None:
            g = np.random.default_rng(seed)
            error = rows["error"].to_numpy(float)
            real = pd.DataFrame([found(error, seed + i) for i in range(seeds)])
            null = pd.DataFrame([found(g.permutation(error), seed + i) for i in range(permutations)])
            spread = real.std(ddof=1) if seeds > 1 else np.nan
            part = pd.DataFrame({"importance": real.mean(), "sd": spread, "floor": null.quantile(0.95), "trials": len(rows)})
            parts.append(part.rename_axis("gene").sort_values("importance", ascending=False).reset_index().assign(arm=arm))
    return gathered(parts, COLUMNS, run=evolution.name)


def _importances(
    rows: pd.DataFrame, genes: pd.DataFrame, ranges: dict[str, dict], trees: int
) -> Callable[[np.ndarray, int], dict[str, float]] | None:
    """A function (errors Float[n], seed) -> importance of each gene; None where there is nothing to compare."""
    values = genes.pivot(index="trial", columns="gene", values="value").reindex(rows["trial"]).dropna(axis=1)
    values = values.loc[:, values.nunique() > 1]
    if len(rows) < FEWEST or not values.shape[1] or rows["error"].nunique() < 2:
        return None
    from optuna.importance import FanovaImportanceEvaluator

    numbers = genes.pivot(index="trial", columns="gene", values="number").loc[values.index, values.columns]
    study = _study(values, numbers, ranges)

    def found(error: np.ndarray, seed: int) -> dict[str, float]:
        evaluator = FanovaImportanceEvaluator(n_trees=trees, seed=seed)
        return evaluator.evaluate(study, target=lambda trial: float(error[trial.number]))

    return found


def _study(values: pd.DataFrame, numbers: pd.DataFrame, ranges: dict[str, dict]) -> Study:
    """The trials as a study in memory; a gene with a range is a number, any other one a word. The errors come later."""
    import optuna

    distributions: dict[str, Any] = {}
    params = values.astype(str)
    for gene in values:
        space, number = ranges.get(str(gene), {}), numbers[gene]
        if "low" in space and number.notna().all():
            scale = np.log if space.get("log") else float  # the evaluator knows no logarithms: what is drawn evenly in log counts evenly
            low, high = min(space["low"], number.min()), max(space["high"], number.max())
            distributions[str(gene)] = optuna.distributions.FloatDistribution(scale(low), scale(high))
            params[gene] = number.map(scale).clip(scale(low), scale(high)).astype(object)
        else:
            distributions[str(gene)] = optuna.distributions.CategoricalDistribution(sorted(params[gene].unique()))
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # nobody asked for this study, so nobody is told of it
    study = optuna.create_study()
    optuna.logging.set_verbosity(verbosity)
    study.add_trials([optuna.trial.create_trial(params=dict(row), distributions=distributions, value=0.0) for _, row in params.iterrows()])
    return study


TABLE = Table(COLUMNS, answer, of="evolution")
