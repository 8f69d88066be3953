"""How is a run looked into in a browser, without a notebook: a page that this machine alone serves, to those with its token?

Voilà runs a notebook of ours about the run and shows what it draws, its code hidden. The page asks no other machine for
anything, and a content policy forbids it to. Every visitor gets a kernel of their own, which ends with the page or the server.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import tempfile
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from msaviz.app.kernels import ONE_THREAD
from msaviz.app.notebook import find

if TYPE_CHECKING:
    from msaviz.training.run import Run

HOST = "127.0.0.1"
NOTEBOOK = "09_explore"
TEMPLATE = "msaviz"
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; connect-src 'self' ws://{host}:{port}; "
    "form-action 'self'; base-uri 'self'; frame-ancestors 'none'"
)
"""JupyterLab's scripts compile code while the page loads; nothing may be fetched from elsewhere, nor sent there."""


def serve(
    run: str | Path | Run,
    *,
    port: int = 0,
    token: str | None = None,
    open_browser: bool = True,
    notebook: str = NOTEBOOK,
    tell: Callable[[str], object] = print,
) -> None:
    """Show `run` (a folder or a Run) until Ctrl-C; the address, with its token, goes to `tell` once the page is there.

    Port 0 is any free one. `notebook` is one of ours or a path, with a parameter RUN. Raises ValueError for an unfinished
    run, an unusable port or an empty token, and ModuleNotFoundError without Voilà.
    """
    _installed()
    from msaviz.training.run import Run

    opened = Run.open(run)
    if not opened.done:
        raise ValueError(f"{opened.path} is not finished: go on with `msaviz train` and --resume first")
    if token is not None and not token.strip():
        raise ValueError("an empty token would let everybody in; leave it out for a random one")
    token = token or secrets.token_urlsafe(24)
    port = _free(port)
    with tempfile.TemporaryDirectory(prefix="msaviz-") as name:
        folder = Path(name)
        prepared(find(notebook), opened.path.resolve(), folder / "page")
        with _apart(folder):
            _voila(folder, port, token, open_browser, tell)


def _installed() -> None:
    try:
        import voila  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"the page needs {error.name}: pip install 'msaviz[notebooks,app]'", name=error.name) from None


def _free(port: int) -> int:
    """The port, or any free one for 0; ValueError for one that is taken or none at all."""
    if not 0 <= port <= 65535:
        raise ValueError(f"a port is a number from 0 (any free one) to 65535, not {port}")
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((HOST, port))
        except OSError as error:
            raise ValueError(f"port {port} cannot be used ({error.strerror}); give another, or 0 for any free one") from None
        return trial.getsockname()[1]


def prepared(source: Path, run: Path, folder: Path) -> Path:
    """Write into `folder` a copy of the notebook whose RUN is `run`, as a text however it is spelt; return its path."""
    tree = json.loads(source.read_text(encoding="utf-8"))
    places = [n for n, cell in enumerate(tree["cells"]) if "parameters" in cell["metadata"].get("tags", [])]
    if not places:
        raise ValueError(f"{source.name} has no cell tagged `parameters`")
    told = {
        "cell_type": "code",
        "id": "the-run",
        "metadata": {"tags": ["injected-parameters"]},
        "source": f"RUN = {str(run)!a}",
        "outputs": [],
        "execution_count": None,
    }
    tree["cells"].insert(places[0] + 1, told)
    tree["metadata"]["title"] = "msaviz"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / source.name
    path.write_text(json.dumps(tree), encoding="utf-8")
    return path


@contextmanager
def _apart(folder: Path) -> Iterator[None]:
    """Jupyter's settings and data of this user stay out of it, ours come from `folder`; each kernel has one thread."""
    from msaviz.files import cache_folder

    template = folder / "data" / "voila" / "templates" / TEMPLATE
    template.mkdir(parents=True)
    for name in ("index.html.j2", "conf.json"):
        (template / name).write_text((files("msaviz.app") / "assets" / "voila" / name).read_text(encoding="utf-8"), encoding="utf-8")
    places = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime", "IPYTHONDIR": "ipython"}
    for place in places.values():
        (folder / place).mkdir(mode=0o700, exist_ok=True)
    quiet = folder / "ipython" / "profile_default" / "ipython_kernel_config.json"
    quiet.parent.mkdir()
    quiet.write_text('{"IPKernelApp": {"log_level": 40}}', encoding="utf-8")  # kernels warn of their own sockets, which are local
    ours = {key: str(folder / place) for key, place in places.items()}
    ours |= {**ONE_THREAD, "MSAVIZ_CACHE": str(cache_folder().resolve())}
    before = {key: os.environ.get(key) for key in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for key, value in before.items():
            os.environ.pop(key, None) if value is None else os.environ.update({key: value})


def _voila(folder: Path, port: int, token: str, open_browser: bool, tell: Callable[[str], object]) -> None:
    """Serve the notebook in `folder` until Ctrl-C or SIGTERM; its kernels end with it."""
    from traitlets.config import Config
    from voila.app import Voila

    from msaviz.app.doors import COOKIE, HEADERS, Doorman, closed

    address = f"http://{HOST}:{port}/?token={quote(token, safe='')}"
    (path,), policy = (folder / "page").iterdir(), POLICY.format(host=HOST, port=port)

    class Page(Voila):
        """Tells the address when it can be visited; a browser reads it from a file, since anybody sees its command line."""

        def launch_browser(self) -> None:
            tell(f"{address}\nCtrl-C ends it.")
            if open_browser:
                door = folder / "open.html"
                door.write_text(f'<meta http-equiv="refresh" content="0;url={address}">', encoding="utf-8")
                door.chmod(0o600)
                webbrowser.open(door.as_uri())

        def init_handlers(self) -> list:
            return [closed(rule) for rule in super().init_handlers()]

    settings: dict[str, Any] = {
        "ip": HOST,
        "port": port,
        "port_retries": 0,
        "token": token,
        "open_browser": True,
        "notebook_path": str(path),
        "connection_dir_root": str(folder / "runtime"),
        "config_file_paths": [str(folder / "config")],
        "log_level": 40,
        # a page elsewhere that takes the name of this machine is turned away
        "tornado_settings": {"allow_remote_access": False, "headers": {**HEADERS, "Content-Security-Policy": policy}},
        "identity_provider_class": Doorman,
    }
    chosen = {"template": TEMPLATE, "allow_template_override": "NO", "show_tracebacks": True, "file_allowlist": []}
    app = Page(config=Config({"VoilaConfiguration": chosen, "Doorman": {"cookie_options": COOKIE}}), **settings)
    app.initialize([])
    app.start()
