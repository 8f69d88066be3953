"""Does every file of the field, spoilt anyhow, become a whole dataset or one clear error that names the file, soon and in little memory?"""

import json
import os
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from data.test_dialogues import iemocap, meld
from data.test_emotions import intensities
from data.test_mmsa_pickle import rows
from endurance import tell, tries
from hostile import pickle_mutants

from msaviz.data import unpickle

ROWS = 6


def cut(parts, dialogues=6):
    """The same parts of a few dialogues only; the lists of them, which come last, share these."""
    names = list(parts["ids"])[:dialogues]
    found = [{name: part[name] for name in names} for part in parts.values() if isinstance(part, dict)]
    return [*found, names[:-2], names[-2:]]


def honest():
    """Name -> a small file in each of the field's layouts."""
    splits = [rows(seed, ROWS) for seed in range(3)], [rows(seed, ROWS, aligned=True) for seed in range(3)]
    unaligned, aligned = ({name: dict(split[0]) for name, split in zip(("train", "valid", "test"), made, strict=True)} for made in splits)
    for seed, split in enumerate(aligned.values()):
        split["speaker"] = list("ababab")
        split["emotion_labels"] = intensities(seed, ROWS)
    mult = {
        name: {
            **{key: split[0][m] for key, m in (("text", "text"), ("acoustic", "audio"), ("visual", "vision"))},
            "labels": np.column_stack([split[0]["regression_labels"], intensities(seed, ROWS)])[:, None],
            "id": np.array([[f"v{i}", "0", "1"] for i in range(ROWS)]),
        }
        for seed, (name, split) in enumerate(zip(("train", "dev", "test"), splits[1], strict=True))
    }
    return {"unaligned": unaligned, "aligned": aligned, "mult": mult, "iemocap": cut(iemocap()), "meld": cut(meld())}


def run(folder, seed, count):
    """What came of the mutants, by kind; an assertion for the first that came to anything else."""
    command = [sys.executable, str(Path(pickle_mutants.__file__)), str(folder), str(seed), str(count)]
    places = os.pathsep.join([str(Path(__file__).parent.parent), *sys.path])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": places}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 + count, env=environment)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    came = Counter(line["came"] for line in lines)
    strange = [line for line in lines if line["came"] not in ("read", "refused")]
    assert not strange, f"{len(strange)} of {count}, such as {strange[0]['seed']}{strange[0]['options']}: {strange[0]['came']}"
    assert done.returncode == 0, f"mutant {seed + len(lines)}: {done.stderr[-2000:]}"
    assert len(lines) == count
    return came


def test_spoilt_files_are_read_or_refused(tmp_path):
    for name, content in honest().items():
        (tmp_path / f"{name}.pickle").write_bytes(pickle.dumps(content))
    count = tries(120)
    came = run(tmp_path, int.from_bytes(os.urandom(4), "little"), count)
    assert came["read"] > count / 20
    assert came["refused"] > count / 5
    tell("spoilt pickles of five layouts, the whole way", count, **came)


@pytest.mark.slow
def test_spoilt_pieces_of_a_real_file_are_read_or_refused(tmp_path, mosi):
    whole = unpickle.load(mosi / "mosi_standard.pkl")
    few = {split: {key: column[:ROWS] for key, column in columns.items()} for split, columns in whole.items()}
    (tmp_path / "mosi.pickle").write_bytes(pickle.dumps(few))
    count = tries(100)
    tell("spoilt pieces of MOSI, the whole way", count, **run(tmp_path, int.from_bytes(os.urandom(4), "little"), count))
