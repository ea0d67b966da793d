"""What training can do without does not end it: lines, pictures, room for old checkpoints, a terminal."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.distributed.ranks import alone, run_ranks
from tests.train.six_steps import STEPS, run, steps_in
from tests.train.small import Said
from zoo import files
from zoo.callbacks import Step, tensorboard
from zoo.distributed.distributed import Distributed
from zoo.errors import RunError
from zoo.runs import checkpoint as checkpoints
from zoo.runs.metrics_file import read_metrics
from zoo.runs.run_folder import RunFolder
from zoo.train import records
from zoo.train.run import Silent
from zoo.train.trainer import Trainer


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """Lets no file of a name be written, or so many times."""
    plain_append, plain_new = files.append_line, files.write_new

    def fill(name: str, times: int) -> None:
        left = iter(range(times))

        def check(path: Path) -> None:
            if re.fullmatch(name, path.name) and next(left, None) is not None:
                raise OSError(errno.ENOSPC, "No space left on device")

        def append(path: Path, text: str) -> None:
            try:
                check(path)
            except OSError:
                plain_append(path, text[:5])  # as far as there was room
                raise
            plain_append(path, text)

        def new(path: Path, content: Any, **options: Any) -> None:
            check(path)
            plain_new(path, content, **options)

        monkeypatch.setattr(records, "append_line", append)
        monkeypatch.setattr(checkpoints, "write_new", new)
        monkeypatch.setattr(files, "write_new", new)

    return fill


def test_lines_of_the_metrics_that_cannot_be_written_are_written_later(tmp_path: Path, full_disk: Any) -> None:
    said = Said()
    full_disk("metrics.jsonl", 3)
    assert alone(run, tmp_path, said) == STEPS
    assert [line["step"] for line in read_metrics(RunFolder(tmp_path).metrics)] == [1, 2, 3, 4, 5, 6]
    assert said.warnings == [
        "warning: metrics.jsonl: not written, and the run goes on without: No space left on device"
    ]


def test_a_run_ends_well_without_metrics_and_pictures(tmp_path: Path, full_disk: Any) -> None:
    said = Said()
    full_disk("metrics.jsonl|loss.png", 1000)
    assert alone(run, tmp_path, said, "train.callbacks=[{type: pictures, every: 2}]") == STEPS
    assert [re.match(r"warning: ([\w.]+): not written", line)[1] for line in said.warnings] == [  # type: ignore[index]
        "metrics.jsonl", "loss.png",
    ]  # fmt: skip
    assert len(list((tmp_path / "samples").glob("*.png"))) == 3


def test_tensorboard_that_fails_does_not_end_a_run_and_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []

    class Writer:
        """Cannot write the second and third step."""

        def __init__(self, folder: str, **options: Any) -> None:
            steps.append(-options["purge_step"])

        def add_scalar(self, name: str, value: float, step: int) -> None:
            if name == "loss":
                steps.append(step)
                if step in (2, 3):
                    raise OSError(errno.EIO, "Input/output error")

        def flush(self) -> None:
            pass

        def close(self) -> None:
            steps.append(0)

    monkeypatch.setattr(tensorboard, "_writer_class", lambda: Writer)
    said = Said()
    assert alone(run, tmp_path, said, "train.callbacks=[tensorboard]") == STEPS
    assert steps == [-1, 1, 2, 0, -2, 3, 0, -2, 4, 5, 6, 0]  # closed each time, too
    assert said.warnings == [
        "warning: callback tensorboard: Input/output error; the run goes on",
        "warning: callback tensorboard has failed 2 times",
    ]


def test_a_checkpoint_that_the_disk_has_no_room_for_is_told_with_what_is_kept(tmp_path: Path, full_disk: Any) -> None:
    alone(run, tmp_path, Said(), "train.steps=2")
    full_disk("ema.safetensors", 1)
    with pytest.raises(RunError) as caught:
        alone(run, tmp_path, Said(), "train.checkpoint_every=2")
    folder = tmp_path / "checkpoints"
    (last,) = {steps_in(tmp_path)[-1]} & {5, 6}  # when the thread was known to have failed, and the disk had room again
    assert str(caught.value) == (
        f"{folder / 'step_00000004' / 'ema.safetensors'}: the checkpoint cannot be written: No space left on device;"
        f" older ones are whole; the last checkpoint is {folder / f'step_0000000{last}'}; mend it, and go on with:"
        f" zoo train --resume --run-dir {tmp_path}"
    )
    assert caught.value.exit_code == 3
    assert alone(run, tmp_path, Said(), "train.checkpoint_every=2") == STEPS


def test_old_checkpoints_that_cannot_be_removed_do_not_end_a_run_and_the_others_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self.name == "step_00000001":  # as chattr +i makes it
            raise PermissionError(errno.EPERM, "Operation not permitted", str(self))
        return plain(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    said = Said()
    assert alone(run, tmp_path, said, "train.checkpoint_every=1", "train.keep_last=2") == STEPS
    (line,) = said.warnings  # of many in a row
    assert "an older checkpoint cannot be moved or removed: " in line
    assert steps_in(tmp_path) == [1, 5, 6]


def test_a_checkpoint_on_a_bigger_disk_is_unlinked_when_its_turn_comes_and_not_removed(tmp_path: Path) -> None:
    alone(run, tmp_path / "run", Said(), "train.steps=2")
    here, there = tmp_path / "run" / "checkpoints" / "step_00000002", tmp_path / "bigger" / "step_00000002"
    shutil.copytree(here, there)
    shutil.rmtree(here)
    here.symlink_to(there)
    said = Said()
    assert alone(run, tmp_path / "run", said, "train.checkpoint_every=1", "train.keep_last=1") == STEPS
    assert said.warnings == []
    assert steps_in(tmp_path / "run") == [STEPS]
    assert checkpoints.problem_of(there) is None


class Broken(Silent):
    """Fails whatever it is to show."""

    def start(self, trainer: Trainer, last: int) -> None:
        raise BrokenPipeError

    def step(self, step: Step, images_per_second: float | None) -> None:
        raise ZeroDivisionError

    def say(self, text: str) -> None:
        raise KeyError(text)


def run_unseen(world: Distributed, path: Path) -> int:
    return run(world, path, Broken())


@pytest.mark.filterwarnings("ignore:progress cannot be shown")
def test_progress_that_cannot_be_shown_ends_no_run(tmp_path: Path) -> None:
    assert run_ranks(run_unseen, 2, tmp_path) == [STEPS] * 2


def immutable(metrics: Path, patch: pytest.MonkeyPatch) -> str:
    """As chattr +i makes it, whoever asks."""
    plain = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if target == metrics:
            raise PermissionError(errno.EPERM, "Operation not permitted", str(self))
        return plain(self, target)

    patch.setattr(Path, "replace", replace)
    return f"{metrics}: cannot be written: Operation not permitted"


def unreadable(metrics: Path, patch: pytest.MonkeyPatch) -> str:
    plain = Path.open

    def open_other(self: Path, mode: str = "r", **options: Any) -> Any:
        if (self, mode) == (metrics, "rb"):
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return plain(self, mode, **options)

    patch.setattr(Path, "open", open_other)
    return f"{metrics}: cannot be read: Permission denied"


@pytest.mark.parametrize("spoil", [immutable, unreadable])
def test_a_run_goes_on_beside_metrics_of_later_steps_that_cannot_be_dropped(
    spoil: Callable[[Path, pytest.MonkeyPatch], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone(run, tmp_path, Said(), "train.steps=2")
    reason, said = spoil(tmp_path / "metrics.jsonl", monkeypatch), Said()
    assert alone(run, tmp_path, said) == STEPS
    assert said.warnings[0] == f"warning: metrics of later steps stay: {reason}"
    assert said.warnings[1:] in ([], [f"warning: loss.png: not written, and the run goes on without: {reason}"])
    monkeypatch.undo()
    assert [line["step"] for line in read_metrics(RunFolder(tmp_path).metrics)] == [1, 2, 3, 4, 5, 6]
