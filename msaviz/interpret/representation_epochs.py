"""How does a representation take shape over the epochs of a training, seen in two dimensions?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from msaviz.interpret.representation_map import kept, principal, stratified
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered
from msaviz.interpret.trace import Trace

COLUMNS = ("run", "split", "representation", "epoch", "example", "x", "y", "domain", "label", "error", "method")
METHODS = ("pca", "aligned_umap")


def answer(
    traces: Mapping[int, Trace], *, representation: str = "fused", method: str = "pca", limit: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """The same utterances, at most `limit` of them, at every epoch of {epoch: trace}, in the order of the epochs.

    `method` "pca": the map of each epoch, turned and mirrored (never stretched) onto that of the next epoch, the last one as it
    is; "aligned_umap": all epochs at once, each utterance held near its place in the neighbouring epochs (Dadu et al. 2023;
    cached on disk by content). Raises ValueError for fewer than two epochs, traces of different utterances, an unknown
    representation or method.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; these exist: {', '.join(METHODS)}")
    ordered = dict(sorted(traces.items()))
    check(ordered, representation)
    last = next(reversed(ordered.values()))
    rows = stratified(last, limit, seed)
    values = np.stack([trace.representations[representation][rows] for trace in ordered.values()])  # epoch n d
    there = np.isfinite(values).all((0, 2))
    if there.sum() < 3:
        return pd.DataFrame()
    places = turned(values[:, there]) if method == "pca" else aligned(values[:, there], seed)
    parts = []
    for (epoch, trace), place in zip(ordered.items(), places, strict=True):
        about = trace.examples.iloc[rows[there]][["run", "split", "example", "domain", "label", "error"]]
        parts.append(about.assign(epoch=epoch, x=place[:, 0], y=place[:, 1]))
    return gathered(parts, COLUMNS, representation=representation, method=method)


def check(traces: Mapping[int, Trace], representation: str) -> None:
    """Raises ValueError for what cannot be laid side by side."""
    if len(traces) < 2:
        raise ValueError(f"a map over epochs needs at least 2 of them; got {', '.join(map(str, traces)) or 'none'}")
    (start, first), *rest = traces.items()
    for epoch, trace in traces.items():
        if representation not in trace.representations:
            exist = ", ".join(trace.representations)
            raise ValueError(f"no representation is called {representation!r} at epoch {epoch}; these exist: {exist}")
    for epoch, trace in rest:
        one, other = (t.examples["example"].to_numpy() for t in (first, trace))
        if trace.split != first.split or not np.array_equal(one, other):
            seen = f"{len(one)} of split {first.split!r} at epoch {start}, {len(other)} of split {trace.split!r} at epoch {epoch}"
            raise ValueError(f"every epoch needs the same utterances in the same order; got {seen}")


def turned(values: np.ndarray) -> np.ndarray:
    """Float32[epoch n 2]: the principal map of each epoch, turned onto the next one, for `values` Float[epoch n d]."""
    places = [principal(x)[0] for x in values]
    for i in range(len(places) - 2, -1, -1):
        places[i] = places[i] @ rotation(places[i], places[i + 1])
    return np.stack(places)


def rotation(moved: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Float[d d]: the orthogonal matrix R with the least ||moved R - target|| (Schönemann 1966)."""
    left, _, right = np.linalg.svd(moved.T @ target)
    return left @ right


def aligned(values: np.ndarray, seed: int) -> np.ndarray:
    """Float32[epoch n 2]: AlignedUMAP, kept by the content of `values` Float[epoch n d]."""

    def fit(values: np.ndarray) -> np.ndarray:
        from umap import AlignedUMAP

        size = values.shape[1]
        same = [{i: i for i in range(size)} for _ in values[1:]]
        return np.stack(AlignedUMAP(n_neighbors=min(15, size - 1), random_state=seed).fit_transform(list(values), relations=same))

    return kept("aligned_umap", values, seed, fit)


TABLE = Table(COLUMNS, answer, of="epochs")
