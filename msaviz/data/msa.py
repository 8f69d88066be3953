"""How is a dataset kept so that it opens at once, whatever its size, and without pickle?

A folder `name.msa/`: `header.json` (spec, fingerprint, traps, shapes of all arrays) and one `.npy` file for each array: per split
`<split>/<modality>.values.npy` [s w] or [s], `<modality>.offsets.npy` [n + 1], `label.<task>.npy` [n], `domain.npy` [n], and for
ids, texts and tokens `<column>.blob.npy` (UTF-8) with `<column>.offsets.npy`; `normalisation.<modality>.npy` [2 w] (mean, std of train).
Large arrays are memory-mapped and read when a batch asks; the values are as the source gave them, so NaN can still be counted.
Written under a temporary name and renamed when complete. The planted truth of synthetic data is not kept.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from msaviz.data.dataset import Dataset, Split
from msaviz.data.load import Names, load
from msaviz.data.mapped import pieces
from msaviz.data.ragged import Ragged, Strings
from msaviz.options import Options
from msaviz.types import Spec, Task

FORMAT, VERSION, HEADER = "msaviz dataset", 1, "header.json"
MAP_BYTES = 2**20
"""Files above this size are mapped, smaller ones read: each mapping holds a file open."""
COLUMNS = ("ids", "texts", "token_strings")


class Config(Options):
    """Options behind the path, e.g. `mosei.msa:modalities=text+audio`."""

    modalities: Names = ()
    low: float | None = None
    high: float | None = None
    """The scale of the main task, and of every other regression on the same one, where the container says it wrongly."""


class Msa:
    """Our own container; see the module."""

    Config = Config

    def matches(self, path: Path) -> bool:
        """A folder with a header."""
        return path.is_dir() and (path / HEADER).is_file()

    def load(self, path: Path, options: Config | None = None) -> Dataset:
        """Open the container; no sequence is read before a batch asks for it."""
        if not isinstance(path, (str, Path)):
            raise ValueError("msa reads a folder: give the path of a .msa")
        path = Path(path)
        try:
            header = json.loads((path / HEADER).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path / HEADER} is damaged: {error}") from None
        if not isinstance(header, dict) or header.get("format") != FORMAT or header.get("version") != VERSION:
            raise ValueError(f"{path}: expected {FORMAT!r}, version {VERSION}; convert it again with `msaviz data convert`")
        config = options or Config()
        dataset = _scaled(_open(path, header), config.low, config.high)
        return dataset.select(config.modalities) if config.modalities else dataset


def _scaled(dataset: Dataset, low: float | None, high: float | None) -> Dataset:
    """The same labels, said to lie on another scale (None: as the container says); the fingerprint tells a change."""
    main = dataset.spec.task
    scale = replace(main, low=main.low if low is None else low, high=main.high if high is None else high)
    if scale == main or main.kind == "classes":
        return dataset
    tasks = {name: scale if task == main else task for name, task in dataset.spec.tasks.items()}
    signed = sha256(f"{dataset.fingerprint} [{scale.low:g}, {scale.high:g}]".encode()).hexdigest()
    return replace(dataset, spec=replace(dataset.spec, tasks=tasks), fingerprint=signed)


def _open(path: Path, header: dict[str, Any]) -> Dataset:
    spec = header["spec"]
    tasks = {name: Task(**{**task, "classes": tuple(task["classes"])}) for name, task in spec["tasks"].items()}
    spec = Spec(spec["widths"], tasks, spec["vocabularies"], tuple(spec["domains"]), tuple(spec["modalities"]))

    def read(name: str) -> np.ndarray:
        return _array(path, name, header["arrays"])

    def strings(name: str) -> Strings:
        return Strings(read(f"{name}.blob.npy"), read(f"{name}.offsets.npy"))

    pairs = {m: read(f"normalisation.{m}.npy") for m in header["normalisation"]}
    normalisation = {m: (pair[0], pair[1]) for m, pair in pairs.items()}
    splits = {}
    for s in header["splits"]:
        sequences = {m: Ragged(read(f"{s}/{m}.values.npy"), read(f"{s}/{m}.offsets.npy")) for m in spec.modalities}
        labels = {task: read(f"{s}/label.{task}.npy") for task in tasks}
        ids, texts, tokens = (strings(f"{s}/{c}") for c in COLUMNS)
        splits[s] = Split(s, sequences, labels, read(f"{s}/domain.npy"), ids, texts, tokens, normalisation)
    return Dataset(
        header["name"],
        spec,
        splits,
        header["fingerprint"],
        tuple(header["traps"]),
        header["unknown"],
        frozenset(header["contextual"]),
        normalisation,
        columns={m: {d: (start, stop) for d, (start, stop) in owners.items()} for m, owners in header.get("columns", {}).items()},
    )


def _array(path: Path, name: str, arrays: dict[str, Any]) -> np.ndarray:
    file = path / name
    try:
        large = file.stat().st_size > MAP_BYTES
        array = np.load(file, mmap_mode="r" if large else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{file}: missing or damaged ({error}); convert the source again") from None
    if [list(array.shape), str(array.dtype)] != arrays.get(name):
        raise ValueError(f"{file}: expected {arrays.get(name)}, got {[list(array.shape), str(array.dtype)]}; convert the source again")
    return array


def convert(
    source: str | Path | Dataset, dest: str | Path, progress: Callable[[int, int], None] | None = None, *, overwrite: bool = False
) -> Path:
    """Load `source` and `save` it, in memory that does not grow with a large pickle or container."""
    return save(load(source), dest, progress, overwrite=overwrite)


def save(dataset: Dataset, dest: str | Path, progress: Callable[[int, int], None] | None = None, *, overwrite: bool = False) -> Path:
    """Write a container at `dest`, piece by piece; `progress(bytes done, bytes in all)` is called after each piece.

    The result has the same fingerprint as the dataset. A reader of `dest` sees the old content or the new, never a half.
    Raises ValueError if `dest` exists and `overwrite` is not set, or is something else than a container.
    """
    dest = Path(dest).expanduser()
    if dest.exists():
        if not DATA.matches(dest):
            raise ValueError(f"{dest} exists and is no container of ours; choose another name, such as {dest.with_suffix('.msa')}")
        if not overwrite:
            raise ValueError(f"{dest} exists; overwrite=True replaces it")
    dest.parent.mkdir(parents=True, exist_ok=True)
    part, old = (dest.with_name(f".{dest.name}.{os.getpid()}.{end}") for end in ("part", "old"))
    shutil.rmtree(part, ignore_errors=True)
    try:
        _write(dataset, part, progress or (lambda done, total: None))
        if dest.exists():
            dest.rename(old)
        part.rename(dest)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return dest


def _write(dataset: Dataset, folder: Path, progress: Callable[[int, int], None]) -> None:
    sequences = [s.values for split in dataset.splits.values() for s in split.sequences.values()]
    total, done = sum(values.nbytes for values in sequences), 0
    shapes: dict[str, Any] = {}
    for name, array in _arrays(dataset):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        shapes[name] = [list(array.shape), str(array.dtype)]
        if not name.endswith(".values.npy") or not array.nbytes:
            np.save(file, array, allow_pickle=False)
            continue
        with file.open("wb") as stream:
            header = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
            np.lib.format.write_array_header_1_0(stream, header)
            for piece in pieces(array):
                values = np.ascontiguousarray(piece)
                stream.write(values.data)
                done += values.nbytes
                progress(done, total)
    header = {
        "format": FORMAT,
        "version": VERSION,
        "name": dataset.name,
        "source": dataset.source,
        "fingerprint": dataset.fingerprint,
        "spec": asdict(dataset.spec),
        "splits": {name: len(split) for name, split in dataset.splits.items()},
        "traps": dataset.traps,
        "unknown": dict(dataset.unknown),
        "contextual": sorted(dataset.contextual),
        "normalisation": list(dataset.normalisation),
        "columns": {m: dict(owners) for m, owners in dataset.columns.items()},
        "arrays": shapes,
    }
    (folder / HEADER).write_text(json.dumps(header, indent=1, ensure_ascii=False), encoding="utf-8")


def _arrays(dataset: Dataset) -> Iterator[tuple[str, np.ndarray]]:
    """(file name, array) of everything, one at a time."""
    for m, pair in dataset.normalisation.items():
        yield f"normalisation.{m}.npy", np.stack(pair)
    for name, split in dataset.splits.items():
        for m, sequence in split.sequences.items():
            yield f"{name}/{m}.values.npy", sequence.values
            yield f"{name}/{m}.offsets.npy", sequence.offsets
        for task, labels in split.labels.items():
            yield f"{name}/label.{task}.npy", labels
        yield f"{name}/domain.npy", split.domain
        for column in COLUMNS:
            packed = Strings.pack(getattr(split, column))
            yield f"{name}/{column}.blob.npy", packed.blob
            yield f"{name}/{column}.offsets.npy", packed.offsets


DATA = Msa()
