"""Checkpoints: whole or not there, whatever happens while they are written, and sound before they are used."""

import json
import os
import shutil
import sys

import pytest
import torch

from tests.runs.written import RUN, assert_holds, assert_newest, tensors, write
from zoo.errors import RunError
from zoo.runs import checkpoint as checkpoints
from zoo.runs.checkpoint import Checkpoint, at_step, latest, problem_of, prune, save, set_aside_after

FILES = {"model.safetensors", "ema.safetensors", "state.json", "manifest.json"}


def test_what_is_saved_is_read_back(tmp_path):
    (saved,) = write(tmp_path / "checkpoints", 7)
    assert saved.path == tmp_path / "checkpoints" / "step_00000007"
    assert {each.name for each in saved.path.iterdir()} == FILES
    assert_newest(tmp_path / "checkpoints", 7)
    assert saved.digest("ema") != saved.digest("model")
    assert saved.digest("ema") == write(tmp_path / "again", 7)[0].digest("ema")


def test_the_newest_is_by_number_not_by_name(tmp_path):
    write(tmp_path, 99_999_999, 100_000_000, 9)
    assert latest(tmp_path)[0].step == 100_000_000


def test_a_folder_that_is_not_there_has_none(tmp_path):
    assert latest(tmp_path / "missing") == (None, [])
    prune(tmp_path / "missing", 1, RUN)
    set_aside_after(tmp_path / "missing", 0, RUN)


def test_the_folder_of_a_run_that_is_gone_is_not_made_again(tmp_path):
    with pytest.raises(RunError, match="the checkpoint cannot be written: No such file or directory"):
        write(tmp_path / "run" / "checkpoints", 1)
    assert not (tmp_path / "run").exists()


def test_what_is_there_already_is_replaced(tmp_path):
    save(tmp_path, 4, {"other": {"x": torch.ones(1)}}, {"run": RUN})
    write(tmp_path, 4)
    assert_newest(tmp_path, 4)
    assert {each.name for each in (tmp_path / "step_00000004").iterdir()} == FILES


def test_tensors_that_share_memory_are_each_written(tmp_path):
    shared = torch.arange(6.0)
    saved = save(tmp_path, 1, {"model": {"whole": shared, "part": shared[::2]}}, {"run": RUN})
    found = saved.tensors("model")
    assert found["whole"].tolist() == shared.tolist()
    assert found["part"].tolist() == [0, 2, 4]


def test_tensors_that_no_file_holds_are_an_error_of_the_run(tmp_path):
    write(tmp_path, 1)
    with pytest.raises(
        RunError, match=r"the checkpoint cannot be written: a: safetensors holds no tensor of"
    ) as caught:
        save(tmp_path, 2, {"model": {"a": torch.ones(3, dtype=torch.complex128)}}, {"run": RUN})
    assert "\n" not in str(caught.value)
    assert_newest(tmp_path, 1)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_flipped_bit_anywhere_is_noticed(name, tmp_path):
    write(tmp_path, 1, 2)
    file = tmp_path / "step_00000002" / name
    data = file.read_bytes()
    for place in range(0, len(data), max(1, len(data) // 40)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        file.write_bytes(flipped)
        if json_means_the_same(data, flipped) and name == "manifest.json":
            continue  # a blank for another
        found, problems = latest(tmp_path)
        assert found.step == 1, f"byte {place} of {name}"
        (problem,) = problems
        assert problem.startswith(f"{file.parent}: ")
        assert "\n" not in problem
    assert_holds(found, 1)
    file.write_bytes(data)
    assert_newest(tmp_path, 2)


def json_means_the_same(data, flipped):
    try:
        return json.loads(data) == json.loads(bytes(flipped))
    except ValueError:
        return False


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_that_is_cut_off_or_longer_or_gone_or_a_folder_is_noticed(name, tmp_path):
    write(tmp_path, 1, 2)
    file = tmp_path / "step_00000002" / name
    data = file.read_bytes()

    def cut():
        file.write_bytes(data[:-1])

    def empty():
        file.write_bytes(b"")

    def longer():
        file.write_bytes(data + b"}")

    def folder():
        file.unlink()
        file.mkdir()

    def gone():
        file.rmdir()

    for damage in (cut, empty, longer, folder, gone):
        if (damage, name) == (cut, "manifest.json"):
            continue  # a newline
        damage()
        found, problems = latest(tmp_path)
        assert found.step == 1, damage.__name__
        assert len(problems) == 1
        assert "\n" not in problems[0]
    assert problems[0].endswith(
        "has no manifest.json: it was not finished"
        if name == "manifest.json"
        else f"{name} cannot be read: [Errno 2] No such file or directory: '{file}'"
    )


def change_manifest(path, change):
    file = path / "manifest.json"
    manifest = json.loads(file.read_text())
    change(manifest)
    file.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", "7", '{"files": 3}', '{"files": []}', '{"files": {"a": 3}}', "[" * 100_000, "\x00", "NaN"],
)
def test_a_foreign_manifest_is_noticed(text, tmp_path):
    (saved,) = write(tmp_path, 1)
    (saved.path / "manifest.json").write_text(text)
    found, problems = latest(tmp_path)
    assert found is None
    assert len(problems) == 1
    assert problems[0].startswith(f"{saved.path}: manifest.json cannot be read: ")


@pytest.mark.parametrize(
    "name",
    ["../outside", "../step_00000001/model.safetensors", "/etc/hostname", ".", "..", "", "a/b", "a\x00b", ".hidden"],
)
def test_a_manifest_cannot_name_what_is_outside(name, tmp_path):
    (saved,) = write(tmp_path / "c", 1)
    outside = tmp_path / "c" / "outside"
    outside.write_bytes(b"x")
    entry = {"size": 1, "sha256": checkpoints._sha256(outside)}
    change_manifest(saved.path, lambda manifest: manifest["files"].update({name: entry}))
    assert problem_of(saved.path) == f"manifest.json names {name!r}, which is no file of the checkpoint"


def test_a_manifest_that_vouches_for_nothing_is_noticed(tmp_path):
    (saved,) = write(tmp_path, 1)
    change_manifest(saved.path, lambda manifest: manifest["files"].clear())
    assert problem_of(saved.path) == "manifest.json does not name state.json"


def test_a_file_that_the_manifest_does_not_vouch_for_is_not_read(tmp_path):
    (saved,) = write(tmp_path, 1)
    change_manifest(saved.path, lambda manifest: manifest["files"].pop("ema.safetensors"))
    assert problem_of(saved.path) is None  # whoever wants no averages may use it
    for read in (saved.tensors, saved.digest):
        with pytest.raises(RunError, match=r"step_00000001: holds no ema\.safetensors; is this a checkpoint of"):
            read("ema")


@pytest.mark.parametrize(("key", "value"), [("version", 999), ("format", "another"), ("version", "2")])
def test_a_checkpoint_of_another_version_is_not_used(key, value, tmp_path):
    (saved,) = write(tmp_path, 1)
    change_manifest(saved.path, lambda manifest: manifest.update({key: value}))
    assert "it is none of this version of zoo" in problem_of(saved.path)


def test_a_checkpoint_that_was_renamed_is_not_used(tmp_path):
    """Its steps would be counted wrong, and its samples be those of other steps."""
    (saved,) = write(tmp_path, 100)
    shutil.copytree(saved.path, tmp_path / "step_00000200")
    found, problems = latest(tmp_path)
    assert found.step == 100
    assert problems == [
        f"{tmp_path / 'step_00000200'}: it is of step 100, as manifest.json says: the folder has been renamed"
    ]


def test_folders_that_look_like_checkpoints(tmp_path):
    write(tmp_path, 5)
    for name in ("step_x", "step_", "step_-7", "step_7.unsound", "step_7 ", ".step_00000007.unfinished", "steps"):
        (tmp_path / name).mkdir()
    (tmp_path / "step_00000008").touch()
    assert_newest(tmp_path, 5)
    (tmp_path / "step_00000009").mkdir()
    found, problems = latest(tmp_path)
    assert found.step == 5
    assert problems == [f"{tmp_path / 'step_00000009'}: has no manifest.json: it was not finished"]


def test_every_unsound_one_that_is_newer_is_told_and_passed_over(tmp_path):
    paths = [saved.path for saved in write(tmp_path, 1, 2, 3, 4)]
    (paths[0] / "state.json").unlink()
    (paths[2] / "model.safetensors").write_bytes(b"short")
    (paths[3] / "manifest.json").unlink()
    found, problems = latest(tmp_path)
    assert_holds(found, 2)
    assert [problem.split(":")[0] for problem in problems] == [str(paths[3]), str(paths[2])]
    (paths[1] / "ema.safetensors").unlink()
    found, problems = latest(tmp_path)
    assert found is None
    assert len(problems) == 4


def test_what_goes_away_after_it_was_checked_is_an_error_of_the_run(tmp_path):
    """``zoo sample`` beside a run that prunes."""
    (saved,) = write(tmp_path, 1)
    shutil.rmtree(saved.path)
    for read in (saved.state, lambda: saved.tensors("model"), lambda: saved.digest("model")):
        with pytest.raises(RunError, match=r"is gone; is the run still training\?"):
            read()


def test_only_what_is_to_be_read_need_be_sound(tmp_path):
    (older, newer) = write(tmp_path, 1, 2)
    (newer.path / "model.safetensors").write_bytes(b"damaged")
    assert latest(tmp_path, ["ema"]) == (newer, [])
    assert at_step(tmp_path, 2, ["ema"]) == newer
    found, (problem,) = latest(tmp_path, ["model"])
    assert found == older
    assert "model.safetensors has 7 bytes in place of" in problem
    assert latest(tmp_path, ["optimizer"]) == (
        None,
        [f"{each.path}: holds no optimizer.safetensors" for each in (newer, older)],
    )
    (newer.path / "state.json").write_text("{}")
    assert latest(tmp_path, ["ema"])[0] == older


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_a_folder_whose_name_is_no_text(tmp_path):
    (saved,) = write(tmp_path / os.fsdecode(b"\xff"), 1)
    assert_holds(saved, 1)
    (saved.path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(RunError, match=r"model\.safetensors: cannot be read: (?!.*still training)"):
        saved.tensors("model")


def test_without_verification_damage_would_go_unnoticed(tmp_path, monkeypatch):
    """The laws above have something to catch: safetensors itself reads a flipped bit without a word."""
    (saved,) = write(tmp_path, 1)
    file = saved.path / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert not all(torch.equal(a, b) for a, b in zip(saved.tensors("model").values(), tensors()["model"].values()))  # noqa: B905
    assert latest(tmp_path)[0] is None
    monkeypatch.setattr(checkpoints, "problem_of", lambda *_: None)
    assert latest(tmp_path)[0] == Checkpoint(saved.path)
