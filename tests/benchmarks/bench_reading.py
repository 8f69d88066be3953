"""What does it cost to read a file of MOSEI's size, to convert it, to open the container, and to go through it?

The file is made in a temporary folder in the layout of the field's pickles (protocol 4): 16326, 1871 and 4659 rows, text 50 steps of 768,
vision 500 of 35, audio 500 of 74, float32, random values; lengths as in MOSEI (a gamma distribution whose mean is a third of the steps),
or all steps valid, the worst case. A tenth of the rows unless told (`--rows-scale`); `--full` is the real size (8.5 GB on disk, twice that
with the container). Growth is measured on narrow files (20 steps of 32, 8 and 16) of 1,000 to 100,000 rows.

Each subject is a process of its own with one thread. Its memory is watched from outside every 5 ms: `anonymous` is the peak of RssAnon,
what it holds for itself; `resident` the peak of all its pages (VmHWM), those of mapped files included, which the kernel takes back at
will. `importing` is such a process that reads nothing: its memory is part of all others, its time of none. `processor` is what `seconds`
would be on a quiet machine with the file in the page cache.
MMSA reads the pickle once for each split and keeps that split's columns as float32; this is written down here, not imported.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from tools import Row, arguments, finish

SPLITS = {"train": 16326, "valid": 1871, "test": 4659}
WIDE = {"text": (50, 768), "vision": (500, 35), "audio": (500, 74)}
NARROW = {"text": (20, 32), "vision": (20, 8), "audio": (20, 16)}
GROWTH = (1_000, 10_000, 30_000, 100_000)
WATCH_SECONDS = 0.005
BATCH = 32
LONG = 20_000
"""Rows of an epoch beside which what is made once costs nothing."""
SMALL = 500 * 2**20
"""Beside a smaller file, what a process needs without reading anything is no small share."""


@dataclass
class Column:
    """A float32 array [n t w] that is written piece by piece: random on the first `lengths` steps of each row, 0 behind them."""

    lengths: np.ndarray
    steps: int
    width: int

    def pieces(self, rows: int = 256) -> Iterator[np.ndarray]:
        noise = np.random.default_rng(0).standard_normal((rows, self.steps, self.width), dtype=np.float32)
        for start in range(0, len(self.lengths), rows):
            lengths = self.lengths[start : start + rows, None]
            yield np.where((np.arange(self.steps) < lengths)[..., None], noise[: len(lengths)], np.float32(0))


class Writer(pickle._Pickler):
    """Writes a Column as the array that it stands for, as numpy and pickle would, and never holds it as a whole."""

    def save_column(self, column: Column) -> None:
        out: Any = self
        out: Any = self
        small = np.zeros((0, column.steps, column.width), np.float32)
        build, arguments, state = small.__reduce__()[:3]
        out.save(build)
        out.save(arguments)
        out.write(pickle.REDUCE + pickle.MARK)
        for part in (state[0], (len(column.lengths), *small.shape[1:]), state[2], state[3]):
            out.save(part)
        out.framer.commit_frame(force=True)
        size = len(column.lengths) * column.steps * column.width * 4
        out.framer.file_write(pickle.BINBYTES8 + size.to_bytes(8, "little"))
        for piece in column.pieces():
            out.framer.file_write(piece.data)
        out.write(pickle.TUPLE + pickle.BUILD)

    dispatch: ClassVar = {**pickle._Pickler.dispatch, Column: save_column}  # type: ignore[attr-defined]


def make(path: Path, sizes: dict[str, int], layout: dict[str, tuple[int, int]], *, full: bool = False) -> Path:
    """A pickle in the usual layout at `path`."""
    content = {}
    for seed, (split, rows) in enumerate(sizes.items()):
        g = np.random.default_rng(seed)
        share = np.ones(rows) if full else np.clip(g.gamma(2.5, 1 / 7.5, rows), 0.04, 1)
        columns: dict[str, Any] = {m: Column(np.rint(share * t).astype(int).clip(1, t), t, w) for m, (t, w) in layout.items()}
        columns |= {f"{m}_lengths": columns[m].lengths.tolist() for m in layout}
        columns["regression_labels"] = g.uniform(-3, 3, rows).astype(np.float32)
        columns["id"] = [f"{split}{row // 8}$_${row % 8}" for row in range(rows)]
        columns["raw_text"] = np.array([f"said in row {row}" for row in range(rows)], dtype=object)
        content[split] = columns
    with path.open("wb") as file:
        Writer(file, protocol=4).dump(content)
    return path


def importing(path: str) -> dict[str, float]:
    from msaviz.data.load import load

    load("synthetic:rows=200")  # so that every reader is imported
    return {}


def plain(path: str) -> dict[str, float]:
    with open(path, "rb") as file:
        pickle.load(file)  # our own file
    return {}


def as_mmsa(path: str) -> dict[str, float]:
    kept = []
    for split in SPLITS:
        with open(path, "rb") as file:
            data = pickle.load(file)  # our own file
        kept.append([data[split][m].astype(np.float32) for m in WIDE])
        kept[-1][-1][kept[-1][-1] == -np.inf] = 0
    return {}


def reading(path: str) -> dict[str, float]:
    from msaviz.data.load import load

    load(path)
    return {}


def copying(path: str) -> dict[str, float]:
    from msaviz.data import unpickle

    unpickle.MAP_FILE = 2**60
    return reading(path)


def converting(path: str) -> dict[str, float]:
    from msaviz.data.msa import convert

    convert(path, Path(path).with_suffix(".msa"), overwrite=True)
    return {}


def opening(path: str) -> dict[str, float]:
    from msaviz.data.load import load

    times = []
    for _ in range(5):
        start, worked = time.perf_counter(), time.process_time()
        load(path)
        times.append({"seconds": time.perf_counter() - start, "processor": time.process_time() - worked})
    return min(times, key=lambda took: took["seconds"])  # the quietest of five


def going_through(path: str, cache: int | None = None) -> dict[str, float]:
    import torch

    from msaviz.data import dataset
    from msaviz.data.load import load

    torch.set_num_threads(1)
    dataset.CACHE_BYTES = dataset.CACHE_BYTES if cache is None else cache
    split = load(path)["train"]
    start = time.process_time()
    rows = sum(len(batch) for batch in split.batches(BATCH, shuffle=True))
    return {"loader": rows / (time.process_time() - start)}


def streaming(path: str) -> dict[str, float]:
    return going_through(path, 0)


def training(path: str) -> dict[str, float]:
    import torch

    from msaviz.data.load import load
    from msaviz.training.experiment import Experiment
    from msaviz.training.loop import Trainer

    torch.set_num_threads(1)
    data = load(path)
    trainer = Trainer(Experiment.model_validate({"model": "early_fusion", "train": {"device": "cpu"}}), data, None, 0, 1)
    if len(data["train"]) < LONG:
        trainer._train_epoch()  # the first epoch pays for what is made once
    start = time.process_time()
    trainer._train_epoch()
    return {"training": len(data["train"]) / (time.process_time() - start)}


def looking(path: str) -> dict[str, float]:
    from msaviz.data.inspect import inspect
    from msaviz.data.load import load

    str(inspect(load(path)))
    return {}


def watched(act: Any, path: Path) -> dict[str, float]:
    """Seconds and peaks of memory (bytes) of `act` in a process of its own, and the facts that it told."""
    command = [sys.executable, __file__, "--act", act.__name__, str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    peaks = {"RssAnon": 0, "VmHWM": 0}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                break
            for line in status.splitlines():
                if (name := line.partition(":")[0]) in peaks:
                    peaks[name] = max(peaks[name], int(line.split()[1]) * 1024)
            time.sleep(WATCH_SECONDS)
        told = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise RuntimeError(f"{act.__name__} of {path.name} failed ({process.returncode}): {told}")
    return {"anonymous": peaks["RssAnon"], "resident": peaks["VmHWM"], **json.loads(told)}


def costs(case: str, act: Any, path: Path, size: int) -> list[Row]:
    """Seconds, and both peaks in MB; the peaks of a reader also as a share of the file's `size`."""
    found = watched(act, path)
    rows = [Row("reading", case, act.__name__, metric, found[metric], "s") for metric in ("seconds", "processor")]
    rows += [Row("reading", case, act.__name__, peak, found[peak] / 2**20, "MB") for peak in ("anonymous", "resident")]
    if act in (plain, as_mmsa, copying, reading):
        for peak in ("anonymous", "resident"):
            share, law = found[peak] / size, act is reading and size > SMALL
            rows.append(
                Row("reading", case, act.__name__, f"{peak} / file", share, "", "<= 1.2" if law else "", share <= 1.2 if law else None)
            )
    if act is converting:
        rows[2] = Row("reading", case, act.__name__, "anonymous", found["anonymous"] / 2**20, "MB", "< 1024", found["anonymous"] < 2**30)
    if act is opening:
        rows[0] = Row("reading", case, act.__name__, "seconds", found["seconds"], "s", "< .2", found["seconds"] < 0.2)
    return rows


def empty(folder: Path) -> None:
    for left in folder.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def wide(folder: Path, scale: float, *, full: bool, acts: Sequence[Any]) -> list[Row]:
    """The pickle of MOSEI's shape, read in every way, then converted and opened."""
    sizes = {split: max(1, round(rows * scale)) for split, rows in SPLITS.items()}
    path = make(folder / "mosei.pkl", sizes, WIDE, full=full)
    size = path.stat().st_size
    case = f"{size / 2**30:.2g} GB, {'all steps valid' if full else 'a third valid'}"
    rows = []
    for act in acts:
        if act is opening:
            path.unlink()
        rows += costs(case, act, path if path.exists() else path.with_suffix(".msa"), size)
    empty(folder)
    return rows


def growth(folder: Path, sizes: Sequence[int]) -> list[Row]:
    """How the narrow file costs more as its rows grow."""
    rows = []
    for n in sizes:
        path = make(folder / "narrow.pkl", {"train": n * 7 // 10, "valid": n // 10, "test": n // 5}, NARROW)
        case, container = f"{n:,} rows", path.with_suffix(".msa")
        for act in (reading, converting, opening, going_through, streaming, training, looking):
            found = watched(act, path if act in (reading, converting) else container)
            rows += [Row("reading", case, act.__name__, peak, found[peak] / 2**20, "MB") for peak in ("anonymous", "resident")]
            told = [m for m in ("seconds", "processor", "loader", "training") if m in found]
            rows += [
                Row("reading", case, act.__name__, metric, found[metric], "/s" if metric in ("loader", "training") else "s")
                for metric in told
            ]
        empty(folder)
    return rows


def main(options: argparse.Namespace) -> list[Row]:
    scale = 1.0 if options.full else 0.02 if options.quick else options.rows_scale
    with tempfile.TemporaryDirectory() as folder:
        readers = [importing, reading, *(() if options.full else (copying, plain, as_mmsa))]
        rows = wide(Path(folder), scale, full=True, acts=readers)
        rows += wide(Path(folder), scale, full=False, acts=[*readers, converting, opening, going_through, streaming, looking])
        return rows + growth(Path(folder), GROWTH[:1] if options.quick else GROWTH if options.full else GROWTH[:2])


def child(name: str, path: str) -> None:
    """Do one thing and print what it took."""
    act = globals()[name]
    if act not in (importing, plain, as_mmsa):
        importing(path)  # what is imported is not what is measured
    start, worked = time.perf_counter(), time.process_time()
    found = act(path)
    print(json.dumps({"seconds": time.perf_counter() - start, "processor": time.process_time() - worked, **found}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--act"]:
        child(*sys.argv[2:])
    else:
        chosen = arguments(__doc__, rows_scale=0.1, full=False)
        finish(main(chosen), chosen)
