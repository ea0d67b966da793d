"""``zoo check``: whether the parts of a package keep the laws of their kinds."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.progress import TextColumn, TimeElapsedColumn
from rich.table import Table

from zoo.cli.bars import bar
from zoo.cli.common import Debug, PartsFiles, console, tell, try_folder
from zoo.errors import OutputError, PluginError, listed
from zoo.part_entries import PartEntry
from zoo.registry import Registry
from zoo.shell import command

if TYPE_CHECKING:  # torch
    from zoo.testing.conclude import Conclusion, Outcome, State

NAME = "zoo-check"

MOST_NAMED = 5
"""Laws, in one line; a sixth that would stand alone behind them is named as well."""


def check(
    package: Annotated[
        str | None, typer.Argument(metavar="[PACKAGE]", help="An installed package with parts.", show_default=False)
    ] = None,
    parts: PartsFiles = None,
    examples: Annotated[
        int | None, typer.Option("--examples", min=1, help="How many cases of a part are drawn. (default: 8)")
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", file_okay=False, help="Where the report and the badge are written.")
    ] = Path(),
    debug: Debug = False,
) -> None:
    """Check that the parts of a package, or of files, keep the laws of their kinds.

    Writes what came of every law to zoo-check.json, and a badge for a README, zoo-check.svg. The exit code is 0 if all
    laws are kept, and 2 if one is broken or none could be tried. Needs what `pip install 'diffusion-zoo\\[testing]'`
    installs.
    """
    try:
        from zoo.testing.check import EXAMPLES
        from zoo.testing.conclude import Conclusion
    except ModuleNotFoundError as error:
        if "diffusion-zoo[testing]" not in str(error):
            raise
        raise PluginError(str(error)) from None
    from zoo.files import write_whole

    entries = _entries(package, parts or [])
    try_folder(out, f"--out {out}")
    loading = _load()
    outcomes = _outcomes(entries, package, examples or EXAMPLES)
    conclusion = Conclusion(list(dict.fromkeys(str(entry.plugin) for entry in entries)), outcomes, loading)
    _print(conclusion)
    write_whole(out / f"{NAME}.json", f"{json.dumps(conclusion.report(), indent=2)}\n", OutputError)
    write_whole(out / f"{NAME}.svg", conclusion.badge(), OutputError)
    tell(f"wrote {out / NAME}.json and {NAME}.svg")
    if examples_left := [f"{entry.kind} {entry.name}" for entry in entries if entry.is_example]:
        tell(
            f"note: the docstring of {listed(examples_left)} begins with 'Example:', as zoo new-plugin wrote it; before"
            " you publish, say there what yours is, and its source"
        )
    if not conclusion.is_sound and not conclusion.counts["broken"]:
        name = entries[0].cls.__name__
        raise PluginError(
            f"nothing could be checked: say what to try the part with, in Python: check_part({name}, options={{...}})"
        )
    if not conclusion.is_sound:
        raise typer.Exit(PluginError.exit_code)


def _entries(package: str | None, files: Sequence[Path]) -> list[PartEntry]:
    from zoo.testing.conformance import parts_of_package

    if package is None and not files:
        raise PluginError("say which package to check, such as `zoo check my-package`, or a file: --parts my_parts.py")
    if package is not None and package.endswith(".py"):
        what = "is a file, not a package that is installed" if Path(package).exists() else "there is no such file"
        raise PluginError(f"{package}: {what}; give a file by {command('--parts', package)}")
    found = [] if package is None else list(parts_of_package(package))
    if files:
        found += [entry for entry in Registry().with_parts(files).entries() if entry.plugin.is_file]
    if not found:
        raise PluginError("there are no parts to check: those of the files are of packages")
    return found


def _load() -> float:
    """Seconds that PyTorch's compiler takes to load, which are no part's."""
    from zoo.testing.compile_laws import load_compiler

    start = time.perf_counter()
    load_compiler()
    return time.perf_counter() - start


def _outcomes(entries: Sequence[PartEntry], package: str | None, examples: int) -> list[Outcome]:
    """Of every law and part, with a bar where there is a terminal."""
    from zoo.testing.conclude import outcome
    from zoo.testing.conformance import checks_of

    checks, found = list(checks_of(entries, examples)), []
    with bar(TimeElapsedColumn(), TextColumn("{task.description}")) as shown:
        task = shown.add_task("", total=len(checks))
        for each in checks:
            shown.update(task, description=escape(each.name))
            in_pytest = f"pytest --zoo-plugin {package} -k {each.name} --tb=long"
            found.append(outcome(each, each.call if each.part.entry.plugin.is_file else in_pytest))
            shown.advance(task)
    return found


def _print(conclusion: Conclusion) -> None:
    heads = ("kind", "part", "laws kept", "broken", "not required", "not run", "seconds")
    table = Table(*heads, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for (kind, part), outcomes in conclusion.by_part():
        states = Counter(each.state for each in outcomes)
        seconds = sum(each.seconds for each in outcomes)
        cells = (_laws(outcomes, "broken"), _laws(outcomes, "not required"), str(states["not run"] or "-"))
        table.add_row(kind, escape(part), str(states["kept"]), *cells, f"{seconds:.1f}")
    screen = console()
    screen.print(table)
    for message in _messages(conclusion.outcomes):
        screen.print(f"\n{message}", markup=False, soft_wrap=True)
    screen.print()
    for why, count in Counter(each.message for each in conclusion.outcomes if each.state == "not run").items():
        screen.print(f"not run {count} time{'s' * (count > 1)}: {why}", markup=False, soft_wrap=True)
    screen.print(f"{conclusion.loading:.1f} s besides, in which PyTorch loaded its compiler")
    screen.print(conclusion.words())


def _laws(outcomes: Sequence[Outcome], state: State) -> str:
    """The names of those that came to a state, but for what follows from others."""
    named = ", ".join(each.law for each in outcomes if each.state == state and not each.follows)
    followed = sum(each.state == state and bool(each.follows) for each in outcomes)
    return ", and ".join(filter(None, [named, f"{followed} that follow" if followed else ""])) or "-"


def _messages(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Of all broken laws, one for each reason; and then, for information, of those that a part need not keep.

    Where a part fails at one line under several, cannot be drawn for any, or breaks some by what it draws alone, or
    likely by mixing the samples of a batch.
    """
    alike: dict[tuple[str, ...], list[Outcome]] = {}
    followed: dict[tuple[str, str, str, bool], list[str]] = {}
    for each in outcomes:
        if each.follows:
            followed.setdefault((each.kind, each.part, each.follows, each.likely), []).append(each.law)
        elif each.state in ("broken", "not required"):
            failure = [line for line in each.message.splitlines() if line.startswith("    at ")]
            alike.setdefault((each.kind, each.part, *(failure or [each.message])), []).append(each)
    groups = [sorted(group, key=_is_free) for group in alike.values()]
    for first, *others in sorted(groups, key=lambda group: _is_free(group[0])):
        also = f"\n  the same under {_named([each.law for each in others])}" if others else ""
        for each in (first, *others):
            if more := followed.get((each.kind, each.part, each.law, False)):
                also += f"\n  for that reason alone, too: {_named(more)}"
            if more := followed.get((each.kind, each.part, each.law, True)):
                also += f"\n  likely for that reason, too: {_named(more)}; mend it first, and check again"
        yield f"{'for information (not required): ' if _is_free(first) else ''}{first.message}{also}"


def _is_free(outcome: Outcome) -> bool:
    """Whether it is of a law that the part need not keep."""
    return outcome.state == "not required"


def _named(laws: Sequence[str]) -> str:
    """All of a few, and the first of many."""
    told, rest = (laws, 0) if len(laws) <= MOST_NAMED + 1 else (laws[:MOST_NAMED], len(laws) - MOST_NAMED)
    return ", ".join(told) + (f" and {rest} more" if rest else "")
