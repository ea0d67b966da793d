"""The folder of a run is removed, moved, emptied, taken or copied while it trains: nothing is lost, nothing touched."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.train.small import ALONE, Said, small, written
from zoo.callbacks import Step
from zoo.classes import classes_of_run
from zoo.errors import NumericError, RunError, ZooError
from zoo.registry import Registry
from zoo.runs import checkpoint as checkpoints
from zoo.runs.run_folder import RunFolder
from zoo.train.rescue import rescue
from zoo.train.run import Run, Silent
from zoo.train.saving import Saver
from zoo.train.trainer import Trainer

STEPS = 6


def train(
    run: Path,
    after: int = 0,
    work: Callable[[], object] = lambda: None,
    *,
    stop_at: int | None = None,
    watcher: Said | None = None,
) -> Said:
    """Train to step 6, or go on, with checkpoints after 2 and 4 steps."""

    def apart() -> None:
        written()
        work()

    registry, watcher = Registry(), watcher or Said(after, apart)
    recipe = small(f"train.steps={STEPS}", "train.keep_last=1", registry=registry)
    folder = RunFolder(run)
    Run(recipe, folder, registry, ALONE, watcher).train(resume=folder.is_used, stop_at=stop_at)
    return watcher


def stopped(run: Path, step: int) -> Path:
    """A run that was stopped."""
    with pytest.raises(ZooError, match="asked to stop"):
        train(run, stop_at=step)
    return run


def end(run: Path) -> str:
    """The hash of a run's last weights."""
    return checkpoints.at_step(run / "checkpoints", STEPS).digest("model")


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("whole") / "run"
    train(path)
    return end(path)


def goes_on(message: str) -> Path:
    """The folder that a message names, which is that of a run."""
    found = re.search(r"; go on with: zoo train --resume --run-dir (\S+)$", message)
    assert found, message
    return Path(found[1])


@pytest.mark.parametrize(
    "leave", [shutil.rmtree, lambda run: run.rename(run.with_name("moved"))], ids=["removed", "moved"]
)
@pytest.mark.parametrize("step", [1, 2, 3, 6])
def test_a_folder_that_is_gone_is_made_anew_with_what_is_in_memory(
    step: int, leave: Callable[[Path], object], tmp_path: Path, never_stopped: str
) -> None:
    run = tmp_path / "run"
    with pytest.raises(RunError) as caught:
        train(run, step, lambda: leave(run))
    saved = step + step % 2  # where a checkpoint is due, at once
    assert str(caught.value) == (
        f"{run}: has been removed or moved while it was trained; step {saved} is saved in {run}, without older"
        f" checkpoints and metrics; go on with: zoo train --resume --run-dir {run}"
    )
    train(run)
    assert end(run) == never_stopped


def empty(run: Path) -> None:
    for path in run.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (run / "mine.txt").write_text("mine")


def empty_but_for_the_recipe(run: Path) -> None:
    """As rm -r does where the run writes at the same time."""
    for path in run.iterdir():
        if path.name != "recipe.yaml":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def take(run: Path) -> None:
    """Another run in its place, which has ended."""
    shutil.rmtree(run)
    train(run)


@pytest.mark.parametrize(
    ("leave", "how"), [(empty, "emptied"), (empty_but_for_the_recipe, "emptied"), (take, "taken by another run")]
)
@pytest.mark.parametrize("step", [1, 2, 6])
def test_a_folder_that_another_has_is_not_touched(
    step: int, leave: Callable[[Path], object], how: str, tmp_path: Path, never_stopped: str
) -> None:
    run, before = tmp_path / "run", {}

    def work() -> None:
        leave(run)
        before.update(content(run))

    with pytest.raises(RunError, match=f"^{run}: has been {how} while it was trained; step ") as caught:
        train(run, step, work)
    assert content(run) == before
    saved = goes_on(str(caught.value))
    assert saved.parent == tmp_path
    assert saved.name == f"run-{json.loads((saved / 'run.json').read_text())[-1]['run'][:8]}"
    train(saved)
    assert end(saved) == never_stopped


def test_a_folder_that_another_process_trains_in_is_not_touched(tmp_path: Path) -> None:
    """It was copied, and the copy is in its place, locked."""
    run, other = tmp_path / "run", RunFolder(tmp_path / "run")

    def work() -> None:
        shutil.copytree(run, tmp_path / "copy")
        shutil.rmtree(run)
        (tmp_path / "copy").rename(run)
        other.lock()

    with pytest.raises(RunError, match="has been taken by another run while it was trained; step 4 is saved in"):
        train(run, 3, work)
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step_00000002"]
    other.unlock()


@pytest.mark.parametrize("step", [2, 3])  # a checkpoint was lost with the folder, or none is of this step
@pytest.mark.parametrize("error", [KeyError("of a plug-in"), NumericError("the loss is NaN")])
def test_a_step_that_fails_after_the_folder_was_lost_tells_where_the_run_is_now(
    error: Exception, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not how to go on in a folder that is another's."""
    run, plain = tmp_path / "run", Trainer._clip

    def fail(self: Trainer, *arguments: Any) -> Any:
        if self.step == step:
            monkeypatch.undo()
            written()
            empty(run)
            raise error
        return plain(self, *arguments)

    monkeypatch.setattr(Trainer, "_clip", fail)
    watcher = Said(0, lambda: None)
    with pytest.raises(type(error)) as caught:
        train(run, watcher=watcher)
    said = str(caught.value) if isinstance(error, NumericError) else watcher.said[-1]
    (saved,) = tmp_path.glob("run-*")
    told = (
        f"{run}: has been emptied while it was trained; step {step} is saved in {saved}, without older checkpoints and"
    )
    assert f"{told} metrics; go on " in said
    assert f"zoo train --resume --run-dir {saved}" in said
    assert "cannot be saved" not in said
    assert [path.name for path in (saved / "checkpoints").iterdir()] == [f"step_{step:08d}"]


def test_what_one_process_saves_alone_after_the_folder_was_lost_tells_where_it_is(tmp_path: Path) -> None:
    told: list[str] = []
    registry, folder = Registry(), RunFolder(tmp_path / "run")

    class Lonely(Silent):
        def start(self, trainer: Trainer, last: int) -> None:
            self._saver = Saver(trainer, folder, print)

        def step(self, step: Step, images_per_second: float | None) -> None:
            if step.step == 1:
                empty(folder.path)
                told.append(rescue(self._saver))

    Run(small(registry=registry), folder, registry, ALONE, Lonely()).train()  # as the process would not: it ends
    saved = goes_on(told[0])
    assert saved.name.startswith("run-")
    assert told[0].startswith(f"{folder.path}: has been emptied while it was trained; step 1 is saved in {saved}, ")
    assert [path.name for path in (saved / "checkpoints").iterdir()] == ["step_00000001"]


def test_a_run_that_is_saved_elsewhere_knows_its_classes(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(RunError) as caught:
        train(run, 3, lambda: empty(run))
    saved = goes_on(str(caught.value))
    assert json.loads((saved / "run.json").read_text())[-1]["classes"] == [str(digit) for digit in range(10)]
    assert classes_of_run(saved).counts is not None


def test_nothing_is_saved_where_nothing_can_be(tmp_path: Path) -> None:
    run = tmp_path / "above" / "run"

    def work() -> None:
        shutil.rmtree(tmp_path / "above")
        (tmp_path / "above").touch()

    with pytest.raises(RunError) as caught:
        train(run, 3, work)
    assert str(caught.value) == (
        f"{run}: has been removed or moved while it was trained, and step 4 cannot be saved elsewhere: {run}: the run"
        " folder cannot be made: Not a directory"
    )


def test_a_lock_that_is_removed_alone_is_made_again(tmp_path: Path, never_stopped: str) -> None:
    run = tmp_path / "run"
    train(run, 3, (run / ".lock").unlink)
    assert end(run) == never_stopped
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_copy_of_a_run_goes_on_as_the_run_does(tmp_path: Path, never_stopped: str) -> None:
    run = stopped(tmp_path / "run", 3)
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    train(run, 5, lambda: train(copy))  # at the same time
    for each in (run, copy):
        assert end(each) == never_stopped
        assert len({entry["run"] for entry in json.loads((each / "run.json").read_text())}) == 1


def test_a_checkpoint_of_another_run_is_not_gone_on_from(tmp_path: Path, never_stopped: str) -> None:
    run, other = stopped(tmp_path / "run", 2), stopped(tmp_path / "other", 4)
    own, foreign = (json.loads((each / "run.json").read_text())[-1]["run"] for each in (run, other))
    assert own != foreign
    newest = run / "checkpoints" / "step_00000004"
    shutil.copytree(other / "checkpoints" / newest.name, newest)
    before = content(run / "checkpoints")
    with pytest.raises(RunError) as caught:
        train(run)
    assert str(caught.value) == (
        f"{newest}: is of another run ({foreign}) than this folder ({own}, as run.json says); move it elsewhere to go"
        " on without it"
    )
    assert content(run / "checkpoints") == before
    newest.rename(tmp_path / "away")
    train(run)
    assert end(run) == never_stopped


def test_what_another_run_left_among_the_checkpoints_stays(tmp_path: Path) -> None:
    run, other = stopped(tmp_path / "run", 4), stopped(tmp_path / "other", 1)
    foreign = run / "checkpoints" / "step_00000001"
    before = content(Path(shutil.copytree(other / "checkpoints" / foreign.name, foreign)))
    train(run)
    assert content(foreign) == before
    assert {path.name for path in (run / "checkpoints").iterdir()} == {foreign.name, "step_00000006"}


def test_a_file_system_without_locks_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    assert [text for text in train(tmp_path / "run").said if "lock" in text] == [
        f"warning: {tmp_path / 'run'}: its file system refuses locks (No locks available): see to it that no other"
        " process is training in this folder"
    ]
