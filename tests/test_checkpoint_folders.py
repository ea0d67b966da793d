"""Checkpoints in a folder that may be anyone's: found by number, and their states read only as they were written."""

import json
import os
import shutil

import pytest

from tests.train.small import train
from zoo.checkpoint_folders import checkpoints_in, newest_states, run_of, run_of_newest, said_state

DAMAGES = {
    "changed": lambda path: path.write_text(path.read_text().replace('"s', '"z')),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "gone": lambda path: path.unlink(),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "pipe": lambda path: (path.unlink(), os.mkfifo(path)),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return train(tmp_path_factory.mktemp("run"), "train.steps=1").checkpoints / "step_00000001"


@pytest.fixture
def folder(checkpoint, tmp_path):
    """Three checkpoints, whose names as text are in another order than their steps."""
    for step in (99_999_999, 100_000_000, 9):
        shutil.copytree(checkpoint, tmp_path / f"step_{step:08d}")
    (tmp_path / "step_00000005.unsound").mkdir()
    (tmp_path / "step_00000006").touch()
    shutil.copytree(checkpoint, tmp_path / "step_12")  # somebody's own
    return tmp_path


STEPS = ["step_00000009", "step_99999999", "step_100000000"]


def test_checkpoints_are_found_by_number(folder):
    assert [path.name for path in checkpoints_in(folder)] == STEPS
    assert [path.name for path, _ in newest_states(folder)] == STEPS[::-1]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", ["state.json", "manifest.json"])
def test_a_state_that_is_not_as_it_was_written_is_passed_over(folder, file, damage):
    DAMAGES[damage](folder / STEPS[-1] / file)
    assert [path.name for path, _ in newest_states(folder)] == STEPS[1::-1]


@pytest.mark.parametrize("text", ["[]", "null", "7", '"run"'])
def test_what_is_no_state_says_nothing(folder, text):
    path = folder / STEPS[-1]
    (path / "state.json").write_text(text)
    (path / "manifest.json").write_text(json.dumps({"files": {}}))
    assert (said_state(path), run_of(path)) == ({}, None)
    assert run_of_newest(folder) == run_of(folder / STEPS[0])


def test_a_folder_that_is_not_there_holds_nothing(tmp_path):
    assert (checkpoints_in(tmp_path / "x"), list(newest_states(tmp_path / "x"))) == ([], [])
