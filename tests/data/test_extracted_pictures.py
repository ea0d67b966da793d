"""What of a dataset is encoded: its splits, its classes, and its pictures as they are."""

import numpy as np
import pytest
import torch

from tests.commands import content, refused
from tests.data.tars import samples, write_tar
from zoo.data.extracted_pictures import open_splits
from zoo.data.images import Images, ImageSource
from zoo.data.latents import Latents
from zoo.errors import DataError


def test_splits_go_into_folders_of_their_own(run, tmp_path, draw, out):
    images = tmp_path / "images"
    for name in ("train/a/1.png", "train/b/2.png", "train/c/3.png", "val/c/4.png"):
        draw(images / name)
    said = f"{out}/train: 3 latents of 3 classes\n{out}/held_out: 1 latents of 3 classes\n"
    assert run(out, images=images).stdout == said
    latents = Latents(4, (8, 12), 3, folder=str(out))
    assert list(latents.open().ids()) == ["train/a/1.png", "train/b/2.png", "train/c/3.png"]
    held_out = latents.open("held_out")
    assert (held_out.id(0), held_out.check_labels(3)) == ("val/c/4.png", None)


def test_a_share_is_held_out_as_the_dataset_does(run, pictures, out):
    assert run(out, "--set", "data.dataset.held_out=0.3").exit_code == 0
    dataset = Images(3, (16, 24), 3, folder=str(pictures), held_out=0.3)
    latents = Latents(4, (8, 12), 3, folder=str(out))
    for split in ("train", "held_out"):
        assert list(latents.open(split).ids()) == [f"{split}/{name}" for name in dataset.open(split).ids()]


def test_what_is_left_out_is_told(run, tmp_path, draw, out):
    draw(tmp_path / "images" / "a" / "1.png")
    (tmp_path / "images" / "a" / "notes.txt").touch()
    assert run(out, images=tmp_path / "images").stderr == (
        f"note: {tmp_path}/images: left out 1 file that is no picture: 1 .txt\n"
    )


def test_pictures_of_other_channels(run, out):
    words = ("--dataset", "digits", "--size", "8")
    for _ in range(2):  # nothing is left that the folder would not be empty for
        told = (
            "digit 0: is a picture of 8 x 8 x 1 (height x width x channels), and 8 x 8 x 3 is asked for; take another"
        )
        assert refused(run(out, *words, images=None), 3) == f"{told} --size, VAE or dataset"


def test_pictures_without_classes(run, tmp_path, draw, out):
    draw(tmp_path / "images" / "ü \n.png")
    assert run(out, images=tmp_path / "images").stdout == f"{out}: 1 latents of no classes\n"
    assert Latents(4, (8, 12), 0, folder=str(out)).open().id(0) == "ü \\n.png"


def test_labels_are_left_out(run, out):
    assert run(out, "--no-labels").stdout == f"{out}: 10 latents of no classes\n"
    with pytest.raises(DataError, match="its pictures had no classes"):
        Latents(4, (8, 12), 3, folder=str(out)).open()


def test_labels_without_names(run, tmp_path, pictures, out):
    names = [str(path.relative_to(pictures)) for path in sorted(pictures.rglob("[ab]/*.png"))]
    members = samples(pictures, names, "xabc")
    shards = write_tar(tmp_path / "shards" / "0.tar", members).parent
    tar = ("--dataset", "{type: webdataset}")
    assert run(out, *tar, images=shards).stdout == f"{out}: 6 latents of 3 classes\n"
    source = Latents(4, (8, 12), 3, folder=str(out)).open()
    assert (source.classes, set(source.labels(np.arange(6)).tolist())) == ((), {1, 2})
    (shards / "0.tar").unlink()
    write_tar(shards / "0.tar", {name: each for name, each in members.items() if name != "a/4.cls"})
    told = refused(run(tmp_path / "others", *tar, images=shards), 3)
    assert "has no label; lay its .cls or .json beside it" in told
    assert told.endswith(", or give --no-labels")
    assert run(tmp_path / "others", *tar, "--no-labels", images=shards).exit_code == 0


def test_labels_that_are_no_class_indices(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(ImageSource, "labels", lambda source, rows: torch.zeros(len(rows), 2))
    monkeypatch.setattr(ImageSource, "classes", property(lambda source: (), lambda source, names: None), raising=False)

    def make(count):
        return Images(3, (16, 24), count, folder=str(pictures))

    with pytest.raises(DataError) as error:
        open_splits(make, tmp_path, labels=True)
    told = "labels are a tensor [10, 2], and latents are stored with class indices; give --no-labels to leave them out"
    assert str(error.value) == f"a/1.png: {told}"
    assert open_splits(make, tmp_path, labels=False)[1][0].num_classes == 0


def test_a_dataset_of_a_file_of_parts(run, tmp_path, pictures, out):
    (tmp_path / "mirrored.py").write_text(
        "import torch\n"
        "import zoo\n"
        "from zoo.data.images import Images, ImageSource\n"
        "class Source(ImageSource):\n"
        "    def read(self, indices, random):\n"
        "        return super().read(indices, random).mirrored(torch.ones(len(indices), dtype=torch.bool), ())\n"
        "@zoo.part('dataset', 'mirrored')\n"
        "class Mirrored(Images):\n"
        "    def open(self, split='train'):\n"
        "        source = super().open(split)\n"
        "        return Source(source.images, self, flip=True)\n"
    )
    parts = ("--parts", tmp_path / "mirrored.py", "--dataset", "mirrored")
    assert run(out, *parts).exit_code == 0
    assert run(tmp_path / "plain").exit_code == 0
    assert content(out) == content(tmp_path / "plain")  # what is flipped at random is flipped back
