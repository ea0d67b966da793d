"""The tool that does harm to runs: its law is broken by what it must catch."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tool() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools"))
        yield import_module("faults")


@pytest.fixture(scope="module")
def runs(tool: ModuleType) -> ModuleType:
    return sys.modules["faults_runs"]


@pytest.fixture(scope="module")
def cases(tool: ModuleType) -> ModuleType:
    return sys.modules["faults_cases"]


@pytest.mark.parametrize(
    ("code", "err", "left", "broken"),
    [
        (75, "stopping after this step\nstopped: saved\n", (), ""),
        (3, "stopped: saved\n", (), "exit code 3 in place of 75"),
        (None, "stopped: saved\n", (), "exit code None in place of 75"),
        (75, "Traceback (most recent call last)\nstopped: saved\n", (), "a traceback"),
        (75, "", (), "0 lines of error in place of one"),
        (75, "error: a\nstopped: b\n", (), "2 lines of error in place of one"),
        (75, "stopped: saved\n", (7,), "processes were left behind: (7,)"),
    ],
)
def test_an_end_that_breaks_the_law(
    runs: ModuleType, code: int | None, err: str, left: tuple[int, ...], broken: str
) -> None:
    found = runs.Ended(code, err, left).problems(75)
    assert len(found) == bool(broken)
    assert all(each.startswith(broken) for each in found)


def test_other_tensors_break_the_law(runs: ModuleType) -> None:
    whole = {"model.safetensors": "a", "ema.safetensors": "b"}
    assert runs.differences(whole, dict(whole)) == []
    assert len(runs.differences({**whole, "model.safetensors": "c"}, whole)) == 1
    assert len(runs.differences({}, whole)) == 2


def test_hashes_are_of_what_is_on_the_disk(runs: ModuleType, tmp_path: Path) -> None:
    """And not what a manifest says, which a fault may have left behind."""
    step = tmp_path / "checkpoints" / "step_00000003"
    step.mkdir(parents=True)
    (step / "model.safetensors").write_bytes(b"bits")
    (step / "manifest.json").write_text(json.dumps({"files": {"model.safetensors": {}, "state.json": {}}}))
    before = runs.newest(tmp_path)
    assert (before[0], list(before[1])) == (3, ["model.safetensors"])
    (step / "model.safetensors").write_bytes(b"bots")
    assert runs.newest(tmp_path) != before


def test_every_write_is_a_point(runs: ModuleType, tmp_path: Path) -> None:
    """A child counts its own writes, and dies at the one that is asked for."""

    def child(number: int) -> int:
        pid = os.fork()
        if pid == 0:
            runs.AtWrite(tmp_path / "run", number, tmp_path / "log")()
            (tmp_path / "run").mkdir()
            with (tmp_path / "run" / "file").open("w") as file:
                os.fsync(file.fileno())
            (tmp_path / "run" / "file").rename(tmp_path / "run" / "other")
            (tmp_path / "elsewhere").write_text("no point")
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert child(-1) == 0
    assert [line.split()[0] for line in (tmp_path / "log").read_text().splitlines()] == [
        "mkdir", "open", "fsync", "rename",
    ]  # fmt: skip
    (tmp_path / "run" / "other").unlink()
    (tmp_path / "run").rmdir()
    assert child(2) == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["file"]


def test_what_grows_breaks_the_law_of_the_soak(cases: ModuleType) -> None:
    flat = [cases.Usage(100.0 + index % 3, 8, 20) for index in range(40)]
    assert list(cases.grown(flat)) == []
    leaks = [cases.Usage(100.0 + index, 8, 20 + index // 20) for index in range(40)]
    assert [each.split()[0] for each in cases.grown(leaks)] == ["memory", "files"]
    assert len(list(cases.grown(flat[:3]))) == 1


def test_messages_are_told_without_what_differs(cases: ModuleType) -> None:
    told = (
        "stopped: /tmp/x/run-signals-3: asked to stop, and saved after step 12 of 40; zoo train --run-dir /tmp/x/run-3"
    )
    assert cases.plain(told) == "stopped: RUN: asked to stop, and saved after step N of 40; zoo train --run-dir RUN"


def test_the_table_stands_between_its_marks_and_keeps_what_was_not_tried_now(
    tool: ModuleType, cases: ModuleType
) -> None:
    outcome = cases.Outcome(told={"error: a|b": None})
    outcome.add([])
    outcome.add(["broken"])
    page = tool.written("before\n<!-- campaign -->\nold\n<!-- /campaign -->\nafter\n", tool.rows({"pipe": outcome}))
    assert page.startswith("before\n<!-- campaign -->\n| case |")
    assert page.endswith("<!-- /campaign -->\nafter\n")
    assert "| 1 of 2 (broken) | `error: a\\|b` |\n" in page
    pipe = page.splitlines()[-3]
    later = tool.written(page, tool.rows({"read-only": cases.Outcome(skipped="needs root")}))
    assert later.count("| case |") == 1
    assert [line for line in later.splitlines() if line == pipe or "| skipped: needs root |" in line][1] == pipe
    again = tool.written(later, tool.rows({"pipe": cases.Outcome(told={}, tried=2, held=2)}))
    assert pipe not in again
    assert "| 2 of 2 |" in again
    assert tool.BEGIN in tool.DOCS.read_text(encoding="utf-8")
