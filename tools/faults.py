"""Do harm to runs and judge what becomes of them: crashes, signals, stopped processes, full disks, lost folders.

    python tools/faults.py                         # the whole campaign, about 85 minutes on two cores
    python tools/faults.py --list                  # what there is, and how long it takes
    python tools/faults.py --only crash --only kill --rounds 3
    python tools/faults.py --write                 # and put its lines into the table of docs/faults.md

The law of all cases: the promised exit code, one line that says what is wrong, no process left behind, and after
--resume the tensors of the last checkpoint are, bit by bit, those of a run that was never stopped. Exit code 1 where a
case breaks it. Full disks and read-only folders need root and ``unshare -m``, and are skipped elsewhere.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from faults_cases import CASES
from faults_judged import Ground, Outcome
from rich.console import Console

DOCS = Path(__file__).parents[1] / "docs" / "faults.md"
BEGIN, END = "<!-- campaign -->", "<!-- /campaign -->"
HEAD = ("| case | harm | law held | messages |", "| --- | --- | --- | --- |")


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and tell by the exit code whether every law held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=CASES, help="a case; can be given several times")
    parser.add_argument("--list", action="store_true", help="list the cases")
    parser.add_argument("--rounds", type=int, default=20, help="of signals, each, and of kill -9 (default: 20)")
    parser.add_argument(
        "--soak", type=float, default=30, metavar="MINUTES", help="of the soak, 4 or more (default: 30)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all that is chosen at random (default: 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what came of the cases")
    parser.add_argument("--write", action="store_true", help=f"put the lines of these cases into {DOCS.name}")
    options = parser.parse_args(argv)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    if options.list:
        for name, case in CASES.items():
            console.print(f"{name}: {case.what} (about {case.minutes:g} min)")
        return 0
    found: dict[str, Outcome] = {}
    folder = Path(tempfile.mkdtemp(prefix="zoo-faults-"))
    ground = Ground(folder, options.rounds, options.seed)
    for name in options.only or CASES:
        since = time.monotonic()
        do = CASES[name].do
        try:
            found[name] = (partial(do, minutes=options.soak) if name == "soak" else do)(ground)
        except Exception as error:  # of the tool, or a run that broke in a way that nobody thought of
            found[name] = Outcome(problems=[f"{type(error).__name__}: {error}"])
        console.print(f"{name}: {verdict(found[name])}, {time.monotonic() - since:.0f} s")
        for problem in found[name].problems:
            console.print(f"  {problem}")
        if options.write:
            DOCS.write_text(written(DOCS.read_text(encoding="utf-8"), rows(found)), encoding="utf-8")
    failed = any(outcome.problems for outcome in found.values())
    if failed:
        console.print(f"the runs are kept in {folder}")
    else:
        shutil.rmtree(folder)
    print(table(rows(found)))
    if options.json:
        options.json.write_text(json.dumps({name: asdict(each) for name, each in found.items()}, indent=1) + "\n")
    return int(failed)


def verdict(outcome: Outcome) -> str:
    """``20 of 20``, or why not."""
    if outcome.skipped:
        return f"skipped: {outcome.skipped}"
    return f"{outcome.held} of {outcome.tried}" + (" (broken)" if outcome.problems else "")


def rows(found: Mapping[str, Outcome]) -> dict[str, str]:
    """Lines of the docs' table by case: what was done, how often the law held, and what users were told."""
    lines = {}
    for name, outcome in found.items():
        told = "<br>".join(f"`{_cell(message)}`" for message in outcome.told)
        lines[name] = f"| {name} | {CASES[name].what} | {verdict(outcome)} | {told} |"
    return lines


def table(lines: Mapping[str, str]) -> str:
    """The lines of cases, in their order, with a head."""
    return "\n".join([*HEAD, *(lines[name] for name in CASES if name in lines)]) + "\n"


def written(page: str, lines: Mapping[str, str]) -> str:
    """A page in whose table these cases have other lines; cases that were not tried now keep theirs."""
    before, rest = page.split(BEGIN)
    kept, after = rest.split(END)
    former = {line.split("|")[1].strip(): line for line in kept.splitlines() if line.startswith("|")}
    return f"{before}{BEGIN}\n{table({**former, **lines})}{END}{after}"


def _cell(message: str) -> str:
    return message.replace("|", "\\|").replace("`", "'")


if __name__ == "__main__":
    sys.exit(main())
