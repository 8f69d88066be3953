"""What can be asked of an evolution from the shell?"""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from msaviz.app.arguments import experiment_of, names
from msaviz.terminal import say

WRITTEN = ("search.html", "results.csv", "trials.csv", "genes.csv", "search.json", "journal.log", "runs")


class Sampler(StrEnum):
    """Who proposes the next trial."""

    nsga2 = "nsga2"
    random = "random"
    tpe = "tpe"


def search(
    model: Annotated[str, typer.Argument(help="A name that `msaviz list models` shows.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the search; the same command again goes on there.")],
    sources: Annotated[
        list[str] | None, typer.Option("--data", metavar="SOURCE", help="A source; several are joined, each a domain. (default: synthetic)")
    ] = None,
    trials: Annotated[int, typer.Option(metavar="N", help="Trainings of each arm; copies of a known genome cost nothing.")] = 40,
    sampler: Annotated[Sampler, typer.Option(help="nsga2: evolution; tpe: Bayesian; random: a control.")] = Sampler.nsga2,
    objectives: Annotated[
        str, typer.Option(metavar="NAME,...", help="What is made small: mae (over all sets of modalities), params, mae_complete, seconds.")
    ] = "mae,params",
    controls: Annotated[
        bool, typer.Option("--controls/--no-controls", help="Also random search, and the default genome with other seeds, at equal cost.")
    ] = True,
    genes: Annotated[str, typer.Option(metavar="PATH,...", help="Evolve the searchable options under these paths.")] = "model,train.lr",
    population: Annotated[int, typer.Option(metavar="N", help="Trials of a generation.")] = 10,
    epochs: Annotated[int, typer.Option(metavar="N", help="Epochs of a trial; finalists are trained for train.epochs.")] = 6,
    finalists: Annotated[int, typer.Option(metavar="N", help="Best trials of each arm that are trained from scratch.")] = 3,
    seeds: Annotated[int, typer.Option(metavar="N", help="Runs of each finalist, with other seeds; the best on average wins.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    workers: Annotated[int, typer.Option(metavar="N", help="Processes that train at the same time.")] = 1,
    storage: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Where several machines share trials: grpc://host:port or a database's URL, without its password "
            "(MSAVIZ_STORAGE_PASSWORD); empty: in DIR.",
        ),
    ] = "",
    inherit: Annotated[
        bool, typer.Option("--inherit/--no-inherit", help="A child begins with its parent's weights where shapes allow.")
    ] = True,
    prune: Annotated[bool, typer.Option("--prune/--no-prune", help="Stop hopeless trials early.")] = True,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change an option of the default genome (repeatable).")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Evolve a model's searchable options, beside controls of equal cost, and train the winners from scratch."""
    from msaviz.app.evolution import told, write_page
    from msaviz.data.load import SEPARATOR
    from msaviz.search.evolve import search as search_

    start = time.perf_counter()
    found = search_(
        experiment_of(model, SEPARATOR.join(sources or ["synthetic"]), seed, set_ or []),
        out,
        trials=trials,
        sampler=sampler.value,
        objectives=names(objectives),
        controls=controls,
        genes=names(genes),
        population=population,
        epochs=epochs,
        seeds=seeds,
        finalists=finalists,
        workers=workers,
        storage=storage,
        inherit=inherit,
        prune=prune,
        progress=not quiet,
    )
    write_page(found)
    say(told(found, time.perf_counter() - start))
    say(f"wrote into {out}: {', '.join(name for name in WRITTEN if (out / name).exists())}")
