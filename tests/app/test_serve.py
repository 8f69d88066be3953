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
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode

import psutil
import pytest
from endurance import tell
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


def asked(address: str, data: bytes | None = None, **headers: str) -> tuple[int, str, str]:
    """Status, text and last address of an answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, data, headers), timeout=60) as answer:
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


FILES = ("/voila/static/voila.js", "/voila/templates/lab/static/voila.js")
NOTHING = (
    *("/voila/files/tiny.ipynb", "/voila/files/..%2f..%2f..%2fetc/passwd", "/voila/static/..%2f..%2fetc/passwd", "/..%2f..%2fetc/passwd"),
    *("/api", "/api/kernels", "/api/kernelspecs", "/api/contents", "/api/terminals", "/terminals/1", "/api/shutdown", "/metrics"),
    *("/files/tiny.ipynb", "/nbextensions/a.js", "/voila/render/..%2f..%2fetc/passwd", "/voila/api/contents", "/static/style.css"),
)


def test_every_door_is_shut_to_others(page):
    """Routes, files, other names of this machine, pages of others, their frames and their sockets."""
    token = {"Authorization": f"token {page.token}"}
    for path in (*FILES, *NOTHING):
        _, text, last = asked(page.root + path)
        assert "/login" in last, path
        assert "passwd:" not in text
        assert "root:" not in text
    tried = len(FILES) + len(NOTHING)
    for path in FILES:
        assert asked(page.root + path, **token)[0] == 200
        assert asked(page.root + path, **token, Host="elsewhere.example")[0] == 403
        assert asked(page.root + path, Authorization="token wrong")[2].startswith(f"{page.root}/login")
    for path in NOTHING:
        assert asked(page.root + path, **token)[0] in (403, 404), path
    for path in ("/", *FILES, *NOTHING[:3]):
        found = headers(page.root + path, **token)
        assert found["X-Content-Type-Options"] == "nosniff"
        assert found["X-Frame-Options"] == "DENY"
        assert found["Referrer-Policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in found["Content-Security-Policy"]
    cookie = headers(page.address)["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    kernel = page.kernels()[0].cmdline()[-1].partition("kernel-")[2].removesuffix(".json")
    shown = {"Cookie": cookie.partition(";")[0]}
    assert asked(page.root + FILES[0], **shown)[0] == 200
    assert asked(f"{page.root}/voila/api/shutdown/{kernel}", data=b"{}", **shown, Origin="http://elsewhere.example")[0] in (403, 404)
    assert asked(f"{page.root}/api/kernels", data=b"{}", **shown, Origin="http://elsewhere.example")[0] in (403, 404, 405)
    opened = {(who, origin): socketed(page, kernel, header, origin) for who, header, origin in visitors(page, shown)}
    assert opened == {key: key in {("cookie", page.root), ("token", page.root)} for key in opened}
    assert "Which points" not in formed(page, "wrong")
    assert "Which points" in formed(page, page.token)
    for process in (page.process, *page.kernels()):
        assert page.token not in " ".join(process.cmdline())
    assert [path for path in page.scratch.rglob("*") if path.is_file() and page.token.encode() in path.read_bytes()] == []
    assert page.token not in page.errors()
    tell("server: doors tried", tried * 2 + len(opened), opened=0)


def visitors(page: Served, shown: dict[str, str]) -> list[tuple[str, dict[str, str], str]]:
    """Who knocks at a kernel's socket, with what, and from a page of whom."""
    elsewhere = "http://elsewhere.example"
    return [
        ("nobody", {}, page.root),
        ("wrong", {"Authorization": "token wrong"}, page.root),
        ("cookie", shown, elsewhere),
        ("cookie", shown, "null"),
        ("cookie", shown, page.root),
        ("token", {"Authorization": f"token {page.token}"}, page.root),
    ]


def socketed(page: Served, kernel: str, header: dict[str, str], origin: str) -> bool:
    """Whether the kernel's socket opens."""
    import websocket

    address = f"{page.root.replace('http', 'ws', 1)}/api/kernels/{kernel}/channels"
    try:
        websocket.create_connection(address, header=header, origin=origin, timeout=30).close()
    except websocket.WebSocketBadStatusException:
        return False
    return True


def headers(address: str, **given: str) -> dict[str, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=given), timeout=60) as answer:
            return dict(answer.headers)
    except urllib.error.HTTPError as error:
        return dict(error.headers)


def formed(page: Served, password: str) -> str:
    """What answers the form on the page for visitors; it repeats a cookie of the page, so that no other page can send it."""
    jar = CookieJar()
    visitor = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    visitor.open(f"{page.root}/login", timeout=60).read()
    form = {"password": password, "_xsrf": next(c.value or "" for c in jar if c.name == "_xsrf")}
    try:
        return visitor.open(f"{page.root}/login", urlencode(form).encode(), timeout=60).read().decode()
    except urllib.error.HTTPError as error:
        return str(error.code)


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
    from msaviz.terminal import say

    seen = {}
    monkeypatch.setattr(module, "serve", lambda path, **options: seen.update(options, run=path))
    shell = typer.Typer()
    shell.command()(app)
    assert CliRunner().invoke(shell, [str(run), "--port", "8899", "--token", "secret", "--no-browser"]).exit_code == 0
    assert seen.pop("tell") is say
    assert seen == {"run": run, "port": 8899, "token": "secret", "open_browser": False}
