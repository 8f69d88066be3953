"""What can be asked from the shell?

Every command is a thin call of a Python function of the same name. Nothing heavy is imported before a command needs it.
A mistake of the user ends as one line on stderr and exit code 2; `MSAVIZ_TRACE=1` shows where it came from.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import traceback
import warnings
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from msaviz.app import cli_app, cli_compare, cli_notebook, cli_search
from msaviz.app.arguments import experiment_of
from msaviz.app.ending import BY_SIGNAL, terminable
from msaviz.terminal import say

app = typer.Typer(
    help="See inside multimodal sentiment models: train, evaluate under missing modalities, look inside, report.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data = typer.Typer(help="Look at a data source, or convert it.")
app.add_typer(data, name="data")

SOURCE_HELP = "`synthetic`, `synthetic:key=value,…`, or the path of a file or folder."
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]


class Kind(StrEnum):
    """What `msaviz list` can list."""

    models = "models"
    datasets = "datasets"
    objectives = "objectives"
    tables = "tables"
    views = "views"


class Reported(StrEnum):
    """By what a checkpoint of a report was chosen."""

    validation = "validation"
    published = "published"


class Selection(StrEnum):
    """By what a checkpoint was chosen."""

    validation = "validation"
    published = "published"
    oracle = "oracle"


@app.command("list")
def list_(kind: Annotated[Kind, typer.Argument(help="What to list.")], as_json: Json = False) -> None:
    """List what there is to choose from, plug-ins included, each with the question that its file answers."""
    from msaviz import catalog

    names = getattr(catalog, kind.name.upper())
    found = {name: names.describe(name) for name in names}
    if as_json:
        say(json.dumps(found, indent=1, ensure_ascii=False))
        return
    width = max(map(len, found), default=0)
    for name, question in found.items():
        say(f"{name:<{width}}  {question}".rstrip())


@app.command()
def options(
    model: Annotated[str, typer.Argument(help="A name that `msaviz list models` shows.")],
    as_json: Json = False,
) -> None:
    """Show every path that `train --set` accepts, with its default."""
    from msaviz.options import paths

    found = paths(experiment_of(model, "synthetic", 0, []))
    if as_json:
        say(json.dumps(found, indent=1, ensure_ascii=False))
        return
    width = max(map(len, found))
    for path, value in found.items():
        say(f"{path:<{width}}  {json.dumps(value, ensure_ascii=False)}")


@data.command("inspect")
def inspect_(source: Annotated[str, typer.Argument(help=SOURCE_HELP)], as_json: Json = False) -> None:
    """Splits, modalities, shapes, lengths, labels, gaps, domains, and the traps found."""
    from msaviz.data.inspect import inspect

    found = inspect(source)
    say(json.dumps(found.to_dict(), indent=1, ensure_ascii=False) if as_json else str(found))


@data.command()
def convert(
    source: Annotated[str, typer.Argument(help=SOURCE_HELP)],
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="Folder of the new container; must not exist.")],
) -> None:
    """Write a source as our own memory-mapped container, which opens at once whatever its size."""
    from tqdm.auto import tqdm

    from msaviz.data.msa import convert as convert_

    with tqdm(unit="B", unit_scale=True, leave=False, disable=None) as bar:

        def tell(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        path = convert_(source, destination, tell)
    say(f"wrote {path}")


@app.command()
def train(
    model: Annotated[str, typer.Argument(help="A name that `msaviz list models` shows.")] = "",
    out: Annotated[Path | None, typer.Option(metavar="RUN", help="Folder of the run.")] = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="SOURCE", help=f"{SOURCE_HELP} Repeated: each is a domain. (default: synthetic)"),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="PATH=VALUE", help="Change an option, e.g. model.experts=8 (repeatable; `msaviz options MODEL` lists them)."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a stopped run left off.")] = False,
    replay: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Train this finished run again and say whether it is equal (exit code 1: it is not); RUN alone."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Train a model on a source and leave a run folder; or repeat a run and compare."""
    if replay is not None:
        if model or source or set_ or seed or resume:
            raise ValueError("--replay takes model, data, seed and options from the run's folder: give it alone, or with --out and --quiet")
        return _replay(replay, out, quiet)
    if not model or out is None:
        raise ValueError("train needs a model and a folder: msaviz train MODEL --out RUN (`msaviz list models` shows the models)")
    from msaviz.data.load import SEPARATOR

    experiment = experiment_of(model, SEPARATOR.join(source or ["synthetic"]), seed, set_ or [])
    from msaviz.training.loop import train as train_

    run = train_(experiment, out, resume=resume, progress=not quiet)
    say(f"{run.path}: done. Next: msaviz report {shlex.quote(str(run.path))} --out report.html")


def _replay(run: Path, out: Path | None, quiet: bool) -> None:
    from msaviz.training.replay import replay as replay_

    found = replay_(run, out, progress=not quiet)
    say(f"{run}: {found}")
    if not found.equal:
        raise typer.Exit(1)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    protocol: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="clean; missing: a range of missing rates; subsets: of the modalities; domains: each beside the unseen ones; modality, "
            "span, structured, noise.",
        ),
    ] = "clean",
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    selection: Annotated[
        Selection, typer.Option(help="Which checkpoint. `published` and `oracle` read the test split: never argue from them.")
    ] = Selection.validation,
    seed: Annotated[int, typer.Option(help="Seed of the evaluation's masks.")] = 0,
    task: Annotated[str, typer.Option(metavar="NAME", help="Which head, e.g. emotion. (default: the main task)")] = "",
    out: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Where the tidy table goes.")] = None,
) -> None:
    """Measure a run beside the constant-predictor floor."""
    from msaviz.app.results import summary
    from msaviz.files import write_text
    from msaviz.training.protocols import evaluate as evaluate_
    from msaviz.training.run import Run

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the same words are in attrs, and printed below the table
        frame = evaluate_(Run.open(run), protocol, split=split, selection=selection.value, seed=seed, task=task)
    if out is not None:
        write_text(out, frame.to_csv(index=False))
    say(summary(frame).to_string(float_format="{:.3f}".format))
    for note in frame.attrs.get("warnings", []):
        say(f"\n! {note}")
    if out is not None:
        say(f"\nwrote {out}")


app.command()(cli_compare.compare)
app.command()(cli_search.search)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs; equal experiments with other seeds are averaged.")],
    out: Annotated[Path, typer.Option(metavar="FILE.html", help="The report: one file that opens without a network.")],
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    selection: Annotated[Reported, typer.Option(help="Which checkpoint was chosen how.")] = Reported.validation,
) -> None:
    """Write what there is to know about some runs into one self-contained HTML file."""
    from msaviz.app.report import report as report_

    path = report_(runs, out, split=split, selection=selection.value, progress=lambda line: say(line, err=True))
    say(f"wrote {path}")


app.command()(cli_notebook.notebook)
app.command()(cli_app.app)


def _joined(arguments: list[str]) -> list[str]:
    """`-p NAME VALUE`, as Papermill takes it, becomes `-p NAME=VALUE`, which every version of typer takes."""
    if arguments[:1] != ["notebook"]:
        return arguments
    found, rest = [], list(arguments)
    while rest:
        head = rest.pop(0)
        found.append(head)
        if head in ("-p", "--parameter") and rest and "=" not in rest[0] and len(rest) > 1:
            found.append(f"{rest.pop(0)}={rest.pop(0)}")
    return found


def _fail(message: str, code: int = 2) -> NoReturn:
    if os.environ.get("MSAVIZ_TRACE"):
        traceback.print_exc()
    say(f"msaviz: {' '.join(message.split())}", err=True)
    raise SystemExit(code)


def _stopped(arguments: list[str], came: list[int]) -> NoReturn:
    again = [*arguments, *(["--resume"] if arguments[:1] == ["train"] and "--resume" not in arguments else [])]
    goes_on = arguments[:1] in (["train"], ["compare"], ["search"])
    hint = f" What was done is kept; go on with: msaviz {shlex.join(again)}" if goes_on else ""
    _fail(f"stopped.{hint}", BY_SIGNAL + (came[0] if came else signal.SIGINT))


def main(arguments: list[str] | None = None) -> None:
    """The console script. Always ends in SystemExit: 0, 2 for a mistake of the user, 130 or 143 when stopped by Ctrl-C or SIGTERM."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    with terminable() as came:
        try:
            code = app(_joined(arguments) or ["--help"], prog_name="msaviz", standalone_mode=False)
        except (KeyboardInterrupt, typer.Abort):
            _stopped(arguments, came)
        except BrokenPipeError:  # `msaviz list models | head`
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
            raise SystemExit(0) from None
        except ModuleNotFoundError as error:
            _fail(f"{error.name} is not installed; the extras are: pip install 'msaviz[notebooks,search,text,app,export,cluster]'")
        except (ValueError, KeyError, OSError, ArithmeticError, MemoryError) as error:
            _fail(str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error) or type(error).__name__)
        except Exception as error:
            message = getattr(error, "format_message", None)  # a usage error of typer, whichever click it carries
            if message is None:
                raise
            _fail(f"{message()} (msaviz --help, or --help after a command, shows what it takes)")
        if code == BY_SIGNAL + signal.SIGINT:  # how newer versions of typer tell of a KeyboardInterrupt
            _stopped(arguments, came)
    raise SystemExit(code if isinstance(code, int) else 0)
