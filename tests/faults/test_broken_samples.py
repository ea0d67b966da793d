"""Samples that cannot be read, or are left out: a run says so, goes on without them, and is still the same training."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from tests.distributed.ranks import run_ranks
from tests.train.small import ALONE, Said, small
from zoo.assembly import check_recorded, create_part
from zoo.classes import Classes, classes_of_run, read_classes
from zoo.cli import app
from zoo.data import digits
from zoo.data.stream import Order
from zoo.distributed.distributed import Distributed
from zoo.errors import DataError
from zoo.evaluate.evaluation import evaluate
from zoo.evaluate.judging import RealImages
from zoo.registry import Registry
from zoo.runs import checkpoint as checkpoints
from zoo.runs.run_folder import RunFolder
from zoo.runs.weights import open_weights
from zoo.sampling.sampler import prepare_sampler
from zoo.train.run import Run, Silent


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Sixteen pictures of two classes."""
    folder = tmp_path / "pictures"
    for index in range(16):
        path = folder / "ab"[index % 2] / f"{index:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return folder


def train(
    run: Path,
    *overrides: str,
    resume: bool = False,
    stop_at: int | None = None,
    listening: Said | None = None,
) -> list[str]:
    """Train, and give what was said."""
    listening, registry = listening or Said(), Registry()
    recipe = small(*overrides, registry=registry)
    Run(recipe, RunFolder(run), registry, ALONE, listening).train(resume=resume, stop_at=stop_at)
    return listening.said


def test_what_is_left_out_for_its_ending_is_told_when_training_starts(tmp_path: Path, pictures: Path) -> None:
    (pictures / "a" / "notes.txt").write_text("")
    said = train(tmp_path / "run", f"data.dataset={{type: images, folder: {pictures}}}")
    assert f"note: {pictures}: left out 1 file that is no picture: 1 .txt" in said


def newest(run: Path) -> checkpoints.Checkpoint:
    """The newest checkpoint of a run."""
    found, problems = checkpoints.latest(RunFolder(run).checkpoints)
    assert found is not None
    assert not problems
    return found


def test_a_run_goes_on_without_a_broken_picture(tmp_path: Path, pictures: Path) -> None:
    """As if it had been left out from the start, since the others come when they would have come anyway."""
    data = f"data.dataset={{type: images, folder: {pictures}}}"
    names = sorted(path.relative_to(pictures).as_posix() for path in pictures.rglob("*.png"))
    name = names[int(Order(16, 8, 0).indices(1, range(8))[3])]  # of the second step
    (pictures / name).write_bytes((pictures / name).read_bytes()[:40])
    listening = Said()
    with pytest.raises(DataError) as caught:
        train(tmp_path / "run", data, "train.steps=4", listening=listening)
    left_out = f'data.leave_out=["{name}"]'
    assert str(caught.value) == (
        f"{pictures}/{name}: is no picture, or one that is damaged; leave it out:"
        f" zoo train --resume --run-dir {tmp_path}/run --set '{left_out}'"
    )
    (failed,) = [line for line in listening.said if " has failed; " in line]
    assert failed.startswith("step 2 has failed; the weights before it are saved: ")
    assert "zoo train" not in failed, "it would fail again"
    assert newest(tmp_path / "run").step == 1

    said = train(tmp_path / "run", data, "train.steps=4", left_out, resume=True)
    assert "note: data.leave_out: 1 of 16 samples are left out" in said
    train(tmp_path / "whole", data, "train.steps=4", left_out)
    one, other = (newest(tmp_path / run).tensors("model") for run in ("run", "whole"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[each], other[each]) for each in one)

    said = train(tmp_path / "run", data, "train.steps=5", f'data.leave_out=["{name}", "b/gone.png"]', resume=True)
    assert 'warning: data.leave_out: no sample is called "b/gone.png"; there is nothing to leave out' in said


def test_what_is_told_where_much_is_left_out_goes_on(tmp_path: Path, pictures: Path) -> None:
    run, names = tmp_path / "run", json.dumps([f"b/gone{index}.png" for index in range(20)])
    data = f"data.dataset={{type: images, folder: {pictures}}}"
    broken = sorted(pictures.rglob("*.png"))[int(Order(16, 8, 0).indices(1, range(8))[3])]
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(DataError) as caught:
        train(run, data, "train.steps=3", f"data.leave_out={names}")
    told = str(caught.value).partition("; leave it out: ")[2].replace("FILE", str(tmp_path / "list.txt"))
    check, go_on = told.split(", then ")
    for line, exit_code in ((check, 3), (go_on, 0)):
        assert CliRunner().invoke(app, shlex.split(line)[1:]).exit_code == exit_code
    assert newest(run).step == 3


def test_real_images_and_labels_leave_it_out_too(tmp_path: Path, pictures: Path) -> None:
    (pictures / "b" / "05.png").write_bytes(b"")
    recipe = small(f"data.dataset={{type: images, folder: {pictures}}}", 'data.leave_out=["b/05.png"]')
    real = RealImages(create_part(recipe, "dataset"), "train", 0, None, None, recipe.data.leave_out)
    assert sum(len(batch.images) for batch in real.batches()) == 15
    assert len(real.in_memory().images) == 15
    source, kept = prepare_sampler(recipe, 0).samples()
    assert [source.id(index) for index in np.setdiff1d(np.arange(16), kept).tolist()] == ["b/05.png"]
    with pytest.raises(DataError) as caught:
        list(RealImages(create_part(recipe, "dataset"), "train", 0).batches())
    assert str(caught.value) == (
        f"""{pictures}/b/05.png: is no picture, or one that is damaged; leave it out: """
        """--set 'data.leave_out=["b/05.png"]'"""
    )


def test_a_picture_that_was_removed_comes_back_empty_and_is_left_out(tmp_path: Path, pictures: Path) -> None:
    data = f"data.dataset={{type: images, folder: {pictures}}}"
    broken = pictures / "b" / "05.png"
    train(tmp_path / "run", data, "train.steps=2")
    broken.unlink()
    with pytest.raises(DataError) as caught:
        train(tmp_path / "run", data, "train.steps=3", resume=True)
    assert str(caught.value).endswith(
        ": the data is not what was trained on: class 'b' has 7 samples in place of 8; put it back as it was; or make"
        f" an empty file in place of each that is gone, and go on by: zoo train --resume --run-dir {tmp_path}/run --set"
        f""" 'data.leave_out=["CLASS/FILE"]', or begin another run with train.init={tmp_path}/run"""
    )
    broken.touch()
    train(tmp_path / "run", data, "train.steps=3", 'data.leave_out=["b/05.png"]', resume=True)
    assert newest(tmp_path / "run").step == 3


def test_a_run_keeps_the_list_of_what_it_leaves_out(tmp_path: Path, pictures: Path) -> None:
    """The file that it was read from may go, or be another one's by now."""
    data, run, path = f"data.dataset={{type: images, folder: {pictures}}}", tmp_path / "run", tmp_path / "list.txt"
    path.write_text("b/05.png\na/02.png\n")
    train(run, data, "train.steps=1", f"data.leave_out={path}")
    assert newest(run).state()["recipe"]["data"]["leave_out"] == ["b/05.png", "a/02.png"]
    path.write_text("b/05.png\na/04.png\n")
    kept = RunFolder(run).read_recipe(["train.steps=2"])
    registry = Registry()
    Run(check_recorded(kept, registry), RunFolder(run), registry, ALONE, Silent()).train(resume=True)
    assert newest(run).state()["recipe"]["data"]["leave_out"] == ["b/05.png", "a/02.png"]

    said = train(run, data, "train.steps=3", f"data.leave_out={path}", resume=True)
    assert 'note: going on with data.leave_out: ["b/05.png", "a/04.png"] in place of ["b/05.png", "a/02.png"]' in said
    path.unlink()
    assert (
        len(
            evaluate(open_weights(run, registry), check_recorded(RunFolder(run).read_recipe(), registry), ALONE).record[
                "data"
            ]["leave_out"]
        )
        == 2
    )


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="pipes have no names here")
def test_a_list_that_a_shell_makes_is_kept_too(tmp_path: Path, pictures: Path) -> None:
    """As ``data.leave_out=<(grep ... list.txt)``."""
    reader, writer = os.pipe()
    os.write(writer, b"b/05.png\n")
    os.close(writer)
    data, run = f"data.dataset={{type: images, folder: {pictures}}}", tmp_path / "run"
    try:
        said = train(run, data, "train.steps=1", f"data.leave_out=/dev/fd/{reader}")
    finally:
        os.close(reader)
    assert "note: data.leave_out: 1 of 16 samples are left out" in said
    assert newest(run).state()["recipe"]["data"]["leave_out"] == ["b/05.png"]


def test_figures_say_which_samples_were_left_out(tmp_path: Path, pictures: Path) -> None:
    """Not which file listed them: features that an interrupted evaluation keeps would be of another list."""
    data, run, path = f"data.dataset={{type: images, folder: {pictures}}}", tmp_path / "run", tmp_path / "list.txt"
    train(run, data, "train.steps=1")
    path.write_text("b/05.png\n")
    registry = Registry()
    recipe = small(data, f"data.leave_out={path}", "evaluate.count=4", registry=registry)
    found = evaluate(open_weights(run, registry), recipe, ALONE)
    assert found.record["data"]["leave_out"] == ["b/05.png"]


def test_a_class_of_which_all_is_left_out_is_not_trained(tmp_path: Path, pictures: Path) -> None:
    """Nor is it drawn, or held against the images that are."""
    for split in ("train", "held_out"):
        shutil.copytree(pictures, tmp_path / "divided" / split)
    data, run = f"data.dataset={{type: images, folder: {tmp_path / 'divided'}}}", tmp_path / "run"
    left_out = json.dumps([f"train/a/{index:02}.png" for index in range(0, 16, 2)])
    said = train(run, data, "train.steps=1", "backbone.num_classes=2", f"data.leave_out={left_out}")
    assert any(each.startswith("warning: backbone.num_classes is 2, and the data has samples of 1 cl") for each in said)
    trained = Classes(("a", "b"), (0, 8))
    assert classes_of_run(run) == trained
    assert read_classes(newest(run).state()) == trained
    registry = Registry()
    for choice in ("data", "balanced"):
        given = [f"evaluate.labels={choice}", "evaluate.count=6"]
        recipe = check_recorded(RunFolder(run).read_recipe(given), registry)
        found = evaluate(open_weights(run, registry), recipe, ALONE)
        assert found.record["classes"] == {"real": {"1": 8}, "generated": {"1": 6}, "held-out real": {"1": 6}}
    shutil.rmtree(tmp_path / "divided" / "held_out" / "b")
    found = evaluate(open_weights(run, registry), recipe, ALONE)
    assert any(
        "what is held out is of no class that has samples in training" in each for each in found.record["doubts"]
    )


def test_a_list_beyond_what_a_recipe_holds(tmp_path: Path, pictures: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("".join(f"b/{index:020}.png\n" for index in range(4000)))
    with pytest.raises(DataError) as caught:
        train(tmp_path / "run", f"data.dataset={{type: images, folder: {pictures}}}", f"data.leave_out={path}")
    assert str(caught.value).startswith(f"{path}: lists 4000 ids, and data.leave_out is for 96 KiB of them, ")
    path.write_text("".join(f"b/{index:020}.png\n" for index in range(3000)))
    train(tmp_path / "run", f"data.dataset={{type: images, folder: {pictures}}}", f"data.leave_out={path}")
    kept = check_recorded(RunFolder(tmp_path / "run").read_recipe(), Registry())
    assert kept.data.leave_out is not None
    assert len(kept.data.leave_out) == 3000


class Torn(digits.DigitsSource):
    """Digits of which one cannot be read."""

    def __init__(self, source: digits.DigitsSource, bad: int) -> None:
        vars(self).update(vars(source))
        self.bad = bad

    def read(self, indices: Any, random: Any) -> Any:
        if self.bad in indices:
            raise DataError(f"{self.id(self.bad)}: is torn")
        return super().read(indices, random)


def run_with_torn_digit(world: Distributed, path: Path, step: int) -> str:
    plain, registry = digits.Digits.open, Registry()
    bad = int(Order(1198, 8, 0).indices(step, range(5, 6))[0])
    recipe = small("train.steps=6", "train.checkpoint_every=50", registry=registry)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digits.Digits, "open", lambda self, split="train": Torn(plain(self, split), bad))
        with pytest.raises(DataError) as caught:
            Run(recipe, RunFolder(path), registry, world, Said()).train()
    return str(caught.value)


@pytest.mark.parametrize("ranks", [1, 2])
def test_torn_data_is_told_on_all_processes_and_nothing_is_lost(tmp_path: Path, ranks: int) -> None:
    told = run_ranks(run_with_torn_digit, ranks, tmp_path / "later", 3)
    assert len(set(told)) == 1
    assert ": is torn; leave it out: zoo train --resume --run-dir " in told[0]
    newest, _ = checkpoints.latest(tmp_path / "later" / "checkpoints")
    assert newest is not None
    assert newest.step == 3
    assert all(": is torn; " in each for each in run_ranks(run_with_torn_digit, ranks, tmp_path / "at once", 0))
