"""Samples of a run: as many as asked for, of the weights asked for, with a record; or one clear refusal."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.train.small import ALONE, small
from zoo.errors import RunError, WeightsError, ZooError
from zoo.pictures import GAP, read_png
from zoo.sampling import images as sampling
from zoo.sampling import sampler
from zoo.sampling.images import SampleRun, draw_samples


def request(run, out, **options):
    return SampleRun(
        **{"run": run, "out": out, "weights": "ema", "labels": (), "count": 8, "seed": 0, "npz": False, **options}
    )


def draw(run, out, registry, *overrides, **options):
    draw_samples(request(run, out, **options), small(*overrides, registry=registry), registry, ALONE)
    return [read_png(out / f"{index:06d}.png") for index in range(options.get("count", 8))]


def record_of(out):
    return json.loads((out / "samples.json").read_text())


@pytest.mark.parametrize("count", [1, 6, 8])
def test_there_are_as_many_images_as_asked_for(count, run, tmp_path, registry):
    images = draw(run, tmp_path / "deep" / "out", registry, count=count)
    names = {path.name for path in (tmp_path / "deep" / "out").iterdir()}
    assert names == {*(f"{index:06d}.png" for index in range(count)), "grid.png", "request.json", "samples.json"}
    assert len(images) == count


def test_the_count_and_the_order_of_labels_change_no_image(run, tmp_path, registry):
    many, few = (draw(run, tmp_path / str(count), registry, count=count) for count in (13, 4))
    assert all((a == b).all() for a, b in zip(few, many, strict=False))
    own = draw(run, tmp_path / "own", registry, count=3, labels=(2, 1, 2))
    assert (own[1] == many[1]).all()
    assert (own[2] == many[2]).all()
    assert (own[0] != many[0]).any()


def test_a_batch_has_the_labels_of_a_whole_one_whatever_the_count(run, tmp_path, registry, monkeypatch):
    """An adaptive solver's steps depend on all of the batch."""
    given, draw_latents = [], sampler.draw_latents

    def listen(backbone, solver, labels, places, **options):
        given.append(labels.tolist())
        return draw_latents(backbone, solver, labels, places, **options)

    monkeypatch.setattr(sampler, "draw_latents", listen)
    draw(run, tmp_path / "out", registry, count=7, labels=(4, 2, 5, 7))
    assert given == [[4, 2, 5, 7, 4, 2], [5, 7, 4, 2, 5, 7]]
    assert record_of(tmp_path / "out")["labels"] == [4, 2, 5, 7, 4, 2, 5]


def test_an_empty_folder_will_do(run, tmp_path, registry):
    (tmp_path / "out").mkdir()
    draw(run, tmp_path / "out", registry)
    assert (tmp_path / "out" / "samples.json").exists()


def test_the_record_says_how_they_were_made(run, tmp_path, registry):
    draw(
        run, tmp_path / "out", registry, "sample.steps=3", "sample.guidance=[2.0, 1.0]", count=3, labels=(4, 2), seed=9
    )
    record = record_of(tmp_path / "out")
    file = run / "checkpoints" / "step_00000003" / "ema.safetensors"
    assert record.pop("torch")
    assert record.pop("plugins").keys() == {"zoo"}
    assert record.pop("zoo")
    assert record == {
        "run": str(run),
        "checkpoint": "step_00000003",
        "weights": "ema",
        "weights_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "sample": small("sample.steps=3", "sample.guidance=[2.0, 1.0]", registry=registry).sample.resolved(),
        "seed": 9,
        "count": 3,
        "labels": [4, 2, 4],
        "classes": {"2": 1, "4": 2},
        "class_names": {"2": "2", "4": "4"},
    }


def test_what_the_record_says_makes_the_same_again(run, tmp_path, registry):
    first = draw(run, tmp_path / "a", registry, "sample.solver=euler_maruyama", count=7, labels=(4, 2), seed=9)
    record = record_of(tmp_path / "a")
    again = draw(
        run, tmp_path / "b", registry, f"sample={json.dumps(record['sample'])}",
        count=record["count"], labels=tuple(record["labels"]), seed=record["seed"],
    )  # fmt: skip
    assert all((a == b).all() for a, b in zip(first, again, strict=True))


def test_random_classes_are_the_same_whatever_the_batch(run, tmp_path, registry):
    for batch in (6, 4):
        draw(run, tmp_path / str(batch), registry, "sample.labels=random", f"sample.batch={batch}", seed=3)
    one, other = record_of(tmp_path / "6"), record_of(tmp_path / "4")
    assert one["labels"] == other["labels"] != list(range(8))
    assert sum(one["classes"].values()) == 8
    draw(run, tmp_path / "seed", registry, "sample.labels=random", seed=4)
    assert record_of(tmp_path / "seed")["labels"] != one["labels"]


def test_averaged_and_last_weights_differ(run, tmp_path, registry):
    ema, raw = (draw(run, tmp_path / weights, registry, weights=weights) for weights in ("ema", "raw"))
    assert any((a != b).any() for a, b in zip(ema, raw, strict=True))
    hashes = [record_of(tmp_path / weights)["weights_sha256"] for weights in ("ema", "raw")]
    assert hashes[0] != hashes[1]


def test_seed_steps_solver_and_guidance_change_the_images(run, tmp_path, registry):
    overrides = [
        "sample.steps=2",
        "sample.steps=5",
        "sample.solver=heun",
        "sample.guidance=[4, 1]",
        "sample.guidance=4",
    ]
    images = [draw(run, tmp_path / str(index), registry, each) for index, each in enumerate(overrides)]
    images.append(draw(run, tmp_path / "seed", registry, seed=1))
    assert len({np.stack(each).tobytes() for each in images}) == len(images)


def test_the_grid_shows_them_in_order_and_no_more_than_it_holds(run, tmp_path, registry, monkeypatch):
    monkeypatch.setattr(sampling, "GRID", 4)
    images = draw(run, tmp_path / "out", registry)
    sheet = read_png(tmp_path / "out" / "grid.png")
    side = 64  # eight times as large
    assert sheet.shape == (2 * (side + GAP) + GAP, 2 * (side + GAP) + GAP, 3)
    assert (sheet[GAP : GAP + side, GAP : GAP + side][::8, ::8] == images[0]).all()
    assert (sheet[-GAP - side : -GAP, -GAP - side : -GAP][::8, ::8] == images[3]).all()


def test_the_array_holds_the_same_images(run, tmp_path, registry):
    images = draw(run, tmp_path / "out", registry, npz=True)
    with np.load(tmp_path / "out" / "samples.npz") as archive:
        assert archive["arr_0"].dtype == np.uint8
        assert (archive["arr_0"] == np.stack(images)).all()


def test_grey_images_are_grey_files(run, tmp_path, registry):
    draw(run, tmp_path / "out", registry, count=1)
    with Image.open(tmp_path / "out" / "000000.png") as image:
        assert image.mode == "L"


def test_a_folder_that_is_not_empty_is_refused_and_left_as_it_is(run, tmp_path, registry):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "000000.png").write_text("mine")
    with pytest.raises(ZooError, match="out: is not empty; choose another folder, or remove it first") as caught:
        draw(run, tmp_path / "out", registry)
    assert caught.value.exit_code == 2
    assert [path.read_text() for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_a_file_is_no_folder(run, tmp_path, registry):
    (tmp_path / "out").touch()
    with pytest.raises(ZooError, match="out: is a file; choose a folder"):
        draw(run, tmp_path / "out", registry)
    with pytest.raises(RunError, match="below: cannot be made: Not a directory"):
        draw(run, tmp_path / "out" / "below", registry)


def test_a_label_that_is_no_class_makes_no_folder(run, tmp_path, registry):
    with pytest.raises(ZooError, match="--labels: 10 is no class; they go from 0 to 9"):
        draw(run, tmp_path / "out", registry, labels=(3, 10))
    assert not (tmp_path / "out").exists()


def test_a_run_without_checkpoints(run, tmp_path, registry):
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(RunError) as caught:
        draw(run, tmp_path / "out", registry)
    gone = "holds no checkpoint, and one of step 2 was saved, as run.json says; is its disk mounted?"
    assert str(caught.value) == f"{run}/checkpoints: {gone}"
    assert caught.value.exit_code == 3


def test_no_run_at_all(tmp_path, registry):
    with pytest.raises(ZooError, match="nothing: there is no such weight file or run"):
        draw(tmp_path / "nothing", tmp_path / "out", registry)


def damage(run, step):
    file = run / "checkpoints" / f"step_{step:08d}" / "ema.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def test_an_unsound_checkpoint_is_passed_over_not_without_a_word(run, tmp_path, registry, recwarn):
    damage(run, 3)
    draw(run, tmp_path / "out", registry)
    path = run / "checkpoints" / "step_00000003"
    told = [str(each.message) for each in recwarn if each.category is UserWarning]
    assert told == [f"{path}: ema.safetensors is not what was written: its SHA-256 differs; step_00000002 is taken"]
    assert record_of(tmp_path / "out")["checkpoint"] == "step_00000002"


def test_no_sound_checkpoint(run, tmp_path, registry):
    for step in (2, 3):
        damage(run, step)
    with pytest.raises(
        RunError, match=r"run: there is no sound checkpoint: .*step_00000003.* differs; .*step_00000002"
    ):
        draw(run, tmp_path / "out", registry)
    assert not (tmp_path / "out").exists()


def test_weights_of_another_recipe(run, tmp_path, registry):
    with pytest.raises(WeightsError, match="step_00000003: holds the weights of another backbone") as caught:
        draw(run, tmp_path / "out", registry, "backbone.dim=32")
    assert caught.value.problems == ("backbone.dim: 16 and 32",)


def test_a_disk_that_fills_up(run, tmp_path, registry, monkeypatch):
    written = []

    def full(image, path):
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        written.append(path)

    monkeypatch.setattr(sampling, "write_png", full)
    with pytest.raises(RunError, match="out: cannot be written or read: No space left on device"):
        draw(run, tmp_path / "out", registry)
    assert not (tmp_path / "out" / "samples.json").exists()  # what is not recorded is not complete


def test_a_disk_that_fills_up_at_the_end(run, tmp_path, registry, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sampling, "write_npz", full)
    with pytest.raises(RunError, match="No space left on device"):
        draw(run, tmp_path / "out", registry, npz=True)
    assert not (tmp_path / "out" / "samples.json").exists()  # what is not recorded is not complete


def test_sampling_changes_nothing_in_the_run(run, tmp_path, registry):
    def content():
        return {path.relative_to(run): path.read_bytes() for path in run.rglob("*") if path.is_file()}

    before = content()
    draw(run, tmp_path / "out", registry)
    assert content() == before
