"""Run what README and manual show, and hold the pages against what it prints.

    python tools/pages.py           # say which pages are not up to date, and exit 1 if any is
    python tools/pages.py --write   # and put into them what is printed and drawn

Blocks of ``console`` are run, where a line of dots stands for what is left out in the middle. Tables between marks, and
drawings, come from the functions below. Tables that take long have tools of their own: ``paper_tables.py``,
``bench.py``, ``convergence.py`` and ``faults.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir
from functools import cache
from pathlib import Path

import gpu
from manual.text import docstring
from paper_tables import recipes, with_packages
from typer.testing import CliRunner

from zoo import load_recipe
from zoo.attributes import GIVEN_BY, WORDS
from zoo.cli import app
from zoo.kinds import KINDS, base_of, key_of
from zoo.recipe.fingerprint import FREE

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "tools" / "gpu_h200.jsonl"
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
DRAWN = ("dit_b", "mpdit_b", "ppflow_b_2", "hybrid_b")
"""Recipes whose diagrams are in docs/."""

BLOCKS = {
    "dit": "DiT, SiT",
    "lightning": "LightningDiT",
    "uvit": "U-ViT",
    "dig": "DiG",
    "lit": "LiT",
    "sana": "SANA",
    "dico": "DiCo",
    "dic": "DiC",
    "pyramid": "DiT on a pyramid of sizes",
}
"""What papers call blocks, by the name of the block's part or of its attention, in the order of the table."""

SCHEDULES = {
    "uniform": "one patch",
    "by_depth": "by depth: MPDiT, hourglasses",
    "by_timestep": "by noise level: PPFlow",
    "by_depth_and_timestep": "by both",
}


class PageError(Exception):
    """What a page shows cannot be run."""


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def write_shown_recipes(folder: Path) -> None:
    """Every recipe that a page shows, under the name by which its first line builds it."""
    for page in PAGES:
        for block in blocks(page.read_text(encoding="utf-8"), "yaml"):
            named = re.search(r"--recipe (\S+)", block)
            if named is None:
                raise PageError(f"{page.name}: a recipe there lacks `zoo build --recipe NAME` in its first line")
            (folder / named[1]).write_text(block, encoding="utf-8")


@cache
def printed(*arguments: str, fails: bool = False) -> list[str]:
    """The lines that zoo prints, in the working folder.

    Args:
        arguments: of zoo.
        fails: whether it is to be refused.

    Raises:
        PageError: it fails, or is to fail and does not.
    """
    result = CliRunner().invoke(app, arguments)
    if bool(result.exit_code) != fails:
        but = ", which is shown to fail," if fails else ""
        raise PageError(f"zoo {shlex.join(arguments)}{but} ends with {result.exit_code}: {result.output.strip()}")
    return [line.rstrip() for line in result.output.rstrip().splitlines()]


def run(block: str) -> str:
    """The block with what its command prints now, in the working folder; shortened where it was, an error if it was."""
    command, _, shown = block.partition("\n")
    words = shlex.split(command)
    if words[:2] != ["$", "zoo"]:
        raise PageError(f"{command}: is no command of zoo")
    lines = printed(*words[2:], fails=shown.startswith("error: "))
    if shown.splitlines().count("...") > 1:
        raise PageError(f"{command}: what is left out stands in several places; leave one line of dots")
    if "..." in shown.splitlines():
        first, last = (part.count("\n") for part in re.split(r"^\.\.\.\n", shown, flags=re.MULTILINE))
        lines = [*lines[:first], "...", *lines[len(lines) - last :]]
    return "\n".join([command, *lines, ""])


def may_change() -> Iterator[str]:
    """The rows of what may change when a run goes on."""
    yield "| key | what it changes |"
    yield "| --- | --- |"
    for free in FREE:
        rule = f", only {free.rule}" if free.rule else ""
        yield f"| `{free.key}` | {free.effect}{rule} |"


def families() -> Iterator[str]:
    """The rows of all recipes, zoo's and those of the packages, by their blocks and patch schedules."""
    registry, cells = with_packages(), {}
    for name, path in sorted(recipes().items()):
        if path.parent.name == "tables":
            continue
        backbone = load_recipe(path, registry=registry).backbone
        block = backbone.block[0].part.resolved()
        plain = block["type"] != "dit" or block["attention"]["type"] == "softmax"
        kind = block["type"] if plain else block["attention"]["type"]
        schedule = backbone.patch_schedule.type
        if schedule == "pyramid":
            levels = backbone.patch_schedule.resolved()["levels"]
            kind, schedule = schedule, "by_depth_and_timestep" if levels else "by_timestep"
        of_cell = cells.setdefault((BLOCKS[kind], schedule), {})
        stem, size = (
            re.fullmatch(r"(.*?)_((?:s|m|b|l|xl|h)(?:_.*)?)", name).groups() if "digits" not in name else (name, "")
        )
        of_cell.setdefault(stem, []).append(size)
    yield f"| block | {' | '.join(SCHEDULES.values())} |"
    yield f"| --- |{' --- |' * len(SCHEDULES)}"
    for block in BLOCKS.values():
        row = (cells.get((block, schedule), {}) for schedule in SCHEDULES)
        yield f"| {block} | {' | '.join(', '.join(_called(*each) for each in cell.items()) or '-' for cell in row)} |"


def _called(stem: str, sizes: list[str]) -> str:
    """Names that differ in their sizes, as a shell writes them."""
    if len(sizes) > 1:
        return f"`{stem}_{{{','.join(sizes)}}}`"
    return f"`{stem}_{sizes[0]}`" if sizes[0] else f"`{stem}`"


def kinds() -> Iterator[str]:
    """The rows of all kinds, each with its page."""
    yield "| kind | below | what it is |"
    yield "| --- | --- | --- |"
    for name, kind in KINDS.items():
        key = "" if key_of(name) == name else f".{key_of(name)}"
        where = f"`{kind.section}{key}`" if kind.section else "inside another part"
        said = docstring(base_of(name)).first.replace("``", "`")
        yield f"| [`{name}`](parts/{name}.md) | {where} | {said} |"


def facts() -> Iterator[str]:
    """The rows of what parts may say that they need or give."""
    yield "| word | the fact | given by |"
    yield "| --- | --- | --- |"
    for fact, told in WORDS.items():
        givers = ", ".join(f"`{kind}`" for kind, given in GIVEN_BY.items() if fact in given)
        yield f"| `{fact}` | {told} | {givers or 'the way down to a coarser patch'} |"


def measured() -> Iterator[str]:
    """Rows of what was measured on a GPU."""
    yield from gpu.table([json.loads(line) for line in FIGURES.read_text(encoding="utf-8").splitlines()]).splitlines()


MARKED = {"may change": may_change, "families": families, "kinds": kinds, "facts": facts, "gpu": measured}


def up_to_date(text: str) -> str:
    """A page with what its commands print now, in the working folder."""
    for block in blocks(text, "console"):
        text = text.replace(block, run(block))
    for mark, rows in MARKED.items():
        start, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->\n"
        if start in text:
            if end not in text:
                raise PageError(f"{start.strip()} has no {end.strip()} behind it")
            before, rest = text.split(start)
            _, after = rest.split(end)
            text = before + start + "".join(f"{row}\n" for row in rows()) + end + after
    return text


def drawing(recipe: str) -> str:
    """The diagram of a recipe, as `zoo diagram` writes it in the working folder."""
    printed("diagram", "--recipe", recipe, "--out", f"{recipe}.svg")
    return Path(f"{recipe}.svg").read_text(encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Run the tool; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put into the pages what is printed and drawn")
    write = parser.parse_args(arguments).write
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):  # what the output of commands would depend on
        os.environ.pop(name, None)
    now, failed = {}, []
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        write_shown_recipes(Path(folder))
        for page in PAGES:
            try:
                now[page] = up_to_date(page.read_text(encoding="utf-8"))
            except PageError as error:
                failed.append(f"{page.name}: {error}")
        now |= {ROOT / "docs" / f"{recipe}.svg": drawing(recipe) for recipe in DRAWN}
    old = [page for page, text in now.items() if not page.exists() or page.read_text(encoding="utf-8") != text]
    for page in old:
        print(f"{page.relative_to(ROOT)}: {'written' if write else 'is not what is printed now'}")
        if write:
            page.write_text(now[page], encoding="utf-8")
    for line in failed:
        print(line, file=sys.stderr)
    return int(bool(failed) or (bool(old) and not write))


if __name__ == "__main__":
    sys.exit(main())
