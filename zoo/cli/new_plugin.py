"""``zoo new-plugin``: a package of parts, to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.common import Debug, tell
from zoo.cli.kinds_option import kinds_asked
from zoo.errors import printable
from zoo.kinds import KINDS
from zoo.shell import command


def new_plugin(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Of the distribution, such as zoo-mine.", show_default=False)
    ],
    kind: Annotated[
        list[str],
        typer.Option(
            "--kind",
            metavar="KIND",
            help=f"A part of this kind, or of several: block,mlp; or all. There are: {', '.join(KINDS)}.",
            show_default=False,
        ),
    ],
    part: Annotated[
        str | None,
        typer.Option("--part", metavar="NAME", help="What recipes call the parts. (default: NAME without zoo-)"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="A folder that is not there yet. (default: NAME)")
    ] = None,
    debug: Debug = False,
) -> None:
    """Write a package with a small part of each kind, a recipe that uses them, and tests that pass as it is.

    Then put your own in the place of each.
    """
    from zoo.scaffold import Names, write_package

    kinds = kinds_asked(kind)
    names = Names.of(name, part)
    names.refuse_taken(kinds)
    for note in names.shared_with(kinds):
        tell(f"note: {note}")
    folder = Path(name) if out is None else out
    count = write_package(folder, names, kinds)
    print(
        printable(
            f"wrote {folder}: {count} files, with {len(kinds)} part{'s' * (len(kinds) > 1)} {names.part!r}; next:"
        )
    )
    for words in (
        ("cd", folder),
        ("pip", "install", "-e", ".[test]"),
        ("zoo", "plugins"),
        ("pytest",),
        ("zoo", "check", names.distribution),
        ("zoo", "build", "--recipe", names.recipe, "--flops"),
        ("zoo", "train", "--recipe", names.recipe),
    ):
        print(" ", command(*words))
    print("then put your own parts in their place: in each module, pyproject.toml, the recipe and README.md's table")
