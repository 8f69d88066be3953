"""How long does a table over a whole split take, beside the loop over utterances that a first script would write?

DERL on synthetic data, splits as large as the test splits of MOSI (686) and MOSEI (4,659). The loops are written down in
`naive_tables.py`, and must give the same numbers. Coalitions one by one are timed on 64 utterances and scaled. UMAP is timed at its
first call in a process (numba compiles), at the first call for other content, and at the second call for the same content (kept on disk).
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial

import naive_tables
import numpy as np
import torch
from tools import Row, alternating, arguments, finish, medians, seconds, timed

from msaviz import load, observe
from msaviz.catalog import MODELS, TABLES
from msaviz.interpret.trace import Trace

SIZES = {686: 980, 4659: 6656}
"""Utterances of the split -> of the whole synthetic source, of which 70 % are its train split."""
CASES = ("expert_usage", "gate_by_domain", "space_overlap", "leakage", "modality_shapley")
CACHED = 0.1
"""The second call of a map over its first one."""


def traced(source: int, seed: int = 0) -> Trace:
    """What an untrained DERL does on the train split: the tables take the same time on any weights."""
    data = load(f"synthetic:rows={source}")
    torch.manual_seed(seed)
    model = MODELS["derl"](data.spec, MODELS["derl"].Config()).eval()
    return observe(model, data["train"].batches(128), spec=data.spec, split="train")


def answers(name: str, trace: Trace) -> dict[str, Callable[[], object]]:
    """The table, and the loop that answers the same question."""
    return {"msaviz": partial(TABLES[name], trace), "loop": partial(getattr(naive_tables, name), trace)}


def agree(name: str, trace: Trace, tolerance: float = 1e-4) -> None:
    """Raises AssertionError where the loop finds another number than the table, or has none for a row it should know."""
    frame, other = TABLES[name](trace), getattr(naive_tables, name)(trace)
    keys, columns = naive_tables.KEYS[name], naive_tables.VALUES[name]
    told = frame.set_index(list(keys))[list(columns)]
    shared = [key for key in other if key in told.index]
    assert len(shared) == len(other), f"{name}: the loop has rows that the table lacks"
    assert other, f"{name}: the loop found nothing"
    np.testing.assert_allclose(
        told.loc[shared].to_numpy(dtype=float),
        np.array([other[key] for key in shared], dtype=float),
        atol=tolerance,
        rtol=1e-3,
        err_msg=name,
    )


def whole(trace: Trace, repeats: int, loops: int, check: bool) -> Iterator[Row]:
    """Each table beside its loop, over one split."""
    case = f"{len(trace.examples)} utterances"
    for name in CASES:
        few = naive_tables.few(trace) if name == "modality_shapley" else trace
        scale = len(trace.examples) / len(few.examples)
        if check:
            agree(name, few)
        ours = answers(name, trace)["msaviz"]
        times = alternating({"msaviz": ours}, repeats)
        times |= {"loop": [scale * seconds(answers(name, few)["loop"]) for _ in range(loops)]}
        middle = medians(times)
        ratio = middle["loop"] / middle["msaviz"]
        yield from timed("tables", f"{name}, {case}", times)
        yield Row("tables", f"{name}, {case}", "msaviz", "faster than the loop", ratio, "x", "at least 1x", ratio >= 1)
        print(f"{name}, {case}: {middle['msaviz']:.2f} s, loop {middle['loop']:.2f} s", flush=True)


def maps(first: Trace, second: Trace) -> Iterator[Row]:
    """UMAP and AlignedUMAP: the first call ever, the first one for other content, and the same content again."""
    calls = {
        "UMAP": partial(TABLES["representation_map"], first, representation="fused", method="umap"),
        "AlignedUMAP, 2 epochs": partial(TABLES["representation_epochs"], {1: first, 2: second}, method="aligned_umap"),
    }
    with tempfile.TemporaryDirectory() as folder:
        before, os.environ["MSAVIZ_CACHE"] = os.environ.get("MSAVIZ_CACHE"), folder
        try:
            for name, call in calls.items():
                case, asked = f"{name}, {len(first.examples)} utterances", {"first call": {}, "other content": {"seed": 1}, "again": {}}
                spent = {turn: seconds(partial(call, **given)) for turn, given in asked.items()}
                yield from (Row("tables", case, turn, "time", value, "s") for turn, value in spent.items())
                ratio = spent["again"] / spent["other content"]
                yield Row("tables", case, "again", "of another's", ratio, "x", f"at most {CACHED}x", ratio <= CACHED)
        finally:
            del os.environ["MSAVIZ_CACHE"]
            os.environ |= {} if before is None else {"MSAVIZ_CACHE": before}


def main(options: argparse.Namespace) -> list[Row]:
    torch.set_num_threads(1)
    rows: list[Row] = []
    for size, source in list(SIZES.items())[: 1 if options.quick else None]:
        trace = traced(source)
        assert len(trace.examples) == size, f"{len(trace.examples)} utterances, not {size}"
        rows += whole(
            trace, 2 if options.quick else options.repeats, 1 if options.quick or size > 1000 else options.loops, check=size < 1000
        )
        if size < 1000 and not options.quick:
            rows += maps(trace, traced(source, seed=1))
    return rows


if __name__ == "__main__":
    options = arguments(__doc__, loops=3)
    finish(main(options), options)
