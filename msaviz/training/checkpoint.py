"""How does a killed run go on to the same numbers?

A checkpoint holds tensors and plain values only, is read with `weights_only=True`, and carries the generators' states.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from msaviz.files import atomic


def write_checkpoint(path: Path, parts: dict[str, Any]) -> None:
    """Write `parts` and the states of torch's generators, whole or not at all."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    with atomic(path) as temporary:
        torch.save({**parts, "generator": torch.get_rng_state(), "cuda": cuda}, temporary)


def read_checkpoint(path: Path, device: torch.device) -> dict[str, Any] | None:
    """The parts, with the generators set to where they were; None if there is no checkpoint."""
    if not path.exists():
        return None
    saved = torch.load(path, map_location=device, weights_only=True)
    torch.set_rng_state(saved.pop("generator").cpu())
    cuda = saved.pop("cuda")
    if cuda and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([state.cpu() for state in cuda])
    return saved
