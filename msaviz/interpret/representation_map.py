"""Where does each utterance lie in a representation, seen in two dimensions?"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from msaviz.files import cache_folder, read_array, write_array
from msaviz.interpret.groups import grouping
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered
from msaviz.interpret.tokens import Routed, routed
from msaviz.interpret.trace import Trace

COLUMNS = ("run", "split", "representation", "example", "x", "y", "domain", "label", "expert", "prediction", "error", "explained", "method")


def answer(
    trace: Trace,
    *,
    representation: str | Sequence[str] | None = None,
    method: str = "pca",
    together: bool = False,
    limit: int = 20_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Coordinates of at most `limit` points in all, drawn in proportion from every domain and label bin.

    `method` "pca" (fast, the same every time) or "umap" (cached on disk by content). `together` lays all chosen
    representations of equal width into one common map, so that spaces can be compared. `explained` is the share of
    variance that the two axes hold (NaN for UMAP). `expert` is the number, in words, of the expert with the largest mean
    gate for the utterance: in the representation's own router, else in the first one of its modality, else in the first one
    of the trace ("none" where it routed nothing). Raises ValueError for an unknown representation or method.
    """
    if method not in ("pca", "umap"):
        raise ValueError(f"unknown method {method!r}; these exist: pca, umap")
    spaces = trace.representations
    names = list(spaces) if representation is None else [representation] if isinstance(representation, str) else list(representation)
    if unknown := [name for name in names if name not in spaces]:
        raise ValueError(f"no representation is called {unknown[0]!r}; these exist: {', '.join(spaces)}")
    rows = stratified(trace, max(1, limit // max(1, len(names))), seed)
    if together:
        width = spaces[names[0]].shape[1]
        maps = [[name for name in names if spaces[name].shape[1] == width]]
    else:
        maps = [[name] for name in names]
    routers = routed(trace)
    parts = [_map(trace, group, rows, routers, method, seed) for group in maps]
    return gathered(parts, COLUMNS, run=trace.run, split=trace.split, method=method)


def _map(trace: Trace, names: list[str], rows: np.ndarray, routers: list[Routed], method: str, seed: int) -> pd.DataFrame:
    """One map of the stacked representations `names`; utterances without the modality are left out."""
    values = np.concatenate([trace.representations[name][rows] for name in names])
    source, row = np.repeat(np.array(names, dtype=object), len(rows)), np.tile(rows, len(names))
    there = np.isfinite(values).all(1)
    if there.sum() < 3:
        return pd.DataFrame()
    place, explained = principal(values[there]) if method == "pca" else (neighbours(values[there], seed), np.nan)
    about = trace.examples.iloc[row[there]][["example", "domain", "label", "prediction", "error"]].reset_index(drop=True)
    expert = np.concatenate([busiest(routers, name, len(trace.examples))[rows] for name in names])[there]
    return about.assign(representation=source[there], expert=expert, x=place[:, 0], y=place[:, 1], explained=explained)


def busiest(routers: list[Routed], representation: str, utterances: int) -> np.ndarray:
    """Object[n]: each utterance's most used expert ("0", "1", …) in the router nearest to a representation; "none" without one."""
    none = np.full(utterances, "none", dtype=object)
    if not routers:
        return none
    space, _, modality = representation.rpartition("/")
    gates = min(routers, key=lambda r: (r.modality != modality, r.router != space)).by_utterance  # the first of the nearest ones
    there = np.isfinite(gates[:, 0])
    none[there] = gates[there].argmax(1).astype(str)
    return none


def stratified(trace: Trace, limit: int, seed: int) -> np.ndarray:
    """Int[at most limit]: row positions, each (domain, label bin) in its own proportion, in the original order."""
    size = len(trace.examples)
    if size <= limit:
        return np.arange(size)
    stratum = grouping(trace, "domain").codes * 1000 + grouping(trace, "label").codes
    # sorted by stratum and shuffled inside, an even stride takes each stratum in proportion
    order = np.lexsort((np.random.default_rng(seed).random(size), stratum))
    return np.sort(order[np.linspace(0, size - 1, limit).round().astype(int)])


def principal(x: np.ndarray) -> tuple[np.ndarray, float]:
    """Float32[n 2] and the share of variance they hold; signs are fixed so that a map never flips between runs."""
    x = x.astype(np.float64) - x.mean(0, dtype=np.float64)
    power, directions = np.linalg.eigh(x.T @ x)
    axes = directions[:, ::-1][:, :2]
    axes = axes * np.where(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])] < 0, -1, 1)
    place = np.zeros((len(x), 2), dtype=np.float32)
    place[:, : axes.shape[1]] = x @ axes
    total = power.clip(0).sum()
    return place, float(power[::-1][:2].clip(0).sum() / total) if total > 1e-24 else float("nan")


def neighbours(x: np.ndarray, seed: int) -> np.ndarray:
    """Float32[n 2]: UMAP (McInnes et al. 2018), kept by the content of `x`."""

    def fit(x: np.ndarray) -> np.ndarray:
        from umap import UMAP

        return UMAP(n_neighbors=min(15, len(x) - 1), random_state=seed, init="spectral" if len(x) > 20 else "random").fit_transform(x)

    return kept("umap", x, seed, fit)


def kept(method: str, x: np.ndarray, seed: int, fit: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Float32: `fit(x)`, kept under MSAVIZ_CACHE (else ~/.cache/msaviz) by method, seed and the content of `x`.

    Raises ValueError where umap-learn is not installed.
    """
    x = np.ascontiguousarray(x, dtype=np.float32)
    key = hashlib.sha256(f"{method.replace('_', ' ')} 1 {x.shape} {seed}".encode() + x.tobytes()).hexdigest()[:32]
    path = cache_folder() / "umap" / f"{key}.npy"
    place = read_array(path)
    if place is not None:
        return place
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # umap announces what it lacks, and that a fixed seed makes it use one thread
        try:
            place = np.asarray(fit(x), dtype=np.float32)
        except ImportError:
            raise ValueError(f"method {method!r} needs the package umap-learn: pip install umap-learn, or choose 'pca'") from None
    write_array(path, place)
    return place


TABLE = Table(COLUMNS, answer)
