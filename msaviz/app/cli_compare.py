"""What can be asked of a comparison from the shell?"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from msaviz.app.arguments import names, pairs
from msaviz.terminal import say


class Compared(StrEnum):
    """By what a checkpoint of a comparison was chosen."""

    validation = "validation"
    oracle = "oracle"


def compare(
    models: Annotated[str, typer.Option(metavar="NAME,...", help="Models, by the names that `msaviz list models` shows.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the runs and tables; what is done there is not trained again.")],
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--data", metavar="SOURCE", help="A source (repeatable): each a dataset of the table, or (lodo, single-source) a domain."
        ),
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            help="A table of results under clean, missing, subsets, ...; or, for unseen domains, lodo (each in turn) or single-source "
            "(learn from one, test on the others).",
        ),
    ] = "clean,missing,subsets",
    objectives: Annotated[
        str, typer.Option(metavar="NAME,...", help="Objectives, by the names that `msaviz list objectives` shows.")
    ] = "erm",
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
        str,
        typer.Option(
            metavar="NAME",
            help="Gains are over this MODEL or MODEL/OBJECTIVE (the first); in unseen domains over this objective of each model (erm).",
        ),
    ] = "",
    reuse: Annotated[
        list[str] | None, typer.Option(metavar="DIR", help="Look here too for runs that are done (repeatable); for a table of results.")
    ] = None,
    domains: Annotated[
        str, typer.Option(metavar="NAME,...", help="Only these domains in turn are unseen (single-source: learnt from); empty: all.")
    ] = "",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Train models, each run once, and make a table of results: under protocols, or in domains that they never saw."""
    from msaviz.training.compare import PROTOCOLS

    kinds = names(protocol)
    asked = {"seeds": seeds, "out": out, "changes": pairs(set_ or []), "workers": workers, "scheduler": scheduler, "progress": not quiet}
    asked |= {"against": against} if against else {}
    if set(kinds) & set(PROTOCOLS):
        if len(kinds) > 1:
            raise ValueError(f"unseen domains ({', '.join(PROTOCOLS)}) are compared by themselves; got the protocols {', '.join(kinds)}")
        if reuse:
            raise ValueError("--reuse is for a table of results; a comparison on unseen domains finds the runs in its own folder")
        more = {"selection": selection.value, "domains": names(domains)}
        found, said, pages = _unseen(names(models), names(objectives), sources or ["synthetic"], kinds[0], **asked, **more)
    else:
        if selection is not Compared.validation or domains:
            raise ValueError("--selection and --domains are for unseen domains (--protocol lodo or single-source)")
        found, said, pages = _table(
            names(models), sources or ["synthetic"], kinds, objectives=names(objectives), reuse=reuse or [], **asked
        )
    say(said)
    say(f"wrote {', '.join(str(out / name) for name in pages)}")
    for name, error in found.failed.items():
        say(f"msaviz: {name}: {error}", err=True)
    if found.failed:
        raise typer.Exit(1)


def _unseen(*asked: Any, **options: Any) -> tuple[Any, str, list[str]]:
    """(what came out, as text, the files) of a comparison on unseen domains."""
    from msaviz.app.comparison import told, write_page
    from msaviz.training.compare import compare as compare_

    found = compare_(*asked, **options)
    pages = write_page(found)
    return found, told(found), ["comparison.csv", "scores.csv", *pages]


def _table(*asked: Any, **options: Any) -> tuple[Any, str, list[str]]:
    """(what came out, as text, the files) of a table of results."""
    from msaviz.app.results_table import told, write
    from msaviz.training.results import results

    found = results(*asked, **options)
    pages = write(found)
    return found, told(found), ["results.csv", *pages]
