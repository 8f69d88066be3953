"""Live pages in processes of their own, for tests: a run in Voilà, a notebook in JupyterLab, and their figures in a browser."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil
from browser_tools import Visit
from places import ROOT

LONG = 20
"""Seconds until a slow machine is a broken one."""
HARMLESS = (
    # Voilà is built with an older JupyterLab than the widgets beside it; module federation says so and takes what there is
    "of shared singleton module @jupyterlab/",
    "No satisfying version (",
    # Chromium draws without a graphics card here, and says that reading back from it is slow
    "GPU stall due to ReadPixels",
)
IDLE = '#jp-main-statusbar:has-text("| Idle")'
"""JupyterLab's own sign that the kernel is there; its toolbar says so too early."""
CODE = "import sys; from msaviz.app.serve import serve; serve(sys.argv[1], notebook=sys.argv[2], open_browser=False)"


class Served:
    """A server about `run` that shows `notebook`; ends with the block at the latest."""

    def __init__(self, run: Path, notebook: Path, folder: Path):
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        self._errors = folder / "errors.txt"
        surroundings = {**os.environ, "TMPDIR": str(self.scratch), "PYTHONUNBUFFERED": "1"}
        with self._errors.open("w") as errors:
            command = [sys.executable, "-c", CODE, str(run), str(notebook)]
            self._child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=surroundings, cwd=ROOT)
        assert self._child.stdout is not None
        self.address = self._child.stdout.readline().strip()
        assert self.address, self.errors()
        parts = urlsplit(self.address)
        self.root = f"{parts.scheme}://{parts.netloc}"
        (self.token,) = parse_qs(parts.query)["token"]
        self.process = psutil.Process(self._child.pid)

    def kernels(self) -> list[psutil.Process]:
        return [child for child in self.process.children(recursive=True) if "ipykernel_launcher" in child.cmdline()]

    def errors(self) -> str:
        return self._errors.read_text()

    def stop(self) -> int:
        """As Ctrl-C does; the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self._child.wait(LONG)

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGINT)
            try:
                self._child.wait(LONG)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait(LONG)
        if self._child.stdout is not None:
            self._child.stdout.close()


@contextmanager
def laboratory(notebook: Path) -> Iterator[str]:
    """The address of a notebook in a JupyterLab of its own, whose files lie beside it."""
    folder = notebook.parent
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port = trial.getsockname()[1]
    own = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
    surroundings = {**os.environ, "IPYTHONDIR": str(folder / "ipython"), **{f"JUPYTER_{name}": str(folder / name) for name in own}}
    surroundings |= {f"JUPYTERLAB_{name}_DIR": str(folder / name) for name in ("SETTINGS", "WORKSPACES")}
    options = {"ServerApp.root_dir": folder, "ServerApp.ip": "127.0.0.1", "ServerApp.port": port, "IdentityProvider.token": "secret"}
    options |= {
        "LabApp.extension_manager": "readonly",
        "LabApp.expose_app_in_browser": True,
        "LabApp.news_url": "",
        "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
    }
    given = [f"--{name}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", *given]
    setting = folder / "SETTINGS" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    setting.parent.mkdir(parents=True)
    setting.write_text('{"fetchNews": "false"}')  # it would ask whether to fetch news
    log = folder / "log.txt"
    with log.open("w") as told:
        child = subprocess.Popen(command, env=surroundings, stdout=told, stderr=subprocess.STDOUT)
    try:
        for _ in range(LONG * 10):
            if "is running at" in log.read_text():
                break
            assert child.poll() is None, log.read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/lab/tree/{notebook.name}?token=secret&reset"
    finally:
        child.terminate()
        child.wait(LONG)


def run_all(page) -> None:
    """Run All, by the menu of JupyterLab."""
    page.wait_for_selector("#jupyterlab-splash", state="detached")
    page.click('.lm-MenuBar-itemLabel:text-is("Run")')
    page.click("[data-command='runmenu:run-all']")


class Figures:
    """The live figures of a page, once there are `count`: what can be done with them, and what is seen."""

    def __init__(self, visit: Visit, count: int):
        self.visit, self.page = visit, visit.page
        self.until("document.querySelectorAll('.msaviz-figure[data-state=drawn]').length === given", count, seconds=60)

    def until(self, condition: str, given: object = None, seconds: float = 40) -> None:
        self.page.wait_for_function(f"given => {condition}", arg=given, timeout=1000 * seconds)

    def move(self, figure: int, start: tuple[float, float], end: tuple[float, float] | None = None, *, clicks: int = 1) -> None:
        """Press at `start`, in units of the axes; draw a box to `end`, or click."""
        self.page.locator(".msaviz-figure").nth(figure).scroll_into_view_if_needed()
        corner = """([n, x, y]) => { const div = document.querySelectorAll('.msaviz-figure .js-plotly-plot')[n], layout = div._fullLayout,
            box = div.getBoundingClientRect();
            return [box.x + layout.xaxis._offset + layout.xaxis.d2p(x), box.y + layout.yaxis._offset + layout.yaxis.d2p(y)]; }"""
        place = self.page.evaluate(corner, [figure, *start])
        if end is None:
            self.page.mouse.move(*place)
            self.page.mouse.click(*place, click_count=clicks, delay=20)
            return
        self.page.mouse.move(*place)
        self.page.mouse.down()
        self.page.mouse.move(*self.page.evaluate(corner, [figure, *end]), steps=4)
        self.page.mouse.up()

    def asked_nobody(self) -> None:
        """No request left this machine, and the browser complained of nothing."""
        asked = [url for url in self.visit.asked if not url.startswith(("data:", "blob:"))]
        assert len(asked) > 10
        assert {urlsplit(url).hostname for url in asked} == {"127.0.0.1"}
        assert [said for said in self.visit.complaints if not any(known in said for known in HARMLESS)] == []
