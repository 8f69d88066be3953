"""The live page: for those with the token, on this machine alone, gone without a trace at Ctrl-C."""

from __future__ import annotations

import ast
import json
import os
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from served import LONG, Served
from typer.testing import CliRunner
from widget_notebook import written

from msaviz.app import serve as module
from msaviz.app.serve import prepared, serve


@pytest.fixture
def run(tmp_path) -> Path:
    """What looks like a finished run, in a folder whose name is hostile."""
    folder = tmp_path / """a "quoted" 'name'; print(1)\n<script> {{ 1 }} é"""
    folder.mkdir()
    (folder / "options.json").write_text("{}")
    (folder / "done").touch()
    return folder


@pytest.fixture
def page(run, tmp_path) -> Iterator[Served]:
    with Served(run, written(tmp_path / "tiny.ipynb", shown=("0",)), tmp_path) as found:
        yield found


def asked(address: str, **headers: str) -> tuple[int, str, str]:
    """Status, text and last address of an answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=60) as answer:
            return answer.status, answer.read().decode(), answer.url
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.url


def test_only_the_token_opens_it_and_ctrl_c_ends_it(page, run):
    assert page.address.startswith("http://127.0.0.1:")
    assert len(page.token) >= 32
    for path in ("/", "/?token=wrong", "/voila/render/page/tiny.ipynb"):
        status, text, last = asked(page.root + path)
        assert status in (401, 403, 404) or "/login" in last
        assert "Which points" not in text
        assert "options.json" not in text
        assert run.name not in text
    assert page.kernels() == [], "nobody without the token starts a kernel"
    assert asked(f"{page.root}/voila/files/tiny.ipynb")[0] == 403
    assert asked(f"{page.root}/api/kernels/00000000-0000-0000-0000-000000000000")[0] == 403
    assert asked(page.address, Host="elsewhere.example")[0] == 403

    status, text, _ = asked(page.address)
    assert status == 200
    assert "Which points" in text
    assert "import ipywidgets" not in text, "code is hidden"
    assert "https://" not in text.partition("jupyter-config-data")[0], "nothing comes from another machine"
    assert "the run is" in text
    kernels = page.kernels()
    assert len(kernels) == 1
    assert all(kernels[0].environ()[name] == "1" for name in module.ONE_THREAD)
    listening = [c.laddr.ip for p in (page.process, *kernels) for c in p.net_connections() if c.status == psutil.CONN_LISTEN]
    assert set(listening) == {"127.0.0.1"}

    assert page.stop() == 0
    assert psutil.wait_procs(kernels, timeout=LONG)[1] == []
    assert list(page.scratch.iterdir()) == [], "nothing is left"
    assert "Traceback" not in page.errors()
    assert page.token not in page.errors().replace(page.address.removeprefix(page.root), "")


def test_a_path_is_a_text_however_it_is_spelt(run, tmp_path):
    tree = json.loads(prepared(written(tmp_path / "tiny.ipynb"), run, tmp_path / "page").read_text())
    (cell,) = [cell for cell in tree["cells"] if cell["metadata"].get("tags") == ["injected-parameters"]]
    (node,) = ast.parse(cell["source"]).body
    assert isinstance(node, ast.Assign)
    assert ast.literal_eval(node.value) == str(run)
    place = tree["cells"].index(cell)
    assert tree["cells"][place - 1]["metadata"]["tags"] == ["parameters"]


def test_mistakes_are_told_before_anything_starts(run, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_voila", lambda *_: pytest.fail("it started"))
    notebook = str(written(tmp_path / "tiny.ipynb"))
    with pytest.raises(FileNotFoundError, match="is not a run"):
        serve(tmp_path, notebook=notebook)
    with pytest.raises(ValueError, match="empty token"):
        serve(run, token=" ", notebook=notebook)
    with pytest.raises(ValueError, match="from 0"):
        serve(run, port=70000, notebook=notebook)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ValueError, match=r"cannot be used .*in use.*; give another"):
            serve(run, port=taken.getsockname()[1], notebook=notebook)
    with pytest.raises(ValueError, match="no notebook is called"):
        serve(run, notebook="nonsense")
    (run / "done").unlink()
    with pytest.raises(ValueError, match="not finished"):
        serve(run, notebook=notebook)


def test_the_environment_is_as_before_afterwards(run, tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(module, "_voila", lambda folder, *_: seen.update(os.environ, folder=str(folder)))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", "/mine")
    monkeypatch.delenv("IPYTHONDIR", raising=False)
    serve(run, notebook=str(written(tmp_path / "tiny.ipynb")))
    assert seen["JUPYTER_CONFIG_DIR"].startswith(seen["folder"])
    assert seen["IPYTHONDIR"].startswith(seen["folder"])
    assert os.environ["JUPYTER_CONFIG_DIR"] == "/mine"
    assert "IPYTHONDIR" not in os.environ
    assert not Path(seen["folder"]).exists()


def test_without_voila_it_says_what_to_install(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "voila", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'msaviz\[notebooks,app\]'"):
        serve(run)


def test_the_shell_passes_everything_on(run, monkeypatch):
    import typer

    from msaviz.app.cli_app import app

    seen = {}
    monkeypatch.setattr(module, "serve", lambda path, **options: seen.update(options, run=path))
    shell = typer.Typer()
    shell.command()(app)
    assert CliRunner().invoke(shell, [str(run), "--port", "8899", "--token", "secret", "--no-browser"]).exit_code == 0
    assert seen.pop("tell") is typer.echo
    assert seen == {"run": run, "port": 8899, "token": "secret", "open_browser": False}
