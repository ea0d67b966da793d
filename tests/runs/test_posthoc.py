"""``zoo ema``: an average that a run has not kept is what a run that kept it has; and every refusal in a line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner, Result

from tests.distributed.ranks import run_ranks
from tests.runs.test_averages import go_on
from tests.train.small import ALONE, train
from zoo.cli import app
from zoo.recipe.averages import Profile
from zoo.registry import Registry
from zoo.runs import checkpoint as checkpoints
from zoo.runs.posthoc import FURTHEST, combined
from zoo.runs.run_folder import RunFolder
from zoo.runs.weights import load, open_weights
from zoo.train.run import Silent

STEPS = "train.steps=8"
KEPT = ("train.ema=[0.9, {std: 0.05}, {std: 0.1}]", "train.snapshot_every=1", STEPS)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("runs") / "kept", *KEPT).path


def ema(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["ema", *map(str, arguments)])


def refused(result: Result, exit_code: int) -> str:
    assert (result.exit_code, result.stdout) == (exit_code, "")
    (line,) = result.stderr.splitlines()
    return line.removeprefix("error: ")


def norm(some: dict[str, Tensor], others: dict[str, Tensor]) -> float:
    return float(torch.stack([(some[name] - others[name]).norm() for name in some]).norm())


def test_it_is_the_average_that_another_run_has_kept(run: Path, tmp_path: Path, registry: Registry) -> None:
    other = train(tmp_path / "tracked", "train.ema=[0.9, {std: 0.08}, {std: 0.12}]", STEPS).path
    kept, tracked, last = (
        dict(open_weights(path, registry, weights=which).tensors)
        for path, which in ((run, "ema:std=0.1"), (other, "ema:std=0.08"), (other, "raw"))
    )
    made, distance = combined(run, Profile(std=0.08), registry)
    assert 0 < distance < 0.02
    assert norm(dict(made.tensors), tracked) < 0.02 * norm(last, tracked)
    assert norm(kept, tracked) > 0.1 * norm(last, tracked)  # what is kept is another
    tables = set(made.tensors) - {name for name, _ in load(run, registry=registry).named_parameters()}
    assert tables
    assert all(torch.equal(made.tensors[name], tracked[name]) for name in tables)


def test_what_is_kept_is_made_to_the_last_digits_at_any_step(run: Path, registry: Registry) -> None:
    made, distance = combined(run, Profile(std=0.1), registry, step=5)
    kept = checkpoints.at_step(run / "snapshots", 5).tensors("ema-std-0.1")
    assert distance < 1e-6
    for name, tensor in kept.items():
        torch.testing.assert_close(made.tensors[name], tensor)
    assert made.source["snapshots"] == [1, 2, 3, 4, 5]


def test_the_file_is_one_that_every_command_takes(run: Path, tmp_path: Path, registry: Registry) -> None:
    out = tmp_path / "made.safetensors"
    result = ema("--run", run, "--std", 0.07, "--out", out)
    assert result.exit_code == 0, result.stderr
    assert result.stderr.splitlines()[-1] == f"wrote {out}"
    given = open_weights(out, registry)
    assert (given.source["source"]["weights"], given.source["source"]["step"]) == ("ema:std=0.07", 8)
    made, _ = combined(run, Profile(std=0.07), registry)
    assert given.classes == made.classes
    assert all(torch.equal(tensor, made.tensors[name]) for name, tensor in given.tensors.items())


def test_snapshots_stay_and_hold_averages_by_profile_alone(run: Path) -> None:
    assert [path.name for path in sorted((run / "snapshots").iterdir())] == [f"step_{n:08d}" for n in range(1, 9)]
    files = {path.name for path in (run / "snapshots" / "step_00000003").glob("*.safetensors")}
    assert files == {"ema-std-0.05.safetensors", "ema-std-0.1.safetensors"}


def test_a_run_without_snapshot_every_keeps_them_with_its_checkpoints_and_at_the_end(tmp_path: Path) -> None:
    folder = train(tmp_path / "run", "train.ema=[{std: 0.05}]")
    assert [path.name for path in sorted(folder.snapshots.iterdir())] == ["step_00000002", "step_00000003"]


@pytest.mark.parametrize(("ranks", "parallel"), [(1, "ddp"), pytest.param(2, "fsdp", marks=pytest.mark.slow)])
def test_a_run_that_goes_on_has_the_snapshots_of_one_that_never_stopped(
    run: Path, tmp_path: Path, ranks: int, parallel: str
) -> None:
    overrides = (*KEPT, f"train.parallel={parallel}")
    if ranks > 1:
        run = tmp_path / "whole"
        assert run_ranks(go_on, ranks, run, overrides, None, group=True) == [8] * ranks
    parts = tmp_path / "parts"
    assert run_ranks(go_on, ranks, parts, overrides, 3, group=True) == ["stopped"] * ranks
    aside = parts / "snapshots" / "step_00000006"  # of a step that it has not come to yet, as after a lost checkpoint
    shutil.copytree(parts / "snapshots" / "step_00000003", aside)
    assert run_ranks(go_on, ranks, parts, overrides, None, group=True) == [8] * ranks
    for step in range(1, 9):
        one, other = (checkpoints.at_step(path / "snapshots", step) for path in (run, parts))
        for file in ("ema-std-0.05", "ema-std-0.1"):
            assert one.digest(file) == other.digest(file)


def test_a_snapshot_that_cannot_be_written_does_not_end_the_run(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(Silent, "say", lambda self, text: told.append(text))
    folder = RunFolder(Path(shutil.copytree(run, tmp_path / "run")))
    shutil.rmtree(folder.snapshots)
    folder.snapshots.write_text("no folder")
    assert go_on(ALONE, folder.path, (*KEPT[:2], "train.steps=9"), None) == 9
    newest, _ = checkpoints.latest(folder.checkpoints)
    assert newest is not None
    assert newest.step == 9
    (line,) = [each for each in told if each.startswith("warning: ")]
    assert str(folder.snapshots) in line
    assert line.endswith("; the run goes on without this snapshot")


def test_a_damaged_snapshot_is_passed_over(run: Path, tmp_path: Path, registry: Registry) -> None:
    shutil.copytree(run, tmp_path / "run")
    file = tmp_path / "run" / "snapshots" / "step_00000008" / "ema-std-0.1.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    told: list[str] = []
    made, _ = combined(tmp_path / "run", Profile(std=0.07), registry, tell=told.append)
    assert made.source["snapshots"][-1] == 7
    (line,) = told
    assert line.startswith(f"{file.parent}: {file.name} has ")
    assert line.endswith("; it is left out")


def test_what_cannot_be_made_is_refused_in_a_line(run: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "x.safetensors")
    line = refused(ema("--run", run, "--std", 0.02, "--step", 2, *out), 2)
    assert line.startswith(f"{run}: of its 2 snapshots up to step 2 (std 0.05, 0.1) the best mix is ")
    assert f" off the profile of std 0.02, and {FURTHEST:.0%} is the limit; ask for" in line
    line = refused(ema("--run", run, "--std", 0.1, "--step", 9, *out), 3)
    there = "1, 2, 3, 4, 5, 6, 7, 8"
    assert line == f"{run / 'snapshots'}: there is no sound snapshot of step 9; there are: {there}"
    assert ema("--run", run, "--std", 0.5, *out).exit_code == 2
    line = refused(ema("--run", run, "--std", 0.1, "--out", "x.pt"), 2)
    assert line == "--out x.pt: zoo writes safetensors; let the name end in .safetensors"
    plain = train(tmp_path / "plain", "train.ema=[0.9, 0.99]", "train.steps=1").path
    line = refused(ema("--run", plain, "--std", 0.1, *out), 2)
    assert line.startswith(
        f"{plain}: its train.ema keeps no averages by std, of which others could be made; begin a run"
    )
    begun = shutil.copytree(run, tmp_path / "begun")
    shutil.rmtree(begun / "snapshots")
    line = refused(ema("--run", begun, "--std", 0.1, *out), 3)
    assert line.startswith(f"{begun / 'snapshots'}: there is no sound snapshot; the first comes with")
    assert not (tmp_path / "x.safetensors").exists()
