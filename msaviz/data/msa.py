"""How is a dataset kept so that it opens at once, whatever its size, and without pickle?

A folder `name.msa/`: `header.json` (spec, fingerprint, traps, shapes of all arrays) and one `.npy` file for each array: per split
`<split>/<modality>.values.npy` [s w] or [s], `<modality>.offsets.npy` [n + 1], `label.<task>.npy` [n], `domain.npy` [n], and for
ids, texts and tokens `<column>.blob.npy` (UTF-8) with `<column>.offsets.npy`; `normalisation.<modality>.npy` [2 w] (mean, std of train).
Large arrays are memory-mapped and read when a batch asks; the values are as the source gave them, so NaN can still be counted.
Written under a temporary name and renamed when complete. The planted truth of synthetic data is not kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from msaviz.data.container import COLUMNS, opened
from msaviz.data.dataset import Dataset
from msaviz.data.load import Names, load
from msaviz.data.mapped import pieces
from msaviz.data.ragged import Strings
from msaviz.files import atomic_folder, flushed
from msaviz.options import Options
from msaviz.reading import read_json

FORMAT, VERSION, HEADER = "msaviz dataset", 1, "header.json"


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
        """Open the container (`msaviz.data.container`); no frame is read before a batch asks for it."""
        if not isinstance(path, (str, Path)):
            raise ValueError("msa reads a folder: give the path of a .msa")
        while True:
            before = _which(path)
            try:
                dataset = self._load(Path(path), options)
            except (ValueError, OSError):
                if before == _which(path):
                    raise
            else:
                if before == _which(path):
                    return dataset  # else another process replaced the container in the meantime

    def _load(self, path: Path, options: Config | None) -> Dataset:
        header = read_json(path / HEADER)
        if header.get("format") != FORMAT or header.get("version") != VERSION:
            raise ValueError(f"{path}: expected {FORMAT!r}, version {VERSION}; convert it again with `msaviz data convert`")
        config = options or Config()
        dataset = _scaled(opened(path, header), config.low, config.high)
        return dataset.select(config.modalities) if config.modalities else dataset


def _which(path: str | Path) -> tuple[int, int]:
    """What tells a folder from the one that had its name before."""
    found = Path(path).stat()
    return found.st_ino, found.st_ctime_ns


def _scaled(dataset: Dataset, low: float | None, high: float | None) -> Dataset:
    """The same labels, said to lie on another scale (None: as the container says); the fingerprint tells a change."""
    main = dataset.spec.task
    scale = replace(main, low=main.low if low is None else low, high=main.high if high is None else high)
    if scale == main or main.kind == "classes":
        return dataset
    tasks = {name: scale if task == main else task for name, task in dataset.spec.tasks.items()}
    signed = sha256(f"{dataset.fingerprint} [{scale.low:g}, {scale.high:g}]".encode()).hexdigest()
    return replace(dataset, spec=replace(dataset.spec, tasks=tasks), fingerprint=signed)


def convert(
    source: str | Path | Dataset, dest: str | Path, progress: Callable[[int, int], None] | None = None, *, overwrite: bool = False
) -> Path:
    """Load `source` and `save` it, in memory that does not grow with a large pickle or container."""
    return save(load(source), dest, progress, overwrite=overwrite)


def save(dataset: Dataset, dest: str | Path, progress: Callable[[int, int], None] | None = None, *, overwrite: bool = False) -> Path:
    """Write a container at `dest`, piece by piece; `progress(bytes done, bytes in all)` is called after each piece.

    The result has the same fingerprint as the dataset. A reader of `dest` sees the old content or the new, never a half, and what
    killed writers left beside it is removed. Raises ValueError if `dest` exists and `overwrite` is not set, or is something else than
    a container, and OSError where it cannot be written.
    """
    dest = Path(dest).expanduser()
    if dest.exists():
        if not DATA.matches(dest):
            raise ValueError(f"{dest} exists and is no container of ours; choose another name, such as {dest.with_suffix('.msa')}")
        if not overwrite:
            raise ValueError(f"{dest} exists; overwrite=True replaces it")
    with atomic_folder(dest, overwrite=overwrite) as part:
        _write(dataset, part, progress or (lambda done, total: None))
    return dest


def _write(dataset: Dataset, folder: Path, progress: Callable[[int, int], None]) -> None:
    sequences = [s.values for split in dataset.splits.values() for s in split.sequences.values()]
    total, done = sum(values.nbytes for values in sequences), 0
    shapes: dict[str, Any] = {}
    for name, array in _arrays(dataset):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        shapes[name] = [list(array.shape), str(array.dtype)]
        with flushed(file) as stream:
            if not name.endswith(".values.npy") or not array.nbytes:
                np.save(stream, array, allow_pickle=False)
                continue
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
    with flushed(folder / HEADER) as stream:
        stream.write(json.dumps(header, indent=1, ensure_ascii=False).encode())


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
