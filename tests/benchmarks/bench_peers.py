"""How fast do our baselines train and read beside MMSA's, at the same widths, on the same file?

TFN, LMF, MISA, Self-MM and MulT: MMSA 2.2.1 with its own configuration for MOSI against our twin with the same hidden widths and batch,
where both have such an option. One file in MMSA's layout feeds both: random values, text of 50 precomputed 768-wide vectors, vision of 500
steps of 20, audio of 375 of 5. `full`: every step is valid. `mosi`: lengths as they are in MOSI: the share of the longest duration that an
utterance lasts is drawn from a gamma distribution with shape 2.5 and mean 1/3, clipped to [.04, 1]; vision and audio are valid for that
share of their steps, and text for 42 word pieces times it, 3 at least and 50 at most (mean about 14).

Every measurement is a process of its own with one thread, timed by the processor's clock (so other work on the machine takes nothing
away); the sides alternate. Counted on both sides: making batches, forward, losses, backward, clipping, step; a step follows as many
batches as in MMSA (1, 1, 2, 4, 8). Not counted: reading the file, validation, the text encoder (MMSA's BERT models get a frozen lookup of
the same vectors), and, for MMSA's TFN and LMF, the mean of vision and audio over time, which its loader takes once and ours takes anew in
each batch. Peak memory is that of the process with its data.

Not alike: MMSA's TFN multiplies vectors of 32, 32 and 128 numbers (140,481 products; ours 35,937). Its MISA reads of vision and audio as
many steps as the text has words; its Self-MM reads the first text vector alone, ours the mean. Those two are shown with means over time
for every modality too ("pooled"). Where ours averages long sequences in windows, it is shown with windows of one step too ("every step").
MMSA's MulT gets two batches and no warm-up.
MMSA runs in an environment of its own, made on first use (about 1 GB).
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from tools import Row, arguments, finish, write

HERE = Path(__file__).parent
STEPS = {"text": (50, 768), "vision": (500, 20), "audio": (375, 5)}
TARGET = 3.0
EVERY = {"frames": 500}
"""As many windows as the longest sequence has steps: every step is read."""


@dataclass(frozen=True)
class Twin:
    """MMSA's configuration of a model as ours: examples in a batch, batches in a step, widths; and what else ours is shown with."""

    batch: int
    accumulate: int
    widths: dict[str, Any]
    further: dict[str, dict[str, Any]] = field(default_factory=dict)


BOTH = {"pooled": {"encoder": "pooled"}, "every step": EVERY}
TWINS: Mapping[str, Twin] = {
    "tfn": Twin(32, 1, {"dim": 128, "factor": 32, "hidden": 64}),
    "lmf": Twin(64, 1, {"dim": 128, "factor": 64, "rank": 3}),
    "misa": Twin(16, 2, {"dim": 128}, BOTH),
    "self_mm": Twin(16, 4, {"dim": 32}, BOTH),
    "mult": Twin(16, 8, {"dim": 50, "heads": 10, "layers": 4, "self_layers": 4, "kernel": 5}, {"every step": EVERY}),
}


# -- the file that both sides read -----------------------------------------------------------------------------------


def lengths(rows: int, case: str, g: np.random.Generator) -> dict[str, np.ndarray]:
    """Valid steps of each utterance by modality; one duration an utterance rules all three (see the module)."""
    if case == "full":
        return {m: np.full(rows, steps) for m, (steps, _) in STEPS.items()}
    if case != "mosi":
        raise ValueError(f"no case {case!r}; there are full and mosi")
    share = np.clip(g.gamma(2.5, 1 / 7.5, rows), 0.04, 1)
    found = {m: np.rint(share * steps).astype(int).clip(1, steps) for m, (steps, _) in STEPS.items()}
    return {**found, "text": np.rint(share * 42).astype(int).clip(3, 50)}


def part(rows: int, case: str, first: int, g: np.random.Generator) -> dict[str, Any]:
    """One split in MMSA's layout; the token ids are places in the list of all word vectors, so a lookup finds them again."""
    valid = lengths(rows, case, g)
    held = {m: np.arange(steps) < valid[m][:, None] for m, (steps, _) in STEPS.items()}
    columns: dict[str, Any] = {m: g.normal(size=(*held[m].shape, w)).astype(np.float32) * held[m][..., None] for m, (_, w) in STEPS.items()}
    ids = np.arange(first, first + rows * STEPS["text"][0]).reshape(rows, -1)
    columns["text_bert"] = np.stack([ids, held["text"], np.zeros_like(ids)], 1).astype(np.float32)
    columns |= {f"{m}_lengths": valid[m].tolist() for m in ("vision", "audio")}
    columns |= {"raw_text": ["-"] * rows, "id": [f"{first}${row}" for row in range(rows)]}
    return columns | {"regression_labels": g.uniform(-3, 3, rows).astype(np.float32)}


def write_file(path: Path, rows: int, case: str) -> None:
    """`rows` utterances to train on, 16 each to validate and test."""
    g, first, splits = np.random.default_rng(0), 0, {}
    for name, size in (("train", rows), ("valid", 16), ("test", 16)):
        splits[name] = part(size, case, first, g)
        first += size * STEPS["text"][0]
    path.write_bytes(pickle.dumps(splits, protocol=4))


# -- one measurement, in its own process --------------------------------------------------------------------------------


def ours(model: str, options: dict[str, Any], batch: int, accumulate: int, file: Path, passes: int) -> dict[str, float]:
    """Samples a second of `Trainer._train_epoch` and of reading, each after a pass that is not counted."""
    started = time.perf_counter()
    import torch

    from msaviz.data.load import load
    from msaviz.training.experiment import Experiment
    from msaviz.training.loop import Trainer

    imported = time.perf_counter() - started
    torch.set_num_threads(1)
    train = {"batch": batch, "accumulate": accumulate, "device": "cpu"}
    experiment = {"model": {"name": model, **options}, "missing": {"kind": "none"}, "train": train}
    trainer = Trainer(Experiment.model_validate(experiment), load(f"{file}:text=vectors"))
    system, split, times = trainer.system, trainer.learnt, []
    for _ in range(1 + passes):
        start = time.process_time()
        trainer._train_epoch()
        times.append(time.process_time() - start)
        trainer.state.epoch += 1
    reads = []
    with torch.inference_mode():
        system.eval()
        for _ in range(1 + passes):
            start = time.process_time()
            for batch_read in split.batches(batch, shuffle=True):
                system(batch_read)
            reads.append(time.process_time() - start)
    return {
        "train": len(split) * passes / sum(times[1:]),
        "read": len(split) * passes / sum(reads[1:]),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "import_s": imported,
        "parameters": sum(p.numel() for p in system.parameters()),
        "batch": batch,
    }


def child(command: list[str]) -> dict[str, float]:
    """What a process says in its last line; RuntimeError with its own words where it fails."""
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def environment(folder: Path) -> Path:
    """The Python of MMSA's environment in `folder`, made if it is not there: torch goes in first and pinned, MMSA without its own pins."""
    python = folder.absolute() / "bin/python"
    if not python.exists() or subprocess.run([str(python), "-c", "import MMSA"], capture_output=True, check=False).returncode:
        print(f"making MMSA's environment in {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        for wanted in (["torch==2.13.0"], ["--no-deps", "MMSA==2.2.1", "nvidia-ml-py3"], ["-r", str(HERE / "requirements-mmsa.txt")]):
            subprocess.run([*pip, *wanted], check=True)
    return python


# -- the comparison ----------------------------------------------------------------------------------------------------


def main(options: argparse.Namespace) -> list[Row]:
    from msaviz.catalog import MODELS

    python = environment(Path(options.environment))
    names = [m for m in options.models.split(",") if not (options.quick and m == "mult")]
    absent = [m for m in names if m not in MODELS]
    if absent:
        raise ValueError(f"no model {', '.join(absent)} to compare; there are {', '.join(MODELS)}, of which MMSA has {', '.join(TWINS)}")
    rows = []
    for case in options.cases.split(","):
        for model in names:
            with tempfile.TemporaryDirectory() as folder:
                found = compare(python, model, case, Path(folder) / f"{case}.pkl", options)
            rows += list(rows_of(model, case, found))
            write(rows, options.json)  # what is measured stays, whatever comes next
            compared = {
                f"{r.subject}, {r.metric.split(',')[0]}": r
                for r in rows
                if r.case == case and r.subject.startswith(f"{model} ") and r.unit == "x"
            }
            print(f"{case}: " + "; ".join(f"{name} {row.value:.2g} x" for name, row in compared.items()), file=sys.stderr)
    return rows


def compare(python: Path, model: str, case: str, file: Path, options: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """Subject -> what each round found, ours and theirs in turn."""
    slow, rows, times = model == "mult", 64 if options.quick else options.rows, 1 if options.quick else options.passes
    write_file(file, rows, case)
    twin = TWINS[model]
    few = file.with_name("few.pkl")
    if slow:
        write_file(few, 2 * twin.batch, case)
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    for _ in range(1 if options.quick else options.repeats):
        for variant, chosen in {"ours": {}, **{f"ours, {name}": chosen for name, chosen in twin.further.items()}}.items():
            read = few if slow and variant == "ours, every step" else file
            told = json.dumps([model, twin.widths | chosen, twin.batch, twin.accumulate, str(read), times])
            found[variant].append(child([sys.executable, __file__, "--ours", told]))
        passes = ["--warm", "0", "--passes", "1"] if slow else ["--passes", str(times)]
        found["MMSA"].append(child([str(python), str(HERE / "peer_mmsa.py"), model, str(few if slow else file), *passes]))
    return found


METRICS = {
    "train": ("training", "samples/s"),
    "read": ("reading", "samples/s"),
    "peak_mb": ("peak memory", "MB"),
    "import_s": ("import", "s"),
    "parameters": ("parameters", ""),
}


def rows_of(model: str, case: str, found: Mapping[str, list[dict[str, float]]]) -> Iterator[Row]:
    """Medians of both sides with their range, and our rates over theirs."""
    for key, (metric, unit) in METRICS.items():
        middle = {side: median(r[key] for r in rounds) for side, rounds in found.items()}
        for side, rounds in found.items():
            low, high = min(r[key] for r in rounds), max(r[key] for r in rounds)
            yield Row("peers", case, f"{model} {side}", metric, middle[side], unit, low=low, high=high)
        for side in [side for side in found if side != "MMSA"]:
            ratio = middle[side] / middle["MMSA"]
            aimed = key in ("train", "read") and side == "ours"
            met = ratio >= TARGET if aimed else None
            yield Row("peers", case, f"{model} {side}", f"{metric}, ours / MMSA", ratio, "x", f">= {TARGET:g}" if aimed else "", met)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ours"]:
        name, chosen, batch, accumulate, path, passes = json.loads(sys.argv[2])
        print(json.dumps(ours(name, chosen, batch, accumulate, Path(path), passes)))
    else:
        given = {"environment": ".peers/mmsa", "models": ",".join(TWINS), "cases": "full,mosi", "rows": 320, "passes": 2, "repeats": 3}
        options = arguments(__doc__, **given)
        finish(main(options), options)
