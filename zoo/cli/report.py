"""``zoo report``: a page about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.common import Debug, PartsFiles, installed_registry, tell


def report(
    run: Annotated[Path, typer.Option("--run", metavar="D", help="The folder of a run.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", dir_okay=False, help="Where to. (default: report.html in the folder)"),
    ] = None,
    parts: PartsFiles = None,
    debug: Debug = False,
) -> None:
    """Write one HTML page about a run: what was trained, what it cost, its curves, its samples and their figures.

    The page holds all it shows, and needs no network. A run may still be going on, or not have been judged.
    """
    from zoo.errors import RunError
    from zoo.files import write_whole
    from zoo.report.page import run_page
    from zoo.report.pareto import check_suffix
    from zoo.runs.run_folder import load_run
    from zoo.weights import refuse_existing

    folder = load_run(run)
    if out is not None:
        check_suffix(out, (".html",))
        refuse_existing(out)
    page = out or folder.path / "report.html"  # which is made of what stays there, and may be made again
    text = run_page(folder, installed_registry(parts))
    write_whole(page, text, RunError)
    tell(f"wrote {page}")
