"""What does a training leave in its run's folder? Each file is whole or absent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import save_file
from torch import Tensor

from msaviz.files import atomic, write_text
from msaviz.training.run import HISTORY, Run
from msaviz.training.system import System
from msaviz.training.validation import COMPLETE, Validator


def write_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Weights by name, as safetensors."""
    with atomic(path) as temporary:
        save_file({k: v.detach().cpu().contiguous() for k, v in weights.items()}, temporary)


def write_history(run: Run, history: Sequence[Mapping[str, Any]]) -> None:
    """history.jsonl: one number a line. FileNotFoundError where the folder was removed since the training began."""
    if not (run.path / "options.json").exists():
        raise FileNotFoundError(f"{run.path} was removed, or its options.json, while it was trained; give the same command again")
    frame = pd.DataFrame([*history], columns=HISTORY)
    write_text(run.path / "history.jsonl", frame.to_json(orient="records", lines=True, double_precision=15))


def write_predictions(run: Run, validator: Validator, system: System) -> None:
    """predictions.csv: the main task on the complete validation and test splits."""
    frames = []
    for split in [s for s in ("valid", "test") if s in validator.dataset.splits]:
        example, label, prediction = validator.predict(system, split, COMPLETE)
        shown = prediction.argmax(-1) if prediction.ndim > 1 else prediction
        frames.append(pd.DataFrame({"split": split, "example": example, "label": label, "prediction": shown}))
    write_text(run.path / "predictions.csv", pd.concat(frames).to_csv(index=False))
