"""What can be asked of the notebooks from the shell?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from msaviz.app.arguments import pairs
from msaviz.terminal import say


def notebook(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the executed notebooks.")],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Notebooks of ours (e.g. 01_quickstart) or paths; several run at once.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every notebook of ours.")] = False,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "-p",
            "--parameter",
            metavar="NAME VALUE",
            help="Set a parameter of the notebooks that have it (repeatable; NAME=VALUE works too).",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Notebooks that run at the same time, each in one thread. (default: one a core)")
    ] = None,
    timeout: Annotated[int, typer.Option(metavar="S", help="Seconds that one cell may take.")] = 3600,
    html: Annotated[bool, typer.Option("--html", help="Write each as one HTML file too, which opens without a network.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Run notebooks with your parameters and keep the executed copies, or pages made of them."""
    from msaviz.app.notebook import notebooks, run_notebook
    from msaviz.app.notebook_page import write_page
    from msaviz.app.notebooks import run_notebooks, summary

    names, given = names or [], pairs(parameter or [])
    if all_ == bool(names):
        raise ValueError(f"name notebooks, or give --all instead; these exist: {', '.join(notebooks())}")
    if len(names) == 1:
        copy = run_notebook(names[0], out, given, timeout=timeout)
        typer.echo(f"wrote {write_page(copy, copy.with_suffix('.html')) if html else copy}")
        return
    start = time.perf_counter()
    outcomes = run_notebooks(names or list(notebooks()), out, given, workers=workers, timeout=timeout, html=html, progress=not quiet)
    failed = [one for one in outcomes if one.error]
    for one in failed:
        say(f"msaviz: {one.error}", err=True)
    say(summary(outcomes, time.perf_counter() - start))
    if failed:
        raise typer.Exit(2)
