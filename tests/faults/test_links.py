"""A run folder that somebody sent, with links in the place of all that is written: nothing outside of it changes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.train.small import train
from zoo.cli import app
from zoo.errors import Preempted, RunError
from zoo.runs import checkpoint as checkpoints
from zoo.runs.metrics_file import read_metrics
from zoo.runs.run_folder import RunFolder
from zoo.unfinished import workplace

STEPS = 4
OPTIONS = (f"train.steps={STEPS}", "train.keep_last=1", "train.callbacks=[pictures,tensorboard]")

FILES = [
    "metrics.jsonl", "loss.png", "report.html", "recipe.yaml", "run.json", "samples/step_00000004.png",
    "checkpoints/.step_00000002.unfinished",
]  # fmt: skip
"""What a run writes after its second step, and what a checkpoint is called that goes."""
WRITTEN = [*FILES[:5], "checkpoints/step_00000004", "samples/step_00000004.png"]
"""What has another name before it is whole."""


def content(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def sent(tmp_path: Path) -> Path:
    """A run that has stopped after two steps."""
    with pytest.raises(Preempted):
        train(tmp_path / "run", *OPTIONS, stop_at=2)
    return tmp_path / "run"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside"
    path.mkdir()
    return path


def report(run: Path) -> None:
    result = CliRunner().invoke(app, ["report", "--run", str(run)])
    assert result.exit_code == 0, result.output


def place_of_unfinished(path: Path) -> Path:
    with workplace(path) as place:
        return place


def to_file(own: Path, victim: Path) -> None:
    """What is read has what it had."""
    shutil.copy(own, victim) if own.is_file() else victim.write_text("mine")


def to_folder(own: Path, victim: Path) -> None:
    """As checkpoints are, and what is in one that is being written."""
    victim.mkdir()
    for name in ("model.safetensors", "state.json", "manifest.json"):
        (victim / name).write_text("mine")


def to_nowhere(own: Path, victim: Path) -> None:
    """Nothing must be made there."""


@pytest.mark.parametrize("lead", [to_file, to_folder, to_nowhere])
def test_links_in_the_place_of_files_are_replaced(
    lead: Callable[[Path, Path], None], sent: Path, outside: Path
) -> None:
    (sent / "samples").mkdir()
    places = [str(place_of_unfinished(sent / name).relative_to(sent)) for name in WRITTEN]
    for name in [*FILES, *places]:
        own, victim = sent / name, outside / name.replace("/", " ")
        if lead is not to_file and name in ("recipe.yaml", "run.json", "metrics.jsonl"):
            continue  # there would be no run, or none that can be read
        lead(own, victim)
        own.unlink(missing_ok=True)
        own.symlink_to(victim)
    before = content(outside)
    train(sent, *OPTIONS, resume=True)
    report(sent)
    assert content(outside) == before
    assert not [path for path in sent.rglob("*") if path.is_symlink()]
    assert checkpoints.latest(sent / "checkpoints")[1] == []
    assert [line["step"] for line in read_metrics(RunFolder(sent).metrics)] == [1, 2, 3, 4]


def test_a_link_to_nowhere_in_the_place_of_the_metrics_is_replaced(sent: Path, outside: Path) -> None:
    (sent / "metrics.jsonl").unlink()
    (sent / "metrics.jsonl").symlink_to(outside / "made")
    train(sent, *OPTIONS, resume=True)
    assert content(outside) == {}
    assert [line["step"] for line in read_metrics(RunFolder(sent).metrics)] == [3, 4]


@pytest.mark.parametrize("lead", [to_file, to_folder, to_nowhere])
def test_a_link_in_the_place_of_the_lock_is_refused(
    lead: Callable[[Path, Path], None], sent: Path, outside: Path
) -> None:
    lead(sent / ".lock", outside / "victim")
    (sent / ".lock").unlink()
    (sent / ".lock").symlink_to(outside / "victim")
    before = content(outside), content(sent / "checkpoints")
    with pytest.raises(RunError) as caught:
        train(sent, *OPTIONS, resume=True)
    assert (content(outside), content(sent / "checkpoints")) == before
    assert str(caught.value) == (
        f"{sent / '.lock'}: the folder cannot be locked: it is a link, and zoo writes through none; remove it"
    )


def test_folders_that_are_links_are_added_to_and_nothing_in_them_is_replaced(sent: Path, outside: Path) -> None:
    """A user may have linked them to a larger disk, or somebody to the user's own files: nobody can tell."""
    others = {
        "checkpoints": ["step_00000001", "step_00000003.unsound", "notes.txt"],
        "samples": ["step_00000004.png", "step_00000002.png"],
        "evaluations": ["step_00000004-00000000.json"],
        "tensorboard": ["events.out.tfevents.1.host.1"],
    }
    for name, files in others.items():
        (sent / name).rename(outside / name) if (sent / name).exists() else (outside / name).mkdir()
        (sent / name).symlink_to(outside / name)
        for file in files:
            (outside / name / file).write_text("mine")
    train(sent, *OPTIONS, resume=True)
    report(sent)
    for name, files in others.items():
        assert {(outside / name / file).read_text() for file in files} == {"mine"}
    kept = {path.name for path in (outside / "checkpoints").iterdir()}
    assert kept == {*others["checkpoints"], "step_00000004"}
    assert len(list((outside / "tensorboard").iterdir())) == 3


def test_an_evaluation_elsewhere_is_not_replaced(sent: Path, outside: Path) -> None:
    folder, found = RunFolder(sent), {"checkpoint": "step_00000002"}
    folder.evaluations.symlink_to(outside)
    path = folder.write_evaluation(found)
    before = content(outside)
    with pytest.raises(RunError, match=f"{path.name}: exists already where evaluations links to, and is left as it is"):
        folder.write_evaluation({**found, "figures": {}})
    assert content(outside) == before


def test_checkpoints_on_a_disk_that_is_not_mounted_do_not_begin_anew(sent: Path, outside: Path) -> None:
    (sent / "checkpoints").rename(outside / "checkpoints")
    (sent / "checkpoints").symlink_to(outside / "not mounted")
    metrics = (sent / "metrics.jsonl").read_bytes()
    with pytest.raises(RunError) as caught:
        train(sent, *OPTIONS, resume=True)
    assert str(caught.value) == (
        f"{sent / 'checkpoints'}: links to {outside / 'not mounted'}, which is not there; is its disk mounted?"
    )
    assert (sent / "metrics.jsonl").read_bytes() == metrics
    (outside / "checkpoints").rename(outside / "not mounted")
    assert read_metrics(train(sent, *OPTIONS, resume=True).metrics)[-1]["step"] == STEPS
