"""What can be asked of a comparison from the shell?"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from msaviz.app.arguments import names, pairs


class Compared(StrEnum):
    """By what a checkpoint of a comparison was chosen."""

    validation = "validation"
    oracle = "oracle"


def compare(
    models: Annotated[str, typer.Option(metavar="NAME,...", help="Models, by the names that `msaviz list models` shows.")],
    objectives: Annotated[str, typer.Option(metavar="NAME,...", help="Objectives, by the names that `msaviz list objectives` shows.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the runs and tables; what is done there is not trained again.")],
    sources: Annotated[
        list[str] | None, typer.Option("--data", metavar="SOURCE", help="A source; several are joined, each a domain (repeatable).")
    ] = None,
    protocol: Annotated[
        str, typer.Option(metavar="NAME", help="lodo: each domain unseen in turn; single-source: learn from one, test on the others.")
    ] = "lodo",
    seeds: Annotated[int, typer.Option(metavar="N", help="Runs of each kind, with the seeds 0 to N-1.")] = 3,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="[NAME:]PATH=VALUE",
            help="Change an option of all runs, or of one model's or objective's: midg:model.experts=8 (repeatable).",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(metavar="N", help="Processes that train at the same time.")] = 1,
    scheduler: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Train on this Dask cluster, e.g. tcp://host:8786.")] = None,
    selection: Annotated[
        Compared, typer.Option(help="Which checkpoint. `oracle` reads the unseen domains: never argue from it.")
    ] = Compared.validation,
    against: Annotated[
        str, typer.Option(metavar="NAME", help="Gains are over this objective of the same model, or over one MODEL/OBJECTIVE.")
    ] = "erm",
    domains: Annotated[
        str, typer.Option(metavar="NAME,...", help="Only these domains in turn are unseen (single-source: learnt from); empty: all.")
    ] = "",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Train models with objectives, and compare them in domains that they never saw."""
    from msaviz.app.comparison import told, write_page
    from msaviz.training.compare import compare as compare_

    found = compare_(
        names(models),
        names(objectives),
        sources or ["synthetic"],
        protocol,
        seeds=seeds,
        out=out,
        changes=pairs(set_ or []),
        workers=workers,
        scheduler=scheduler,
        selection=selection.value,
        against=against,
        domains=names(domains),
        progress=not quiet,
    )
    page = write_page(found)
    typer.echo(told(found))
    typer.echo(f"wrote {', '.join(str(out / name) for name in ('comparison.csv', 'scores.csv', *page))}")
    for name, error in found.failed.items():
        typer.echo(f"msaviz: {name}: {error}", err=True)
    if found.failed:
        raise typer.Exit(1)
