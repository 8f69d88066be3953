"""Does anything leave the machine, or what belongs to a person get into what is kept: secrets of the environment, a home, a name?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from endurance import tell
from places import ROOT
from tiny_runs import SMALL, trained

from msaviz.search.storage import PASSWORD, open_storage, without_secrets
from msaviz.training.run import RECORDED, environment

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "canary-aws-5d1f",
    "HF_TOKEN": "hf_canary5d1f",
    "OPENAI_API_KEY": "canary-key-5d1f",
    PASSWORD: "canary-password-5d1f",
    "USER": "canaryuser5d1f",
    "LOGNAME": "canaryuser5d1f",
}
HOME = "canaryhome5d1f"
WATCH = '''
import os, sys

def watch(event, given, place=os.environ["WATCHED"]):
    """Notes every address that is asked for; those of this machine, and sockets that are files, are marked as its own."""
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        address = given[1] if event in ("socket.connect", "socket.sendto") else given[0]
        host = address[0] if isinstance(address, tuple) else address if event.startswith("socket.get") else ""
        host = host.decode() if isinstance(host, bytes) else str(host or "")
        own = host in ("", "localhost", "127.0.0.1", "::1", "0.0.0.0")
        with open(place, "a") as file:
            file.write(f"{'own' if own else 'OTHER'} {event} {host}\\n")

sys.addaudithook(watch)
'''
"""Every process of Python runs this first, kernels and workers too."""
SIZE = [word for path, value in SMALL.items() for word in ("--set", f"model.{path}={value}")]
TRAINED = ("--data", "synthetic:rows=200", "--quiet", "--set", "train.epochs=1", "--set", "train.validation_rates=[0.0]")
BRIEF = (
    ("data", "convert", "synthetic:rows=200", "data.msa"),
    ("train", "derl", "--out", "run", *TRAINED, *SIZE),
    ("evaluate", "run", "--out", "scores.csv"),
)
LONG = (
    ("search", "derl", "--out", "search", *TRAINED, "--trials", "1", "--population", "2", "--epochs", "1", "--seeds", "1", "--no-controls"),
    ("report", "run", "--out", "report.html"),
    ("compare", "--models", "early_fusion", "--out", "compared", *TRAINED, "--seeds", "1", "--protocol", "clean"),
    ("notebook", "01_quickstart", "--out", "notebooks", "-p", "EPOCHS=1", "-p", "DATA=synthetic:rows=200"),
    ("notebook", "failing.ipynb", "--out", "notebooks"),
)
CODE = "import json, sys\nfrom msaviz.app.cli import main\nfor words in json.loads(sys.argv[1]):\n"
CODE += "    try: main(words)\n    except SystemExit as end: print('ended', words[0], end.code)"


def ran(folder: Path, commands: tuple[tuple[str, ...], ...]) -> list[str]:
    """Every address that was asked for while the commands ran to their ends."""
    home, work = folder / HOME, folder / "work"
    home.mkdir()
    work.mkdir()
    (folder / "sitecustomize.py").write_text(WATCH)
    (folder / "watched.txt").touch()
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": "1 / 0", "outputs": [], "execution_count": None}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {"cells": [cell], "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    (work / "failing.ipynb").write_text(json.dumps(notebook))
    kept = {name: os.environ[name] for name in ("PATH", "OMP_NUM_THREADS", "LANG", "SSL_CERT_FILE") if name in os.environ}
    paths = os.pathsep.join([str(folder), str(ROOT)])
    ours = {"HOME": str(home), "WATCHED": str(folder / "watched.txt"), "PYTHONPATH": paths, **SECRETS}
    command = [sys.executable, "-c", CODE, json.dumps(commands)]
    done = subprocess.run(command, cwd=work, env={**kept, **ours}, capture_output=True, text=True, timeout=600, check=False)
    ends = [line for line in done.stdout.splitlines() if line.startswith("ended ")]
    expected = [f"ended {words[0]} {2 if 'failing.ipynb' in words else 0}" for words in commands]
    assert ends == expected, done.stderr
    return (folder / "watched.txt").read_text().splitlines()


def found(folder: Path) -> dict[str, list[str]]:
    """File -> what it holds of a person, of all that was kept."""
    told = [*SECRETS.values(), HOME]
    kept = [path for place in ("work", f"{HOME}/.cache/msaviz") for path in (folder / place).rglob("*") if path.is_file()]
    assert len(kept) > 10
    read = {str(path.relative_to(folder)): path.read_bytes() for path in kept}
    return {path: here for path, text in read.items() if (here := [word for word in told if word.encode() in text])}


@pytest.mark.parametrize("commands", [BRIEF, pytest.param((*BRIEF, *LONG), marks=pytest.mark.slow)], ids=["brief", "all"])
def test_nothing_leaves_and_nothing_personal_is_kept(tmp_path, commands):
    asked = ran(tmp_path, commands)
    others = [line for line in asked if not line.startswith("own ")]
    tell("commands: addresses asked for", len(asked), others=len(others))
    tell("commands: files kept that hold a secret, a home or a name", len(list((tmp_path / "work").rglob("*"))), found=len(found(tmp_path)))
    assert others == []
    assert found(tmp_path) == {}


def test_the_watch_sees_who_is_asked(tmp_path):
    """The trap works."""
    (tmp_path / "sitecustomize.py").write_text(WATCH)
    code = "import socket\ntry: socket.create_connection(('192.0.2.1', 9), timeout=.01)\nexcept OSError: pass"
    surroundings = {**os.environ, "PYTHONPATH": str(tmp_path), "WATCHED": str(tmp_path / "watched.txt")}
    subprocess.run([sys.executable, "-c", code], env=surroundings, check=True)
    assert "OTHER socket.connect 192.0.2.1" in (tmp_path / "watched.txt").read_text()


@pytest.mark.slow
def test_a_text_model_is_fetched_only_where_that_is_allowed(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(WATCH)
    (tmp_path / "watched.txt").touch()
    code = "from msaviz.nn.text import load_transformer\nload_transformer('canary/never-there')"
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    surroundings |= {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "WATCHED": str(tmp_path / "watched.txt"), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=surroundings, capture_output=True, text=True, check=False)
    assert "allow_download=True" in done.stderr.splitlines()[-1]
    assert "OTHER" not in (tmp_path / "watched.txt").read_text()


def test_the_environment_that_is_kept_is_a_closed_list(tmp_path):
    assert set(environment()) == {"python", "system", "machine", "threads", "cuda", "packages", "processes"}
    assert set(environment()["packages"]) == set(RECORDED)
    kept = json.loads((trained(tmp_path, "run", model="early_fusion") / "environment.json").read_text())
    assert kept == json.loads(json.dumps(environment()))


@pytest.mark.parametrize("url", ["postgresql://user:canary@host/db", "mysql://user@host/db?password=canary", "mysql://h/db?passwd=canary"])
def test_a_password_in_a_storage_is_refused_and_not_told(url, tmp_path):
    with pytest.raises(ValueError, match=PASSWORD) as refused:
        without_secrets(url)
    assert "canary" not in str(refused.value)


def test_a_password_comes_from_the_environment_and_is_not_told(monkeypatch, tmp_path):
    import optuna.storages

    seen = []
    monkeypatch.setattr(optuna.storages, "get_storage", seen.append)
    for url in ("postgresql://user@host/db", "sqlite:///trials.db", "postgresql://host/db"):
        assert without_secrets(url) == url
        open_storage(url, tmp_path)
    monkeypatch.setenv(PASSWORD, "canary:@/")
    open_storage("postgresql://user@host/db", tmp_path)
    open_storage("sqlite:///trials.db", tmp_path)
    plain = ["postgresql://user@host/db", "sqlite:///trials.db", "postgresql://host/db"]
    assert seen == [*plain, "postgresql://user:canary%3A%40%2F@host/db", "sqlite:///trials.db"]
    monkeypatch.undo()
    monkeypatch.setenv(PASSWORD, "canary")
    with pytest.raises(ValueError, match="u@127") as refused:
        open_storage("postgresql://u@127.0.0.1:1/db", tmp_path)
    assert "canary" not in str(refused.value)
