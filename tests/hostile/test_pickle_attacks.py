"""Does no known attack by pickle run anything, and does every bomb end at once?"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from endurance import tell
from hostile import attacks

SECONDS = 20
"""No bomb takes longer, read in three ways on a busy machine; unguarded, each takes years or gigabytes."""


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """Name of the attack or bomb -> what the process that read it told; and the folder that it ran in."""
    folder, place = tmp_path_factory.mktemp("attacks"), tmp_path_factory.mktemp("here")
    names = {}
    for i, (name, content) in enumerate({**attacks.attacks(), **attacks.bombs()}.items()):
        names[f"{i:05}.pkl"] = name
        (folder / f"{i:05}.pkl").write_bytes(content)
    command = [sys.executable, str(Path(attacks.__file__).with_name("pickle_watch.py")), str(folder)]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=280, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    told = {names[line["file"]]: line for line in map(json.loads, done.stdout.splitlines())}
    assert len(told) == len(names)
    return told, place


def test_nothing_runs_and_everything_is_refused_by_name(watched):
    told, place = watched
    corpus = attacks.attacks()
    assert list(place.iterdir()) == []
    for name in corpus:
        line = told[name]
        assert line["events"] == [], name
        plain, whole, mapped = line["found"]
        assert plain == mapped
        assert line["file"] in whole
        if name in attacks.HARMLESS:
            assert plain == f"read {attacks.HARMLESS[name]!r}" or plain.startswith("read 'cos")
        elif "called with itself" not in name and "(), state" not in name:
            assert plain.startswith("UnsafePickle ") or name in ("gzip", "zip, as torch saves"), (name, plain)
        assert not plain.startswith("read") or name in attacks.HARMLESS or name.startswith("defaultdict, called with itself"), (name, plain)
    tell("known attacks by pickle, read in three ways", 3 * len(corpus), refused=3 * (len(corpus) - 3), harmless=9)


@pytest.mark.parametrize("form", attacks.FORMS)
def test_the_error_says_what_was_asked_for(watched, form):
    for name in attacks.CALLS:
        assert f"it asks for `{name.rsplit('.', 1)[0]}.{name.rsplit('.', 1)[1]}`" in watched[0][f"{name} ({form})"]["found"][0]


def test_names_that_look_like_admitted_ones_are_shown_as_they_are_written(watched):
    for form in ("reduce", "stack", "bare"):
        assert r"`nump\u0443.dtype`" in watched[0][f"numpу/dtype ({form})"]["found"][0]


@pytest.mark.parametrize("name", attacks.bombs())
def test_a_bomb_ends_at_once(watched, name):
    line = watched[0][name]
    assert line["seconds"] < SECONDS
    assert all("Error" in found or "UnsafePickle" in found or "TooLarge" in found for found in line["found"]) or name == "memo of 2**31"
    assert all(line["file"] in found or found == "read []" for found in line["found"])
    assert line["events"] == []
