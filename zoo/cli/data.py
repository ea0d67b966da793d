"""``zoo data``: what there is to train on."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Literal

import typer

from zoo.cli.common import Debug, PartsFiles, installed_registry, tell
from zoo.errors import DataError, MissingSplitError, ZooError, printable
from zoo.parts_file import options_of
from zoo.recipe import read_tree, recorded_in
from zoo.shell import command

if TYPE_CHECKING:
    from zoo.backbone import Backbone
    from zoo.data import Source
    from zoo.data.check import Findings, Work
    from zoo.data.left_out import LeftOut
    from zoo.recipe import Recipe

MOST_CLASSES = 20
"""Classes whose counts are printed without --verbose."""

data = typer.Typer(no_args_is_help=True, help="Look at what there is to train on.")


@data.callback()
def _group() -> None:
    """Have even a single command of this group go by its name."""


@data.command(epilog="Example: zoo data check --recipe digits_hybrid")
def check(
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", "-r", metavar="R", help="A path, or a name that `zoo recipes` lists."),
    ] = None,
    run: Annotated[Path | None, typer.Option("--run", metavar="D", help="The folder of a run, in its place.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a value, such as data.dataset.folder=F. Repeatable."),
    ] = None,
    leave_out: Annotated[
        Path | None,
        typer.Option(
            "--leave-out", metavar="FILE", dir_okay=False, help="Write the ids of what is wrong, a line each."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", dir_okay=False, help="Write all that is wrong, a line each.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=0, metavar="N", help="Processes that read. (default: data.workers)")
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="List every file that is no sample, and the count of every class.")
    ] = False,
    parts: PartsFiles = None,
    debug: Debug = False,
) -> None:
    """Look at every sample of a recipe's dataset, held-out ones too; the exit code is 3 if something is wrong.

    Finds what cannot be read, NaN and infinite values, labels without a class, and files whose bytes are not those that
    were recorded when they were written; with --run, what has changed since the run's newest checkpoint. Says which
    files are no samples, and how many samples each class has.

    What --leave-out FILE writes, data.leave_out takes: zoo train --set data.leave_out=FILE, also with --resume.
    """
    if (recipe is None) == (run is None):
        raise ZooError("zoo data check: give --recipe R, or --run D; `zoo recipes` lists recipes")
    if recipe is not None:
        tree = read_tree(recipe, overrides or ())
    else:
        assert run is not None
        recorded = recorded_in(run, overrides or ())

    from zoo.assembly import build, check_recorded, check_tree
    from zoo.data.left_out import ids_in
    from zoo.runs.run_folder import RunFolder
    from zoo.weights import refuse_existing

    for file in filter(None, (leave_out, out)):
        refuse_existing(file)
    if leave_out is not None and out is not None and leave_out.resolve() == out.resolve():
        raise ZooError(f"zoo data check: --leave-out and --out are both {out}; give each a file of its own")
    registry = installed_registry(parts)
    checked = (
        check_recorded(recorded, registry, ("data",), other_parts="told")
        if recipe is None
        else check_tree(tree, registry)
    )
    backbone = None if recipe is None else build(checked, device="meta")
    wrong, named = False, 0
    with _lines(out) as problems, _lines(leave_out) as ids:
        ids.writelines(
            f"{printable(name)}\n" for name in ids_in(checked.data.leave_out)
        )  # what is written takes its place
        for split in ("train", "held_out"):
            found = _check_split(checked, split, workers, problems, ids, backbone=backbone, verbose=verbose)
            wrong |= found is None or bool(found.problems)
            named += found.samples if found else 0
        if run is not None:
            wrong |= _check_since(checked, run, problems)
    if not wrong:
        print("all is well")
        return
    if named and leave_out is None:
        tell("to train without these samples: --leave-out FILE writes a list, which data.leave_out takes")
    elif named:
        of = ("--recipe", recipe) if run is None else ("--resume", "--run-dir", run)
        given = [each for each in overrides or () if not each.startswith("data.leave_out=")]
        words = [word for each in (*given, f"data.leave_out={leave_out}") for word in ("--set", each)]
        words += options_of(parts or ()) or ([] if run is None else RunFolder(run).parts_options)
        tell(f"to train without these samples: {command('zoo', 'train', *of, *words)}")
    raise typer.Exit(DataError.exit_code)


def _check_split(
    recipe: Recipe,
    split: Literal["train", "held_out"],
    workers: int | None,
    problems: IO[str],
    ids: IO[str],
    *,
    backbone: Backbone | None,
    verbose: bool,
) -> Findings | None:
    """Look at a split, and say what there is to say; None where it cannot be opened."""
    from zoo.assembly import create_part
    from zoo.data.check import Findings, check
    from zoo.data.left_out import open_kept
    from zoo.train.matching import misfit

    try:
        source, left_out = open_kept(create_part(recipe, "dataset"), split, recipe.data.leave_out)
    except MissingSplitError as error:
        print(f"{split}: {error}")
        return Findings()
    except DataError as error:
        print(f"{split}: cannot be opened: {error}")
        problems.write(f"{error}\n")
        return None
    why = misfit(recipe, backbone, source, left_out)
    if why is not None:
        print(f"{split}: {why}")
        problems.write(f"{why}\n")
        return None
    found = Findings()
    number = recipe.data.workers if workers is None else workers
    works = check(source, left_out, recipe.backbone.num_classes, number, recipe.train.timeout)
    for work in _tracked(source, works, split):
        found.add(work)
        problems.writelines(f"{problem.message}\n" for problem in work.problems)
        ids.writelines(f"{problem.id}\n" for problem in work.problems if problem.id)
    _print_findings(split, source, left_out, found, verbose=verbose)
    return found


def _check_since(recipe: Recipe, run: Path, problems: IO[str]) -> bool:
    """Say what has changed since a run's newest checkpoint; whether the run would not go on with it."""
    from zoo.assembly import create_part
    from zoo.data.left_out import ids_in
    from zoo.runs.run_folder import RunFolder
    from zoo.train.same_data import changes_since_newest

    try:
        source: Source = create_part(recipe, "dataset").open("train")
        left_out = ids_in(recipe.data.leave_out)
        for line in changes_since_newest(RunFolder(run), source.fingerprint(), left_out):
            _say(f"warning: {line}")
    except DataError as error:
        print(error)
        problems.write(f"{error}\n")
        return True
    return False


def _tracked(source: Source, works: Iterator[Work], what: str) -> Iterator[Work]:
    """The parts of a check, with a bar on a terminal, and lines in a log."""
    from rich.progress import TextColumn, TimeRemainingColumn

    from zoo.cli.bars import bar
    from zoo.data.check import amount
    from zoo.pace import Pace

    pace, done = Pace(amount(source)), 0
    with bar(TimeRemainingColumn(), TextColumn(what)) as shown:
        task = shown.add_task(what, total=pace.total)
        for work in works:
            yield work
            shown.advance(task, work.done)
            done += work.done
            if shown.disable and pace.is_due():
                tell(pace.line(what, done))


def _print_findings(split: str, source: Source, left_out: LeftOut, found: Findings, *, verbose: bool) -> None:
    _say(f"{split}: {len(source)} samples{_classes(source.classes, found, verbose=verbose)}")
    for line in (*(f"note: {note}" for note in source.notes), *left_out.notes()):
        _say(f"  {line}")
    for name in source.ignored() if verbose else ():
        _say(f"    {name}")
    for kind, count in found.problems.items():
        _say(f"  {count} {kind}:")
        for message in found.first[kind]:
            _say(f"    {message}")
        if count > len(found.first[kind]):
            _say(f"    and {count - len(found.first[kind])} more")


def _say(line: str) -> None:
    """Print what names of strangers may stand in; those of a plug-in's dataset are as it gives them."""
    print(printable(line))


def _classes(names: Sequence[str], found: Findings, *, verbose: bool) -> str:
    """How many samples each class has, by name where there are names."""
    if not found.labels:
        return ""
    counts = {label: found.labels[label] for label in range(len(names))} | dict(sorted(found.labels.items()))
    if len(counts) > MOST_CLASSES and not verbose:
        return f" of {len(counts)} classes with {min(counts.values())} to {max(counts.values())} each"
    called = [names[label] if label < len(names) else str(label) for label in counts]
    called = [repr(name) if "," in name else name for name in called]  # or it would look like two
    each = (f"{name} {count}" for name, count in zip(called, counts.values(), strict=True))
    return f" of {len(counts)} classes: {', '.join(each)}"


@contextmanager
def _lines(path: Path | None) -> Iterator[IO[str]]:
    """A file to write lines to, which is kept under a path, if any, when all are written."""
    from zoo.files import write_whole

    with (
        tempfile.TemporaryFile("w+b") as file,
        open(file.fileno(), "w", encoding="utf-8", errors="backslashreplace", closefd=False) as text,
    ):
        yield text
        text.flush()
        if path is not None:
            file.seek(0)
            write_whole(path, lambda whole: shutil.copyfileobj(file, whole), ZooError)
            tell(f"wrote {path}")
