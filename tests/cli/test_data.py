"""``zoo data check``: what it finds in a dataset, and the list of what is left out."""

import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.commands import done, zoo
from tests.train.small import SIZE


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    """A recipe and 24 pictures of two classes; two are broken, one of them held out."""
    monkeypatch.chdir(tmp_path)
    for index in range(24):
        path = Path("pictures", "held_out" if index % 3 == 0 else "train", "ab"[index % 2], f"{index:02}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(index).integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    Path("pictures/train/b/05.png").write_bytes(b"")
    Path("pictures/held_out/a/06.png").write_bytes(b"")
    Path("pictures/train/a/notes.txt").write_bytes(b"")
    recipe = {
        "backbone": {**SIZE, "num_classes": 2, "patch_schedule": {"type": "uniform", "patch": 4}},
        "data": {"dataset": {"type": "images", "folder": str(tmp_path / "pictures")}},
        "train": {"batch": 8},
    }
    Path("own.yaml").write_text(yaml.safe_dump(recipe))


def test_what_is_wrong_is_told_and_leads_to_exit_code_3(tmp_path):
    result = zoo("data", "check", "--recipe", "own.yaml")
    assert result.exit_code == 3
    assert result.stdout == (
        "train: 16 samples of 2 classes: a 8, b 7\n"
        f"  note: {tmp_path}/pictures: left out 1 file that is no picture: 1 .txt\n"
        "  1 cannot be read:\n"
        f"    {tmp_path}/pictures/train/b/05.png: is no picture, or one that is damaged\n"
        "held_out: 8 samples of 2 classes: a 3, b 4\n"
        "  1 cannot be read:\n"
        f"    {tmp_path}/pictures/held_out/a/06.png: is no picture, or one that is damaged\n"
    )
    assert (
        result.stderr == "to train without these samples: --leave-out FILE writes a list, which data.leave_out takes\n"
    )


def test_a_log_says_how_far_a_long_check_has_come(monkeypatch):
    monkeypatch.setattr("zoo.pace.SECONDS_BETWEEN_LINES", -1.0)
    told = zoo("data", "check", "--recipe", "own.yaml").stderr.splitlines()
    assert {"train: 100 %", "held_out: 100 %"} <= set(told)


def test_the_list_of_what_is_left_out_mends_it(tmp_path):
    result = zoo("data", "check", "--recipe", "own.yaml", "--leave-out", "list.txt", "--out", "all.txt")
    assert result.exit_code == 3
    assert result.stderr.endswith(
        "to train without these samples: zoo train --recipe own.yaml --set data.leave_out=list.txt\n"
    )
    assert Path("list.txt").read_text() == "train/b/05.png\nheld_out/a/06.png\n"
    assert len(Path("all.txt").read_text().splitlines()) == 2

    result = zoo("data", "check", "--recipe", "own.yaml", "--set", "data.leave_out=list.txt")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "all is well")
    assert "  note: data.leave_out: 1 of 16 samples are left out\n" in result.stdout
    Path("pictures/train/a/02.png").write_bytes(b"")
    zoo("data", "check", "--recipe", "own.yaml", "--set", "data.leave_out=list.txt", "--leave-out", "new.txt")
    assert Path("new.txt").read_text() == "train/b/05.png\nheld_out/a/06.png\ntrain/a/02.png\n"


def test_what_is_told_can_be_pasted():
    given = ("--set", "train.steps=1", "--set", "data.leave_out=[x]", "--leave-out", "a list.txt")
    result = zoo("data", "check", "--recipe", "own.yaml", *given)
    told = result.stderr.splitlines()[-1].removeprefix("to train without these samples: ")
    assert told == "zoo train --recipe own.yaml --set train.steps=1 --set 'data.leave_out=a list.txt'"
    done(*shlex.split(told)[1:], "--run-dir", "run")

    Path("pictures/train/a/02.png").write_bytes(b"")
    told = zoo("data", "check", "--run", "run", "--leave-out", "b.txt").stderr.splitlines()[-1]
    assert told.endswith("samples: zoo train --resume --run-dir run --set data.leave_out=b.txt")
    assert zoo(*shlex.split(told.split(": ")[1])[1:], "--set", "train.steps=2").exit_code == 0


def test_where_no_sample_is_wrong_none_need_be_left_out():
    result = zoo("data", "check", "--recipe", "own.yaml", "--set", "data.dataset.folder=gone", "--leave-out", "a.txt")
    assert (result.exit_code, result.stderr) == (3, "wrote a.txt\n")


def test_files_that_are_no_samples_are_listed_where_that_is_asked_for():
    assert "\n    train/a/notes.txt\n" in zoo("data", "check", "--recipe", "own.yaml", "--verbose").stdout


def test_many_problems_and_many_classes_make_few_lines():
    for path in sorted(Path("pictures/train").glob("*/*.png")):
        path.rename(path.parent / f"0{path.name}")
        for copy in (1, 2):
            path.with_name(f"{copy}{path.name}").write_bytes(b"")
    for number in range(30):
        Path(f"pictures/train/c{number:02}").mkdir()
        Path(f"pictures/train/c{number:02}/0.png").write_bytes(Path("pictures/train/a/002.png").read_bytes())
    result = zoo("data", "check", "--recipe", "own.yaml", "--set", "backbone.num_classes=32", "--set", "data.workers=1")
    assert result.stdout.splitlines()[0] == "train: 78 samples of 32 classes with 1 to 8 each"
    assert "  33 cannot be read:\n" in result.stdout
    assert "    and 13 more\n" in result.stdout
    result = zoo("data", "check", "--recipe", "own.yaml", "--set", "backbone.num_classes=32", "--verbose")
    assert result.stdout.splitlines()[0].startswith("train: 78 samples of 32 classes: a 8, b 7, c00 1, ")


def test_a_class_with_a_comma_does_not_look_like_two():
    Path("pictures/train/b").rename("pictures/train/shark, great")
    line = zoo("data", "check", "--recipe", "own.yaml").stdout.splitlines()[0]
    assert line == "train: 16 samples of 2 classes: a 8, 'shark, great' 7"


def test_what_cannot_be_opened(tmp_path):
    result = zoo("data", "check", "--recipe", "own.yaml", "--set", "data.dataset.folder=gone")
    assert result.exit_code == 3
    assert "train: cannot be opened: " in result.stdout
    assert "gone: there is no such folder\n" in result.stdout


def test_a_dataset_without_a_held_out_part():
    result = zoo("data", "check", "--recipe", "own.yaml", "--set", "data.dataset.folder=pictures/held_out")
    assert "held_out: " in result.stdout
    assert "has no held-out part" in result.stdout


def test_refusals(tmp_path):
    result = zoo("data", "check")
    assert (result.exit_code, result.stderr) == (
        2, "error: zoo data check: give --recipe R, or --run D; `zoo recipes` lists recipes\n"
    )  # fmt: skip
    assert zoo("data", "check", "--recipe", "own.yaml", "--run", "run").exit_code == 2
    result = zoo("data", "check", "--recipe", "own.yaml", "--leave-out", "own.yaml")
    assert result.exit_code == 2
    assert "own.yaml: exists already" in result.stderr
    result = zoo("data", "check", "--recipe", "own.yaml", "--leave-out", "a.txt", "--out", tmp_path / "a.txt")
    assert (result.exit_code, Path("a.txt").exists()) == (2, False)
    assert result.stderr.endswith("a.txt; give each a file of its own\n")


def test_nothing_to_look_at_is_told():
    """A bare `zoo data` shows what the group can do."""
    assert "check" in zoo("data", "--help").stdout


def test_what_has_changed_since_a_runs_newest_checkpoint_is_told():
    Path("pictures/train/b/05.png").unlink()
    Path("pictures/held_out/a/06.png").unlink()
    done("train", "--recipe", "own.yaml", "--set", "train.steps=1", "--run-dir", "run")
    done("data", "check", "--run", "run")
    Path("pictures/train/a").rename("pictures/train/c")
    Path("pictures/held_out/a").rename("pictures/held_out/c")
    result = zoo("data", "check", "--run", "run", "--out", "all.txt")
    assert result.exit_code == 3
    assert "the data is not what was trained on: class 'a' is called 'c'" in result.stdout
    assert result.stderr == "wrote all.txt\n"
    assert "the data is not what was trained on: class 'a' is called 'c'" in Path("all.txt").read_text()
