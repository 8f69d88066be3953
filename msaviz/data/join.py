"""How do several sources become one dataset, in which each is a domain of its own?

* Domains: a source is the domain of its name; one that has several domains gives `name/domain`. Ids become `domain/id`.
* Tasks of one name are one task where kind and class names agree; a row has no label where its source lacks the task. The first source's
  main task is the main one, and every source must have it. Labels are mapped linearly onto the scale of the first source that has the
  task, from the scale that each source *declares* (`Task.low`, `Task.high`); a scale is never guessed from another source.
* Modalities: the union. Sources of equal width share the columns; of unequal width, each width has columns of its own, side by side
  (as have the modalities that `own` names), so that one linear projection over all columns is a projection of its own for each. A row
  is NaN in the columns of others, which statistics skip and a batch reads as 0, the mean of train. `Dataset.columns` says whose are whose.
* Token ids are joined where vocabulary size and unknown id agree, and never beside vectors.

Everything is copied into memory: for each modality steps x the *sum* of the widths x 4 bytes, and the sources beside it until all is done.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import combinations
from pathlib import Path

import numpy as np

from msaviz.data.assemble import ORDER, constant, fit, video
from msaviz.data.dataset import SPLITS, Dataset, Normalisation, Split
from msaviz.data.mapped import places
from msaviz.data.ragged import Ragged, offsets_of
from msaviz.types import Spec, Task

Sources = Mapping[str, Dataset]
"""Name -> dataset, the one whose scale counts first."""


def join(sources: Sources, own: Mapping[str, Collection[str]] | None = None) -> Dataset:
    """One dataset with the rows of all; the module's docstring says how. `own[source]`: modalities with columns of its own in any case.

    Raises ValueError that names the sources, what disagrees and what to do about it.
    """
    own = own or {}
    for name, modalities in own.items():
        if strange := [m for m in modalities if m not in sources[name].spec.widths]:
            there = ", ".join(sources[name].spec.widths)
            raise ValueError(f"{name}, option own: {', '.join(strange)} is no modality of vectors there; these are: {there}")
    domains = _domains(sources)
    found = list(dict.fromkeys(m for d in sources.values() for m in d.spec.modalities))
    places = {m: _places(m, sources, own) for m in found if _ids(m, sources) is None}
    spec = Spec(
        {m: width for m, (width, _) in places.items()},
        _tasks(sources),
        {m: size for m in found if (size := _ids(m, sources)) is not None},
        tuple(d for names in domains.values() for d in names),
        tuple([m for m in ORDER if m in found] + [m for m in found if m not in ORDER]),
    )
    first = {m: start for m, (_, start) in places.items()}
    splits = {s: _split(s, sources, spec, domains, first) for s in SPLITS if any(s in d.splits for d in sources.values())}
    wanted = [m for m in places if "train" in splits and any(m in d.normalisation for d in sources.values())]
    normalisation = {m: pair for m in wanted if (pair := fit(splits["train"].sequences[m])) is not None}
    parts = [(n, d.fingerprint, [(t.low, t.high) for t in d.spec.tasks.values()], sorted(own.get(n, ()))) for n, d in sources.items()]
    return Dataset(
        "+".join(sources),
        spec,
        {s: replace(split, normalisation=normalisation) for s, split in splits.items()},
        sha256(repr(parts).encode()).hexdigest(),
        tuple(dict.fromkeys(_told(sources, spec, places, normalisation))),
        {m: i for d in sources.values() for m, i in d.unknown.items()},
        frozenset(m for d in sources.values() for m in d.contextual),
        normalisation,
        columns=_columns(sources, domains, places),
    )


def spaced(dataset: Dataset, low: float, high: float) -> Dataset:
    """The classes of the main task, in their order, as numbers at equal distances from `low` to `high`."""
    target, classes = dataset.spec.target, dataset.spec.task.classes
    values = np.append(np.linspace(low, high, len(classes)), np.nan).astype(np.float32)  # the last one for -1: no label
    splits = {s: replace(part, labels={**part.labels, target: values[part.labels[target]]}) for s, part in dataset.splits.items()}
    said = f"{target}: the classes {', '.join(classes)} were placed at {', '.join(f'{v:g}' for v in values[:-1])}."
    tasks = {**dataset.spec.tasks, target: Task(low=low, high=high)}
    return replace(dataset, spec=replace(dataset.spec, tasks=tasks), splits=splits, traps=(*dataset.traps, said))


def _domains(sources: Sources) -> dict[str, list[str]]:
    """Source -> the names of its domains, in the order of its codes."""
    found = {n: [f"{n}/{x}" for x in d.spec.domains] if len(d.spec.domains) > 1 else [n] for n, d in sources.items()}
    names = [d for own in found.values() for d in own]
    if twice := sorted({d for d in names if names.count(d) > 1}):
        raise ValueError(f"two domains would be called {twice[0]}; rename one of the files")
    return found


def _tasks(sources: Sources) -> dict[str, Task]:
    """The union, the first source's main task first; raises ValueError where another source lacks that one."""
    first, *others = sources
    main = sources[first].spec.target
    for name in others:
        task = sources[name].spec.tasks.get(main)
        if not _agree(sources[first].spec.task, task):
            has = _described(task) if task else f"only {', '.join(sources[name].spec.tasks)}"
            raise ValueError(f"the main task {main!r} of {first} is {_described(sources[first].spec.task)}, but {name} has {has}")
    tasks: dict[str, Task] = {main: sources[first].spec.task}
    for dataset in sources.values():
        tasks |= {t: task for t, task in dataset.spec.tasks.items() if t not in tasks}
    return tasks


def _agree(task: Task, other: Task | None) -> bool:
    return other is not None and other.kind == task.kind and set(other.classes) == set(task.classes)


def _described(task: Task) -> str:
    return f"the classes {', '.join(task.classes)}" if task.kind == "classes" else f"a number from {task.low:g} to {task.high:g}"


def _ids(modality: str, sources: Sources) -> int | None:
    """The vocabulary size of a modality of token ids, None for one of vectors; raises ValueError where sources disagree."""
    having = {n: d for n, d in sources.items() if modality in d.spec.modalities}
    sizes = {n: (d.spec.vocabularies.get(modality), d.unknown.get(modality)) for n, d in having.items()}
    if len(set(sizes.values())) > 1:
        kinds = [f"{n} {f'ids of a vocabulary of {size} (unknown: {u})' if size else 'vectors'}" for n, (size, u) in sizes.items()]
        raise ValueError(
            f"{modality}: token ids join only with ids of the same vocabulary, but there are {'; '.join(kinds)}. Read vectors "
            f"everywhere (the option {modality}=vectors), or leave it out of a source ({modality}=none, or modalities=...)"
        )
    return next(iter(sizes.values()))[0]


def _places(modality: str, sources: Sources, own: Mapping[str, Collection[str]]) -> tuple[int, dict[str, int]]:
    """(the joined width, source -> the first of its columns)."""
    blocks: dict[tuple[str, int], int] = {}
    first, total = {}, 0
    for name, dataset in sources.items():
        if modality not in dataset.spec.widths:
            continue
        alone = modality in own.get(name, ()) or modality in dataset.columns  # what was joined before keeps its columns together
        block = (name if alone else "", dataset.spec.widths[modality])
        if block not in blocks:
            blocks[block] = total
            total += block[1]
        first[name] = blocks[block]
    return total, first


def _columns(
    sources: Sources, domains: Mapping[str, Sequence[str]], places: Mapping[str, tuple[int, Mapping[str, int]]]
) -> dict[str, dict[str, tuple[int, int]]]:
    """`Dataset.columns` of the whole."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for m, (_, first) in places.items():
        if len(set(first.values())) == 1 and not any(m in d.columns for d in sources.values()):
            continue
        found[m] = {}
        for name, start in first.items():
            spec, within = sources[name].spec, sources[name].columns.get(m)
            for domain, old in zip(domains[name], spec.domains, strict=True):
                a, b = within.get(old, (0, 0)) if within is not None else (0, spec.widths[m])
                if b > a:
                    found[m][domain] = (start + a, start + b)
    return found


def _split(split: str, sources: Sources, spec: Spec, domains: Mapping[str, Sequence[str]], first: Mapping[str, Mapping[str, int]]) -> Split:
    """The rows of a split, source by source."""
    parts = {n: d.splits[split] for n, d in sources.items() if split in d.splits}
    number = {name: np.array([spec.domains.index(d) for d in names]) for name, names in domains.items()}
    domain = np.concatenate([number[n][np.asarray(p.domain)] for n, p in parts.items()])
    ids = [i for p in parts.values() for i in p.ids]
    tokens = [t for p in parts.values() for t in (p.token_strings if len(p.token_strings) else [""] * len(p))]
    return Split(
        split,
        {m: _sequence(m, parts, spec, first.get(m, {})) for m in spec.modalities},
        {t: np.concatenate([_labels(t, spec.tasks[t], sources[n], p) for n, p in parts.items()]) for t in spec.tasks},
        domain,
        [f"{spec.domains[d]}/{i}" for d, i in zip(domain, ids, strict=True)],
        [text for p in parts.values() for text in p.texts],
        tokens if any(tokens) else (),
    )


def _sequence(modality: str, parts: Mapping[str, Split], spec: Spec, first: Mapping[str, int]) -> Ragged:
    """All rows of a modality, each source's values in its columns; rows of length 0 where a source lacks it."""
    having = {n: p.sequences[modality] for n, p in parts.items() if modality in p.sequences}
    offsets = offsets_of(np.concatenate([p.lengths(modality) if n in having else np.zeros(len(p), np.int64) for n, p in parts.items()]))
    if modality in spec.vocabularies:
        return Ragged(np.concatenate([np.zeros(0, np.int32), *(s.values for s in having.values())]), offsets)
    values, at = np.full((offsets[-1], spec.widths[modality]), np.nan, np.float32), 0
    for name, sequence in having.items():
        rows, columns = values[at : at + len(sequence.values)], slice(first[name], first[name] + sequence.values.shape[1])
        for piece in places(sequence.values):  # a memory-mapped source is never in memory as a whole
            rows[piece, columns] = sequence.values[piece]
        at += len(sequence.values)
    return Ragged(values, offsets)


def _labels(name: str, task: Task, source: Dataset, part: Split) -> np.ndarray:
    """Float32[n] on the scale of `task`, or Int64[n] in the order of its classes; NaN or -1 where the source has no such task."""
    own = source.spec.tasks.get(name)
    if own is None or not _agree(task, own):
        return np.full(len(part), np.nan, np.float32) if task.kind == "regression" else np.full(len(part), -1, np.int64)
    y = np.asarray(part.labels[name])
    if task.kind == "classes":
        return np.array([*map(task.classes.index, own.classes), -1], dtype=np.int64)[y]
    if (own.low, own.high) == (task.low, task.high):
        return y
    return (task.low + (y.astype(np.float64) - own.low) * ((task.high - task.low) / (own.high - own.low))).astype(np.float32)


def _told(sources: Sources, spec: Spec, places: Mapping[str, tuple[int, Mapping[str, int]]], normalisation: Normalisation) -> Iterator[str]:
    """What a user should know: scales, what some sources lack, columns, what was said of each source, and what two of them share."""
    for t, task in spec.tasks.items():
        for name, dataset in sources.items():
            yield _label_sentence(t, task, name, dataset.spec.tasks.get(t))
    for m in spec.modalities:
        if lacking := [n for n, d in sources.items() if m not in d.spec.modalities]:
            yield f"{m}: {', '.join(lacking)} does not have it, so it is missing in all of its rows."
        width, first = places.get(m, (0, {}))
        if len(set(first.values())) > 1:
            widths = ", ".join(f"{start} to {start + sources[n].spec.widths[m] - 1} ({n})" for n, start in first.items())
            yield f"{m}: the sources' features differ, so each kind has columns of its own: {widths} of {width}; a batch holds 0 elsewhere."
    for name, dataset in sources.items():
        there = constant(dataset.normalisation)  # what never varies in one source may vary over all
        yield from (f"{name}: {trap}" for trap in dataset.traps if trap not in there)
    yield from constant(normalisation)
    for (a, one), (b, two) in combinations(sources.items(), 2):
        yield from _shared(a, one, b, two)


def _label_sentence(name: str, task: Task, source: str, own: Task | None) -> str:
    if own is None or not _agree(task, own):
        return f"{name}: {source} has {'no such task' if own is None else _described(own)}, so its rows are without this label."
    if task.kind == "classes":
        return f"{name}: {source} has {_described(own)}."
    if (own.low, own.high) == (task.low, task.high):
        return f"{name}: labels of {source} are on [{own.low:g}, {own.high:g}]."
    return f"{name}: labels of {source} [{own.low:g}, {own.high:g}] were stretched to [{task.low:g}, {task.high:g}]."


def _shared(a: str, one: Dataset, b: str, two: Dataset) -> Iterator[str]:
    """Videos that two sources have in common: a leak between splits, and wherever one of the two is to stay unseen."""
    for s, left in one.splits.items():
        for t, right in two.splits.items():
            same = ({video(i) for i in left.ids} & {video(i) for i in right.ids}) - {"", *SPLITS}  # `train_3` names no video
            if same:
                kind = "Leak" if s != t else "Duplicates, and a leak where one source stays unseen"
                yield f"{kind}: clips of {len(same)} videos occur both in {s} of {a} and in {t} of {b} (such as {min(same)!r})."


def names(heads: Sequence[str]) -> list[str]:
    """A name of its own for each source: the file's stem, with its folder or a number where it occurs twice."""
    paths = [Path(head) for head in heads]
    found: list[str] = []
    for path in paths:
        folders = {p.parent.name for p in paths if p.stem == path.stem}
        name = base = f"{path.parent.name}/{path.stem}" if len(folders) > 1 and path.parent.name else path.stem
        copies = 1
        while name in found:
            copies += 1
            name = f"{base}-{copies}"
        found.append(name)
    return found
