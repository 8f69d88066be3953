"""How fast does MMSA train and read one of its models? Runs inside MMSA's own environment; prints one JSON line.

MMSA's configuration for MOSI, its data loader (in this process, no workers), its model, and its own `do_train` and `do_test` are run as
they are. The progress bar of its trainers stands around each pass over the batches and around nothing else: a stopwatch takes its place,
so what is counted is loading a batch, forward, losses, backward, clipping, step, and keeping predictions. Metrics, validation and saving
are not counted. Seconds are those of the processor in this one thread, so that other work on the machine takes nothing away.

Two things that keep it from running at all are mended: `ReduceLROnPlateau` no longer takes `verbose`; and BERT cannot be had offline, so a
frozen lookup of the same precomputed 768-wide vectors stands in for it (no text encoder is timed on either side).
"""

from __future__ import annotations

import argparse
import json
import logging
import pickle
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path

STARTED = time.perf_counter()

import torch  # noqa: E402
from MMSA.config import get_config_regression  # noqa: E402
from MMSA.data_loader import MMDataLoader  # noqa: E402
from MMSA.models import AMIO  # noqa: E402
from MMSA.trains import ATIO  # noqa: E402

IMPORTED = time.perf_counter() - STARTED


class Enough(Exception):
    """As many passes as were asked for have been timed."""


class Stopwatch:
    """Stands where a trainer has its progress bar: times each pass over `counted`; leaves a trainer after so many passes."""

    counted: object = None
    seconds: list[float] = []  # noqa: RUF012
    passes = 0

    def __init__(self, loader: object):
        self.loader = loader

    def __enter__(self) -> Stopwatch:
        self.start = time.process_time()
        return self

    def __iter__(self):
        return iter(self.loader)

    def __exit__(self, kind: type | None, *rest: object) -> None:
        if kind is None and self.loader is Stopwatch.counted:
            Stopwatch.seconds.append(time.process_time() - self.start)
            if len(Stopwatch.seconds) == Stopwatch.passes:
                raise Enough


class FrozenLookup(torch.nn.Module):
    """In place of BERT: token id -> its precomputed vector. Nothing learns."""

    table: torch.Tensor

    def __init__(self, *_: object, **__: object):
        super().__init__()

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.embedding(text[:, 0].long(), FrozenLookup.table)


def patch(model: str) -> None:
    """Put the stopwatch and the lookup where this model's modules look for a progress bar and for BERT."""
    for module in [module for name, module in sys.modules.items() if name.startswith("MMSA.")]:
        if name_of(module) == model.upper():
            for name, stand_in in (("tqdm", Stopwatch), ("BertTextEncoder", FrozenLookup), ("ReduceLROnPlateau", plateau)):
                if hasattr(module, name):
                    setattr(module, name, stand_in)


def name_of(module: object) -> str:
    return module.__name__.rsplit(".", 1)[-1].upper()  # type: ignore[attr-defined]


def plateau(optimizer: torch.optim.Optimizer, verbose: bool = False, **options: object) -> object:
    return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)  # type: ignore[arg-type]


def settings(model: str, path: Path, weights: Path) -> dict:
    """MMSA's own configuration, and what its `MMSA_run` adds to it."""
    config = get_config_regression(model, "mosi")
    extra = {"feature_T": "", "feature_A": "", "feature_V": "", "custom_feature": str(path), "train_mode": "regression"}
    config.update({**extra, "device": torch.device("cpu"), "cur_seed": 1, "model_save_path": str(weights)})
    return config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("file", type=Path, help="a pickle in MMSA's layout")
    parser.add_argument("--warm", type=int, default=1, help="passes that are not counted")
    parser.add_argument("--passes", type=int, default=1, help="passes that are")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    patch(options.model)
    with tempfile.TemporaryDirectory() as folder:
        config = settings(options.model, options.file, Path(folder) / "weights.pth")
        if config.get("use_bert"):
            splits = pickle.loads(options.file.read_bytes())
            FrozenLookup.table = torch.cat([torch.from_numpy(splits[s]["text"]) for s in ("train", "valid", "test")]).flatten(0, 1)
            del splits
        loaders = MMDataLoader(config, 0)
        if options.model == "self_mm":
            config.train_samples = len(loaders["train"].dataset)
        model, trainer = AMIO(config), ATIO().getTrain(config)
        labels = options.model == "self_mm"  # one pass more, before training: it fills its memory of labels
        train = timed(lambda: trainer.do_train(model, loaders), loaders["train"], options.warm + labels, options.passes)
        passes = range(options.warm + options.passes)
        read = timed(lambda: [trainer.do_test(model, loaders["train"]) for _ in passes], loaders["train"], options.warm, options.passes)
    rows = len(loaders["train"].dataset)
    found = {
        "train": rows / train,
        "read": rows / read,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "import_s": IMPORTED,
        "parameters": sum(p.numel() for p in model.parameters()),
        "batch": config["batch_size"],
    }
    print(json.dumps(found))


def timed(run, loader: object, warm: int, passes: int) -> float:
    """Seconds of a pass over `loader` that `run` makes: the mean of `passes`, after `warm` that are not counted."""
    Stopwatch.counted, Stopwatch.seconds, Stopwatch.passes = loader, [], warm + passes
    try:
        run()
    except Enough:
        pass
    return sum(Stopwatch.seconds[warm:]) / passes


if __name__ == "__main__":
    main()
