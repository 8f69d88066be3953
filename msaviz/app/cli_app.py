"""What can be asked of the live page about a run from the shell?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from msaviz.terminal import say


def app(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    port: Annotated[int, typer.Option(metavar="N", help="Port of this machine; 0: any free one.")] = 0,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            envvar="MSAVIZ_TOKEN",
            help="What visitors must know; whoever is on this machine sees it in the list of processes, but not when it stands in the "
            "environment. (default: random)",
        ),
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only tell the address.")] = False,
) -> None:
    """Look into a run in the browser, on a page that this machine alone serves; Ctrl-C ends it."""
    from msaviz.app.serve import serve

    serve(run, port=port, token=token, open_browser=not no_browser, tell=say)
