"""Which rows does a study of unseen domains learn from, and which does it keep for the test?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256

import numpy as np
from jaxtyping import Int

from msaviz.data.assemble import fit
from msaviz.data.dataset import Dataset, Split
from msaviz.data.ragged import Ragged, offsets_of

PSEUDO_DOMAINS = 3
"""Clusters of style that stand for domains where there is one source only (COMEN, Chen et al. 2022, uses 3 to 5)."""


def roles(known: Sequence[str], sources: Sequence[str] = (), targets: Sequence[str] = ()) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(source domains, unseen domains) of the `known` ones: without sources all but the targets, without targets all but the sources.

    Neither: every domain is a source. Raises ValueError for a name that is unknown or in both, and where no source is left.
    """
    if strange := [d for d in (*sources, *targets) if d not in known]:
        raise ValueError(f"no domain is called {strange[0]!r}; these exist: {', '.join(known)}")
    if both := set(sources) & set(targets):
        raise ValueError(f"a domain cannot be learnt from and unseen at once: {', '.join(sorted(both))}")
    if not sources and not targets:
        return tuple(known), ()
    learnt = tuple(d for d in known if d in sources) if sources else tuple(d for d in known if d not in targets)
    unseen = tuple(d for d in known if d in targets) if targets else tuple(d for d in known if d not in sources)
    if not learnt:
        raise ValueError(f"no domain is left to learn from: all of {', '.join(known)} are unseen")
    return learnt, unseen


def hold_out(dataset: Dataset, sources: Sequence[str] = (), targets: Sequence[str] = ()) -> Dataset:
    """Train and valid with rows of the source domains alone; test with the sources' test rows and *every* row of the unseen domains.

    Features are standardised by the train rows of the sources, so that nothing of an unseen domain is known before the test.
    Rows of a domain that is neither are left out. A modality that no train row has, or has in other columns (`Dataset.columns`), would be
    read by weights that never learnt, so it counts as missing in the unseen domain's rows. With neither sources nor targets the dataset is
    returned as it is.
    """
    if not sources and not targets:
        return dataset
    learnt, unseen = roles(dataset.spec.domains, sources, targets)
    parts: dict[str, list[tuple[str, np.ndarray]]] = {}
    for name, split in dataset.splits.items():
        parts[name] = [(name, _rows(dataset, split, learnt))]
    parts.setdefault("test", [])
    parts["test"] += [(name, _rows(dataset, split, unseen)) for name, split in dataset.splits.items()]
    splits = {name: stack(name, [dataset.splits[s].take(rows) for s, rows in taken]) for name, taken in parts.items()}
    if not len(splits.get("train", ())):
        raise ValueError(f"{dataset.name}: no train row belongs to {', '.join(learnt)}")
    fitted = {m: pair for m in dataset.normalisation if (pair := fit(splits["train"].sequences[m])) is not None}
    said = [
        f"domains: learnt from {', '.join(learnt)}; test holds their test rows and every row of the unseen {', '.join(unseen) or 'none'}."
    ]
    for m, domain in _unlearnt(dataset, splits, learnt, unseen):
        splits["test"], alone = _without(splits["test"], m, dataset.spec.domains.index(domain))
        said.append(f"{m}: no train row has the features that the unseen {domain} has, so it counts as missing in its rows{alone}.")
    return replace(
        dataset,
        splits={name: replace(split, normalisation=fitted) for name, split in splits.items()},
        normalisation=fitted,
        fingerprint=sha256(f"{dataset.fingerprint} {'+'.join(learnt)} -> {'+'.join(unseen)}".encode()).hexdigest(),
        traps=(*dataset.traps, *said),
        truth=dataset.truth.rearranged(parts) if hasattr(dataset.truth, "rearranged") else None,
    )


def _rows(dataset: Dataset, split: Split, domains: Sequence[str]) -> np.ndarray:
    return np.flatnonzero(np.isin(split.domain, [dataset.spec.domains.index(d) for d in domains]))


def _unlearnt(dataset: Dataset, splits: Mapping[str, Split], learnt: Sequence[str], unseen: Sequence[str]) -> list[tuple[str, str]]:
    """The (modality, unseen domain) with steps in columns where no train row has any."""
    found = []
    for m in dataset.spec.modalities:
        owners = dataset.columns.get(m, {})  # without an entry all share the columns: None for every domain
        for domain in unseen:
            alike = [d for d in learnt if owners.get(d) == owners.get(domain)]
            if _steps(dataset, splits["test"], m, [domain]) and not _steps(dataset, splits["train"], m, alike):
                found.append((m, domain))
    return found


def _steps(dataset: Dataset, split: Split, modality: str, domains: Sequence[str]) -> int:
    return int(split.lengths(modality)[_rows(dataset, split, domains)].sum())


def _without(split: Split, modality: str, domain: int) -> tuple[Split, str]:
    """The split with this modality missing in the domain's rows, and how many of these have no modality left, in words."""
    sequence, kept = split.sequences[modality], split.domain != domain
    emptied = Ragged(sequence.values[np.repeat(kept, sequence.lengths)], offsets_of(sequence.lengths * kept))
    split = replace(split, sequences={**split.sequences, modality: emptied})
    alone = int((~kept & np.all([s.lengths == 0 for s in split.sequences.values()], axis=0)).sum())
    return split, f" ({alone} of which have no modality left)" if alone else ""


def stack(name: str, splits: Sequence[Split]) -> Split:
    """The rows of splits of one dataset, one after the other."""
    first = splits[0]
    return replace(
        first,
        name=name,
        sequences={m: join_ragged([s.sequences[m] for s in splits]) for m in first.sequences},
        labels={t: np.concatenate([s.labels[t] for s in splits]) for t in first.labels},
        domain=np.concatenate([s.domain for s in splits]),
        ids=[i for s in splits for i in s.ids],
        texts=[t for s in splits for t in s.texts],
        token_strings=[t for s in splits for t in (s.token_strings or [""] * len(s))] if any(s.token_strings for s in splits) else (),
    )


def join_ragged(parts: Sequence[Ragged]) -> Ragged:
    """Rows of equal width, one after the other."""
    return Ragged(np.concatenate([p.values for p in parts]), offsets_of(np.concatenate([p.lengths for p in parts])))


def balanced_order(domain: Int[np.ndarray, " n"], size: int, *, seed: int, epoch: int) -> list[np.ndarray]:
    """The row numbers of each batch of an epoch, every domain with the same share of each batch (the rest of a division is left out).

    An epoch has as many batches as a plain one, so a small domain is met several times in it and a large one in part. Each domain's
    rows come in an endless stream of shuffled rounds; an epoch goes on where the last one ended. Depends on (seed, epoch) alone.
    """
    codes = np.unique(domain)
    steps, share = -(-len(domain) // size), max(1, size // len(codes))
    streams = []
    for code in codes:
        rows = np.flatnonzero(domain == code)
        place = epoch * steps * share + np.arange(steps * share)
        rounds = np.arange(place[0] // len(rows), place[-1] // len(rows) + 1)
        shuffled = np.concatenate([np.random.default_rng([seed, int(code), int(r), 0x646F6D]).permutation(rows) for r in rounds])
        streams.append(shuffled[place - rounds[0] * len(rows)].reshape(steps, share))
    return list(np.concatenate(streams, axis=1))


def style_clusters(split: Split, count: int = PSEUDO_DOMAINS, *, seed: int = 0) -> Int[np.ndarray, " n"]:
    """Pseudo-domains: k-means over each row's style, the mean and standard deviation of every feature over its steps.

    After COMEN (Chen et al. 2022, section 3.2), on the inputs instead of on a network's channels. Frames only: token ids have no style.
    A row without a modality stands at that modality's average style. Raises ValueError where no modality has frames.
    """
    from sklearn.cluster import KMeans
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    framed = [m for m, s in split.sequences.items() if s.values.ndim == 2 and len(s.values)]
    if not framed:
        raise ValueError(f"split {split.name!r} has no frames, from which style is read (token ids have none); declare domains instead")
    styles = []
    for m in framed:
        batches = [split.batch(rows) for rows in np.array_split(np.arange(len(split)), max(1, len(split) // 512))]
        styles += [np.concatenate([_style(b.x[m].numpy(), b.mask[m].numpy()) for b in batches])]
    style = np.nan_to_num(StandardScaler().fit_transform(np.concatenate(styles, 1)), nan=0.0)
    with threadpool_limits(1):  # several threads add up in any order, and a row halfway between two clusters would move
        return KMeans(min(count, len(split)), n_init=4, random_state=seed).fit_predict(style).astype(np.int64)


def _style(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Float[b 2d]: mean and standard deviation over the valid steps; NaN where there is none."""
    weight, count = mask[..., None], mask.sum(1)[:, None]
    mean = (x * weight).sum(1) / count.clip(1)
    spread = np.sqrt(((x - mean[:, None]) ** 2 * weight).sum(1) / count.clip(1))
    return np.where(count > 0, np.concatenate([mean, spread], 1), np.nan)
