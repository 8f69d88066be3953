"""Is the folder of a run from anywhere read, or refused in one clear sentence, before a number in it costs anything?"""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from endurance import tell, tries
from mutations import counted, in_child, mutated, outcome, spoilt
from safetensors.torch import load_file, save_file
from tiny_runs import trained

from msaviz import Run
from msaviz.app.notebook import parameters_of
from msaviz.training.checkpoint import read_checkpoint, write_checkpoint
from msaviz.training.kept import evaluation_path, predicted
from msaviz.training.loop import train
from msaviz.training.weights import Measured


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    path = trained(tmp_path_factory.mktemp("runs"), "run", snapshots=1)
    predicted(Run.open(path), "clean")
    return path


@pytest.fixture
def path(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def used(path: Path) -> None:
    """All that a run tells without its data, and what its model makes of one batch of them."""
    run = Run.open(path)
    _ = run.environment, run.fingerprint, run.model_name, run.done
    history, predictions = run.history(), run.predictions()
    assert history["value"].dtype == float
    assert history["step"].dtype == predictions["example"].dtype == np.int64
    assert set(history["split"].map(type)) <= {str}
    for epoch in (None, *run.epochs[:1]):
        assert all(not p.isnan().any() for p in run.model(epoch).parameters())


def test_the_right_run_is_read(path):
    used(path)
    assert not predicted(Run.open(path), "clean").empty


def changed(file: Path, **changes) -> None:
    """The JSON with values at dotted paths."""
    tree = json.loads(file.read_text())
    for place, value in changes.items():
        *parents, leaf = place.split("__")
        node = tree
        for key in parents:
            node = node[key]
        node[leaf] = value
    file.write_text(json.dumps(tree))


MANY = [f"m{i}" for i in range(300)]
OPTIONS = {
    "no experiment": ({"experiment": []}, "expected an object under 'experiment'"),
    "no fingerprint": ({"data__fingerprint": 7}, "expected a text under 'data.fingerprint'"),
    "unknown model": ({"experiment__model__name": "../../x"}, "no model is called"),
    "no model": ({"experiment__model__name": ["derl"]}, "say which by 'name'"),
    "unknown option": ({"experiment__model__code": "import os"}, "Extra inputs are not permitted"),
    "width of text": ({"spec__widths__audio": "wide"}, "widths.audio"),
    "wide data": ({"spec__widths__audio": 10**12}, "widths are 1 to"),
    "rather wide data": ({"spec__widths__audio": 2**24}, "unfold to|size mismatch"),
    "wide model": ({"experiment__model__dim": 2**22}, "unfold to"),
    "many experts": ({"experiment__model__experts": 10**9}, "unfold to|far deeper"),
    "deep model": ({"experiment__model__layers": 10**9}, "far deeper model than its weights"),
    "endless classes": ({"spec__tasks__sentiment__high": 1e300}, "wide"),
    "another model": ({"experiment__model": {"name": "early_fusion"}}, "Missing key|Error.s. in loading"),
    "another width": ({"experiment__model__dim": 32}, "size mismatch"),
    "many modalities": ({"spec__modalities": MANY, "spec__widths": dict.fromkeys(MANY, 2)}, "1 to 256 modalities"),
    "many sets": (
        {
            "spec__modalities": MANY[:64],
            "spec__widths": dict.fromkeys(MANY[:64], 2),
            "experiment__model": {"name": "haemsa"},
        },
        "64 modalities have 2.64 - 1 sets",
    ),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_that_do_not_fit_the_weights_cost_nothing(path, case):
    changes, said = OPTIONS[case]
    changed(path / "options.json", **changes)
    with pytest.raises(ValueError, match=said) as error:
        Run.open(path).model()
    assert str(path) in str(error.value)

    def read() -> list:
        start = time.process_time()
        return [outcome(lambda: Run.open(path).model(), path), time.process_time() - start]

    said, seconds = in_child(read, more_bytes=1500 * 2**20)
    assert said == "refused"
    assert seconds < 20


def test_what_is_made_is_counted_before_it_is_made(tmp_path):
    with pytest.raises(ValueError, match="unfold to 4,000,000,000,000"), Measured(tmp_path, 10, 1):
        torch.nn.Linear(10**6, 10**6)
    with Measured(tmp_path, 10, 1) as measured:
        torch.nn.Linear(100, 100)
    assert measured.made == 4 * (100 * 100 + 100)


def test_an_encoder_of_others_is_never_downloaded(path, monkeypatch):
    seen = []
    monkeypatch.setattr("msaviz.training.run.build", lambda spec, experiment: seen.append(experiment) or 1 / 0)
    changed(path / "options.json", experiment__text__allow_download=True)
    with pytest.raises(ValueError, match="ZeroDivisionError"):
        Run.open(path).model()
    assert [experiment.text.allow_download for experiment in seen] == [False]


FILES = {
    "cut line": ("history.jsonl", lambda x: x + b'{"step": 1', "line .*: "),
    "no object": ("history.jsonl", lambda x: b"[1]\n" + x, "line 1: expected an object with step"),
    "deep": ("history.jsonl", lambda x: b"[" * 10**5 + b"\n", "line 1: it is nested too deeply"),
    "text as value": ("history.jsonl", lambda x: x.replace(b'"value":', b'"value":"a","b":', 1), "line 1: expected an object"),
    "huge step": ("history.jsonl", lambda x: x.replace(b'"step":', b'"step":99999999999999999999', 1), "line 1: step is '?9"),
    "no text": ("history.jsonl", lambda x: b"\xff" + x, "decode"),
    "columns": ("predictions.csv", lambda x: x.replace(b"label", b"labels", 1), "expected the columns split, example"),
    "words": ("predictions.csv", lambda x: x + b"test,1,many,2\n", "column label holds 'many'"),
    "cells": ("predictions.csv", lambda x: x + b"test,1,2,3,4,5\n", "Expected 4 fields"),
    "index": ("predictions.csv", lambda x: b"split,example,label,prediction\n" + b"1,2,3,4,5\n" * 3, "fields|length"),
    "bomb": ("predictions.csv", lambda x: b"," * 10**6, "expected the columns"),
    "field": ("predictions.csv", lambda x: x + b'"' + b"a" * 10**7, "predictions.csv: "),
    "nothing": ("predictions.csv", lambda x: b"", "expected the columns"),
    "cut weights": ("weights.safetensors", lambda x: x[:-9], "weights.safetensors: "),
    "long header": ("weights.safetensors", lambda x: b"\xff" * 8 + x[8:], "weights.safetensors: "),
    "no weights": ("weights.safetensors", lambda x: b"", "weights.safetensors: "),
    "options": ("options.json", lambda x: b"[" * 10**5, "nested too deeply"),
    "environment": ("environment.json", lambda x: b"[]", "environment.json: expected a JSON object"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_damaged_file_is_named(path, case):
    name, change, said = FILES[case]
    (path / name).write_bytes(change((path / name).read_bytes()))
    with pytest.raises(ValueError, match=said) as error:
        used(path)
    assert str(path / name) in str(error.value)


def test_weights_that_are_no_numbers_are_told(path):
    weights = load_file(path / "weights.safetensors")
    name = next(k for k, v in weights.items() if v.is_floating_point())
    weights[name].flatten()[0] = float("nan")
    save_file(weights, path / "weights.safetensors")
    with pytest.raises(ValueError, match=rf"weights.safetensors: {name} holds numbers that are none"):
        Run.open(path).model()


def test_pipes_and_odd_names_are_no_part_of_a_run(path):
    (path / "epochs" / "latest.safetensors").write_bytes(b"")
    (path / "epochs" / "-1.safetensors").write_bytes(b"")
    assert Run.open(path).epochs == (1,)
    for name in ("predictions.csv", "weights.safetensors"):
        (path / name).unlink()
        os.mkfifo(path / name)
    with pytest.raises(FileNotFoundError, match="no plain file"):
        Run.open(path).predictions()
    with pytest.raises(FileNotFoundError, match="no plain file"):
        Run.open(path).model()


@pytest.mark.parametrize("damage", [b"", b"run,model\n", b'"', b"\xff\xfe", b"," * 10**5])
def test_kept_predictions_that_are_damaged_are_made_anew(path, damage):
    run = Run.open(path)
    right, file = predicted(run, "clean"), evaluation_path(run, "clean")
    before = file.read_bytes()
    for target, content in ((file, damage), (file.with_suffix(".json"), damage), (file.with_suffix(".json"), b'{"warnings": [1]}')):
        target.write_bytes(content)
        assert predicted(run, "clean")["prediction"].equals(right["prediction"])
        assert file.read_bytes() == before


def checkpoint(path: Path) -> Path:
    """An unfinished run: its second epoch was never reached."""
    folder = path.parent / "unfinished"
    shutil.copytree(path, folder)
    for name in ("done", "weights.safetensors"):
        (folder / name).unlink()
    (folder / "checkpoint").write_bytes(b"PK")
    return folder


def test_a_damaged_checkpoint_is_told_with_its_remedy(path):
    folder = checkpoint(path)
    with pytest.raises(ValueError, match=r"checkpoint: .*; the checkpoint is damaged or of another version; delete it to begin anew"):
        train(Run.open(folder).experiment, folder, resume=True, progress=False)
    write_checkpoint(folder / "checkpoint", {name: {} for name in ("system", "objective", "optimizer", "schedule", "best", "state")})
    with pytest.raises(ValueError, match="delete it to begin anew"):
        train(Run.open(folder).experiment, folder, resume=True, progress=False)
    (folder / "checkpoint").unlink()
    assert train(Run.open(folder).experiment, folder, resume=True, progress=False).done


def test_mutated_checkpoints_are_read_or_refused(tmp_path):
    count, seed, file = tries(60), random.randrange(10**9), tmp_path / "checkpoint"
    part = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(part.parameters())
    part(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    write_checkpoint(file, {"system": part.state_dict(), "optimizer": optimizer.state_dict(), "state": {"epoch": 1}})
    data = file.read_bytes()

    def once(number: int) -> str:
        file.write_bytes(mutated(data, random.Random(f"{seed} {number}")))
        return outcome(lambda: read_checkpoint(file, torch.device("cpu"), {"system": part, "optimizer": optimizer}), file)

    found = in_child(lambda: counted([once(number) for number in range(count)]), seconds=3500)
    assert found["refused"] > count / 10, (seed, found)
    tell("checkpoint, bytes changed", count, **found)


def test_mutated_runs_are_read_or_refused(path):
    names, count = ("options.json", "history.jsonl", "predictions.csv", "weights.safetensors", "environment.json"), tries(120)
    found = spoilt(path, [path / name for name in names], lambda: used(path), count)
    assert found["refused"] > count / 5
    tell("run folder, a file changed", count, **found)


CELL = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": ["A = 1\n", "B = 'x'"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "Expecting"),
        ("[]", "expected a JSON object"),
        ('{"cells": 1}', "TypeError"),
        ('{"cells": [{}]}', "metadata"),
        (json.dumps({"cells": [{**CELL, "source": "A = ("}]}), "SyntaxError"),
        (json.dumps({"cells": [{**CELL, "source": "A = " + "(" * 10**4}]}), "SyntaxError|MemoryError|RecursionError"),
        (json.dumps({"cells": [{**CELL, "source": "A\0"}]}), "null bytes"),
        ("[" * 10**5, "nested too deeply"),
    ],
)
def test_a_notebook_that_is_none_is_told(tmp_path, text, said):
    (tmp_path / "a.ipynb").write_text(text)
    with pytest.raises(ValueError, match=said) as error:
        parameters_of(tmp_path / "a.ipynb")
    assert "a.ipynb" in str(error.value)
    odd = {**CELL, "source": "A = 1\nB = {[]: 1}\nC = open('x')\nD: int = 3"}
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": [odd]}))
    assert parameters_of(tmp_path / "a.ipynb") == {"A": 1, "B": None, "C": None, "D": 3}
