"""Strings that do something wherever a text of the data is read as anything but text, and a dataset, a run and files full of them."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd
from planted_evolution import evolution
from planted_results import results_frame
from tiny_runs import SMALL

from msaviz import Dataset, Experiment, train
from msaviz.app import comparison, results_table
from msaviz.app.evolution import write_page as write_search
from msaviz.data.msa import save
from msaviz.search.record import Search
from msaviz.training.compare import Comparison
from msaviz.training.results import Results
from msaviz.types import Task

BIDI = "\u202egpj.\u2066"
ESCAPES = "\x1b]0;canary\x07\x1b[2J\x1b[8m\x9b31m\x07\x08"
PAYLOADS = (
    "<script data-canary>window.__canary=1</script>",
    '"><img data-canary src=https://canary.invalid/1 onerror=window.__canary=2>',
    "'><svg data-canary onload=window.__canary=3>",
    "</script><script data-canary>window.__canary=4</script>",
    "<!--<script data-canary>window.__canary=5;//-->",
    "]]><b data-canary onclick=window.__canary=6>",
    '<a data-canary href="javascript:window.__canary=7">a</a>',
    "{{ 191*7 }}{% for x in range(3) %}<i data-canary>{% endfor %}",
    "[x](javascript:window.__canary=8) ![x](https://canary.invalid/8.png) <https://canary.invalid/8>",
    "$\\href{javascript:window.__canary=9}{x}$ \\(\\require{html}\\unicode{x3c}\\) $$x^2$$",
    '<span data-canary style="background:url(https://canary.invalid/10)">a</span><sub>b</sub><br>',
    "%{x} %{customdata[0]} <extra data-canary></extra>",
    "a\u2028window.__canary=12;\u2029b",
    "</style><style data-canary>@import 'https://canary.invalid/13'</style>",
    "=cmd|'/C calc'!A0",
    "@SUM(1+1)*cmd",
    "+1-2",
    ESCAPES,
    BIDI,
    "\\input{/etc/passwd}\\write18{id}^^5cinput \\end{table}%",
    "<iframe data-canary srcdoc='<script>parent.__canary=14</script>'></iframe>",
    "<details data-canary open ontoggle=window.__canary=15>`x` | **b** ~~c~~ # d\n\n- e\n\n    f",
    "</textarea></title></option></select><input data-canary autofocus onfocus=window.__canary=16>",
    "&lt;img data-canary src=x onerror=window.__canary=17&gt;",
)
DOMAINS = (1, 12)
"""The payloads that name the domains of the first dataset."""
PLACE = """</title><img data-canary src='x' onerror=window.__canary=20> {{ 191*7 }} $x$ `y` \x1b]0;z\x07 \u202e"'"""
"""A file's name can hold all but a slash and nothing."""
HEADLINE = ("mae", "acc2_negpos")
OPENED = """[...document.querySelectorAll('[data-canary], [href^="javascript:" i]')].map(e => e.outerHTML.slice(0, 200))"""
"""JavaScript: what a payload made."""


def dataset(turn: int = 0, rows: int = 60) -> Dataset:
    """Noise in which everything that has a name is called by payloads; another `turn` is another two domains."""
    many = len(PAYLOADS)
    random = np.random.default_rng(0)
    words = [[PAYLOADS[(n + i) % many] for i in range(6)] for n in range(rows)]
    shapes = {"text": (6, 4), "audio": (9, 3), "vision": (7, 3)}
    domains = [PAYLOADS[(DOMAINS[n] + turn) % many] for n in range(2)]
    classes = tuple(f"{n}{PAYLOADS[n]}" for n in range(6))
    labels = {"main": np.linspace(-2, 2, rows, dtype="float32")[np.arange(rows) * 7 % rows], "mood": None}
    main, mood = labels
    labels[mood] = np.array(classes, dtype=object)[np.arange(rows) % 6]
    return Dataset.from_arrays(
        y=labels,
        tasks={main: Task(), mood: Task(kind="classes", classes=classes)},
        splits=np.repeat(["train", "valid", "test"], rows // 3),
        domain=[domains[n * 7 % 2] for n in range(rows)],
        ids=[f"{PAYLOADS[n % many]}{n}" for n in range(rows)],
        texts=[" ".join(row) for row in words],
        tokens=words,
        name=f"data {PLACE}",
        **{m: random.normal(size=(rows, *shape)).astype("float32") for m, shape in shapes.items()},
    )


def hostile_run(folder: Path, *, model: str = "derl", seed: int = 0, turn: int = 0) -> Path:
    """A run of one epoch on it, in folders whose names are payloads too."""
    source = folder / f"{PLACE}.msa"
    if not source.exists():
        save(dataset(turn), source)
    told = json.loads((source / "header.json").read_text())
    told["traps"] = list(PAYLOADS)
    (source / "header.json").write_text(json.dumps(told))
    config = {"name": model, **(SMALL if model == "derl" else {})}
    plan = Experiment(model=config, data=str(source), seed=seed, train={"epochs": 1, "snapshots": 1, "validation_rates": (0.0, 0.5)})
    path = train(plan, folder / f"{model}-{seed}{PLACE}", progress=False).path
    line = json.loads((path / "history.jsonl").read_text().splitlines()[-1])
    more = [{**line, "metric": payload, "domain": payload, "value": 1.0} for payload in PAYLOADS]
    with (path / "history.jsonl").open("a") as file:
        file.writelines(json.dumps(one) + "\n" for one in more)
    return path


class Elements(HTMLParser):
    """Elements as a browser would find them, and those among them that a payload made."""

    def __init__(self, html: str):
        super().__init__()
        self.made: list[str] = []
        self.count = 0
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.count += 1
        names = {name: value or "" for name, value in attrs}
        if "data-canary" in names or any(n.startswith("on") or v.strip().lower().startswith("javascript:") for n, v in names.items()):
            self.made.append(f"<{tag} {names}>")


def results_pages(folder: Path, turn: int = 0) -> list[Path]:
    """Pages that tables make without a run: results, a comparison and an evolution, every word of which is a payload."""
    words = [f"{PAYLOADS[turn % len(PAYLOADS)]}{PAYLOADS[(turn + i) % len(PAYLOADS)]}" for i in (5, 9, 13, 17)]
    for name in ("results", "comparison", "search"):
        (folder / name).mkdir(parents=True)
    frame = pd.concat([results_frame(words[0]).assign(metric=metric) for metric in HEADLINE], ignore_index=True)
    frame = frame.replace({"model": {"derl": words[1], "LNLN": words[2]}, "objective": {"erm": words[3]}})
    results_table.write(Results(frame, (), folder / "results", {words[0]: Task()}, warnings=PAYLOADS))
    numbers = dict.fromkeys(("mean", "low", "high", "floor", "gain", "gain_low", "gain_high"), 1.0) | {"sd": 0.1, "runs": 2}
    every = product(words[:2], words[2:], (*PAYLOADS[:6], "mean"), HEADLINE)
    rows = [{"model": m, "objective": o, "target": t, "metric": k, "protocol": "lodo", **numbers} for m, o, t, k in every]
    compared = Comparison(pd.DataFrame(rows), pd.DataFrame(), (), folder / "comparison", Task(), warnings=PAYLOADS)
    comparison.write_page(compared)
    evolved = evolution(name=words[0], population=4, generations=3)
    genes = evolved.genes.replace({"value": {"top": words[1], "soft": words[2]}, "gene": {"model.router": words[3]}})
    trials = evolved.trials.replace({"arm": {"random": words[1]}, "mutated": {"model.router": words[3]}})
    evolved = replace(evolved, genes=genes.replace({"arm": {"random": words[1]}}), trials=trials)
    settings = SimpleNamespace(experiment=SimpleNamespace(model_name=words[0], data=words[1]))
    told = {"results": pd.DataFrame(), "winners": {}, "evolution": evolved, "settings": settings}
    write_search(cast(Search, SimpleNamespace(path=folder / "search", warnings=PAYLOADS, **told)))
    return [folder / "results" / "results.html", folder / "comparison" / "comparison.html", folder / "search" / "search.html"]
