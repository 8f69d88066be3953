"""Which rows does a training learn from, in which order, and which domains do they name?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from msaviz.catalog import MODELS, OBJECTIVES
from msaviz.data.dataset import Dataset, Split
from msaviz.data.domains import PSEUDO_DOMAINS, balanced_order, hold_out, style_clusters
from msaviz.nn.heads import labelled
from msaviz.training.experiment import Experiment


def learnable(dataset: Dataset, experiment: Experiment) -> Dataset:
    """The data with the experiment's unseen domains kept for the test; ValueError where there is nothing to learn from or to choose by."""
    dataset = hold_out(dataset, experiment.domains.sources, experiment.domains.targets)
    target, task = dataset.spec.target, dataset.spec.task
    for split in ("train", "valid"):
        if split not in dataset.splits or not len(dataset.splits[split]):
            held = {name: len(part) for name, part in dataset.splits.items()}
            raise ValueError(f"{dataset.name} has no {split!r} split to train with; rows by split: {held}")
        if not labelled(torch.tensor(np.asarray(dataset[split].labels[target])), task).any():
            raise ValueError(f"{dataset.name}: no row of {split!r} has a label {target!r}; train and valid need some each")
    return dataset


def training_split(dataset: Dataset, experiment: Experiment) -> tuple[Split, tuple[str, ...]]:
    """(the train split, the domains that its rows name): pseudo-domains in place of a single source where they are wanted."""
    split, options = dataset.splits["train"], experiment.domains
    objective = OBJECTIVES[OBJECTIVES.name_of(type(experiment.objective))]
    compares = objective.compares_domains or getattr(MODELS[experiment.model_name], "compares_domains", False)
    count = (PSEUDO_DOMAINS if compares else 0) if options.pseudo == "auto" else options.pseudo
    if count < 2 or len(np.unique(split.domain)) > 1:
        return split, dataset.spec.domains
    codes = style_clusters(split, count, seed=experiment.seed)
    return replace(split, domain=codes), tuple(f"style {i}" for i in range(count))


def epoch_order(split: Split, experiment: Experiment, epoch: int) -> list[np.ndarray]:
    """The row numbers of each batch of an epoch, by `train.sampling`; a function of (seed, epoch) alone."""
    options = experiment.train
    if options.sampling == "domains":
        return balanced_order(split.domain, options.batch, seed=experiment.seed, epoch=epoch)
    return split.order(options.batch, shuffle=True, seed=experiment.seed, epoch=epoch)
