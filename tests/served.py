"""A live page in a process of its own, for tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil
from places import ROOT

LONG = 20
"""Seconds until a slow machine is a broken one."""
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
