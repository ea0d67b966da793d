"""``zoo`` in a process of its own, forked from the server of ``ranks``: 0.1 s, where Python and torch take 2 s."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess

from jaxtyping import config

from tests.distributed.ranks import SERVER, TIMEOUT
from tests.once import draw_no_curve
from zoo.cli import main


def run_zoo(
    *words: str, folder: Path, path: Sequence[Path] = (), variables: Mapping[str, str] = {}
) -> CompletedProcess[str]:
    """What ``zoo WORDS`` in a folder comes to, with ``path`` before the places where Python looks for modules."""
    with tempfile.TemporaryDirectory() as told:
        out, err = Path(told, "out"), Path(told, "err")
        environment = {**os.environ, "COLUMNS": "140", **variables}  # wide help, whatever the terminal
        process = SERVER.Process(target=_run, args=(words, folder, path, environment, out, err))
        process.start()
        process.join(TIMEOUT)
        assert process.exitcode is not None, f"zoo {' '.join(words)} has not ended"
        return CompletedProcess(words, process.exitcode, out.read_text("utf-8"), err.read_text("utf-8"))


def _run(
    words: Sequence[str], folder: Path, path: Sequence[Path], environment: Mapping[str, str], out: Path, err: Path
) -> None:
    config.update("jaxtyping_disable", True)  # as for users; in a trace each check of a size would be an operator
    draw_no_curve()
    os.environ.clear()
    os.environ.update(environment)
    multiprocessing.set_start_method(None, force=True)  # data workers are started as for users
    os.chdir(folder)
    sys.argv[:] = ["zoo", *words]
    sys.path[:0] = map(str, path)
    importlib.invalidate_caches()
    with out.open("w", encoding="utf-8") as sys.stdout, err.open("w", encoding="utf-8") as sys.stderr:
        code = _exit_code()
    os._exit(code)


def _exit_code() -> int:
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0
