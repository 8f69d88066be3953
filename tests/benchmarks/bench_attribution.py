"""How long does it take to attribute a whole test split, and to judge the answer, beside captum called utterance by utterance?

686 rows of random values, widths 768/20/5, one thread: 50/500/375 steps as in the usual unaligned MOSI file, or `--aligned` 50 steps of
all; lengths are random up to the full ones. The naive loop is what a first script does: each utterance by itself, padded as the file
holds it, captum's classes with their own defaults and the same steps. It is timed on `--naive` utterances of the same run and scaled up.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import torch
from tools import Row, arguments, finish, seconds

from msaviz import Dataset, attribute, observe
from msaviz.catalog import MODELS, TABLES
from msaviz.interpret.coalitions import coalitions
from msaviz.interpret.explained import Explained

STEPS = {"text": (50, 768), "vision": (500, 20), "audio": (375, 5)}
POINTS = 32
JUDGES = ("attribution_completeness", "deletion_curve", "attribution_faithfulness", "attribution_sanity", "attribution_agreement")
TOLD = ("token_attribution", "modality_attribution", "word_attribution", "feature_attribution")


def dataset(rows: int, aligned: bool) -> Dataset:
    g = np.random.default_rng(0)
    steps = {m: (50 if aligned else t, w) for m, (t, w) in STEPS.items()}
    shared = g.integers(5, 51, rows)
    arrays = {m: g.normal(size=(rows, t, w)).astype(np.float32) for m, (t, w) in steps.items()}
    lengths = {m: shared if aligned else g.integers(t // 10, t + 1, rows) for m, (t, _) in steps.items()}
    return Dataset.from_arrays(y=g.uniform(-3, 3, rows).astype(np.float32), lengths=lengths, splits=np.repeat("train", rows), **arrays)


def padded(explained: Explained, steps: dict[str, int]) -> tuple[torch.Tensor, ...]:
    """One utterance's sequences and masks as the file pads them."""
    pad = torch.nn.functional.pad
    x = tuple(pad(v, (0, 0, 0, steps[m] - v.shape[1])) for m, v in explained.batch.x.items())
    mask = {m: pad(v, (0, steps[m] - v.shape[1])) for m, v in explained.batch.mask.items()}
    explained.batch = type(explained.batch)(
        dict(zip(explained.modalities, x, strict=True)), mask, explained.batch.labels, explained.batch.domain, explained.batch.example
    )
    return x


def naive(model: torch.nn.Module, data: Dataset, count: int, steps: dict[str, int]) -> dict[str, float]:
    """Seconds for the whole split, by method, from `count` utterances of it."""
    from captum.attr import FeatureAblation, IntegratedGradients, ShapleyValues

    spent = dict.fromkeys(("integrated_gradients", "feature_ablation", "coalitions"), 0.0)
    rows = np.linspace(0, len(data["train"]) - 1, count).round().astype(int)
    for row in rows:
        explained = Explained(model, data["train"].batch([row]), routing="live")
        x = padded(explained, steps)

        def steps_kept(*given: torch.Tensor, explained: Explained = explained) -> torch.Tensor:
            with torch.no_grad():
                return explained.hidden(dict(zip(explained.modalities, given[:-1], strict=True)), given[-1], {})

        def modalities_kept(keep: torch.Tensor, rows: torch.Tensor, explained: Explained = explained) -> torch.Tensor:
            with torch.no_grad():
                return explained.hidden({m: keep[:, i : i + 1] for i, m in enumerate(explained.modalities)}, rows, {})

        about = {"additional_forward_args": (explained.rows,)}
        masks = tuple(mask.float() for mask in explained.batch.mask.values())
        calls = {
            "integrated_gradients": lambda: IntegratedGradients(explained).attribute(x, n_steps=POINTS, **about),  # noqa: B023
            "feature_ablation": lambda: FeatureAblation(steps_kept).attribute(masks, (0,) * len(masks), **about),  # noqa: B023
            "coalitions": lambda: ShapleyValues(modalities_kept).attribute(torch.ones(1, len(x)), 0, **about),  # noqa: B023
        }
        for name, call in calls.items():
            spent[name] += seconds(call)
    return {name: value * len(data["train"]) / count for name, value in spent.items()}


def measured(options: argparse.Namespace, rows: int) -> dict[str, dict[str, float]]:
    """Seconds of ours, of the naive loop where there is one, and their ratio, by what is asked."""
    data = dataset(rows, options.aligned)
    torch.manual_seed(0)
    system = MODELS[options.model](data.spec, MODELS[options.model].Config()).eval()
    trace = observe(system, data["train"].batches(128, bucket=False), spec=data.spec, split="train")
    found, ours = {}, {}
    for name, given in (("integrated_gradients", {"steps": POINTS}), ("feature_ablation", {"baseline": "missing"})):
        ours[name] = seconds(lambda name=name, given=given: found.setdefault(name, attribute(trace, name, **given)))
    ours["coalitions"] = seconds(lambda: coalitions(trace))
    theirs = naive(system, data, options.naive, {m: 50 if options.aligned else t for m, (t, _) in STEPS.items()})
    table = {name: {"seconds": ours[name], "naive": theirs[name], "ratio": theirs[name] / ours[name]} for name in theirs}
    both = [sum(side.values()) for side in (ours, theirs)]
    table["all three"] = {"seconds": both[0], "naive": both[1], "ratio": both[1] / both[0]}
    return table | {name: {"seconds": seconds(lambda name=name: TABLES[name](found))} for name in (*TOLD, *JUDGES)}


def main(options: argparse.Namespace) -> list[Row]:
    torch.set_num_threads(1)
    rows = 24 if options.quick else options.rows
    case = f"{options.model}, {rows} rows, {'50 steps of all' if options.aligned else '50/500/375 steps'}"
    return [row for name, numbers in measured(options, rows).items() for row in told(f"{name}, {case}", numbers)]


def told(case: str, numbers: dict[str, float]) -> Iterator[Row]:
    yield Row("attribution", case, "msaviz", "time", numbers["seconds"], "s")
    if "naive" in numbers:
        yield Row("attribution", case, "captum, one by one, scaled", "time", numbers["naive"], "s")
        yield Row("attribution", case, "msaviz", "faster than the loop", numbers["ratio"], "x", "at least 1x", numbers["ratio"] >= 1)


if __name__ == "__main__":
    options = arguments(__doc__, model="derl", rows=686, naive=6, aligned=False)
    finish(main(options), options)
