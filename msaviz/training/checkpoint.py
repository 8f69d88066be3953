"""How does a killed run go on to the same numbers?

A checkpoint holds tensors and plain values only, is read with `weights_only=True`, and carries the generators' states.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import torch

from msaviz.files import atomic
from msaviz.limits import check
from msaviz.reading import plain_file, reading

CHECKPOINT, DONE = "checkpoint", "done"
AGAIN = "the checkpoint is damaged or of another version; delete it to begin anew"


def write_checkpoint(path: Path, parts: dict[str, Any]) -> None:
    """Write `parts` and the states of torch's generators, whole or not at all."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    with atomic(path) as temporary, open(temporary, "wb") as file:
        torch.save({**parts, "generator": torch.get_rng_state(), "cuda": cuda}, file)


def resuming(path: Path) -> AbstractContextManager[None]:
    """What fails inside because the checkpoint at `path` does not fit is a ValueError that says so."""
    return reading(path, AGAIN)


def read_checkpoint(path: Path, device: torch.device, stateful: Mapping[str, Any]) -> dict[str, Any] | None:
    """What was written beside the states of the `stateful` parts, which take theirs up; the generators are set to where they were.

    None if there is no checkpoint, ValueError if it is damaged.
    """
    if not path.exists():
        return None
    with resuming(plain_file(path)):
        with zipfile.ZipFile(path) as archive:
            check(path, sum(member.file_size for member in archive.infolist()), path.stat().st_size)
        saved = torch.load(path, map_location=device, weights_only=True)
        torch.set_rng_state(saved.pop("generator").cpu())
        cuda = saved.pop("cuda")
        if cuda and torch.cuda.is_available():
            torch.cuda.set_rng_state_all([state.cpu() for state in cuda])
        for name, part in stateful.items():
            part.load_state_dict(saved.pop(name))
        return saved


def finished(folder: Path) -> bool:
    """Whether the run in this folder is done. The checkpoint of one that is, which outlives a kill in the last moment, is removed."""
    done = (folder / DONE).exists()
    if done:
        with suppress(OSError):  # where the folder may only be read it does no harm
            (folder / CHECKPOINT).unlink(missing_ok=True)
    return done
