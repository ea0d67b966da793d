"""Which pictures a folder holds, with their labels; what is odd is told, not left out."""

import os
import pickle
import sys

import numpy as np
import pytest

from zoo.data.folders import ENDINGS, list_images, shown, split_folders
from zoo.errors import DataError


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def ids(listing):
    return [listing.id(index) for index in range(len(listing))]


def message(folder, split="train", **options):
    with pytest.raises(DataError) as error:
        list_images(folder, split, **options)
    return str(error.value)


def test_labels_follow_the_sorted_class_folders_at_any_depth(tmp_path):
    touch(tmp_path, "b/2.png", "b/10.JPG", "a/x/deep.webp", "a/z.jpeg", "B/1.bmp")
    listing = list_images(tmp_path)
    assert listing.classes == ("B", "a", "b")
    assert ids(listing) == ["B/1.bmp", "a/x/deep.webp", "a/z.jpeg", "b/10.JPG", "b/2.png"]
    assert listing.labels.tolist() == [0, 1, 1, 2, 2]
    assert listing.labels.dtype == np.int64
    assert [listing.path(index) for index in range(5)] == [tmp_path / name for name in ids(listing)]


def test_folders_that_are_all_numbers_sort_as_numbers(tmp_path):
    touch(tmp_path, "train/10/a.png", "train/2/b.png", "train/0/c.png", "train/02/d.png", "held_out/10/e.png")
    touch(tmp_path, "held_out/2/f.png")
    assert list_images(tmp_path).classes == ("0", "02", "2", "10")
    assert ids(list_images(tmp_path, "held_out")) == ["held_out/2/f.png", "held_out/10/e.png"]
    assert list_images(tmp_path, "held_out").labels.tolist() == [2, 3]
    touch(tmp_path, "train/x/g.png")
    assert list_images(tmp_path).classes == ("0", "02", "10", "2", "x")  # as text
    touch(tmp_path / "other", "²/1.png", "10/2.png", "3/3.png")  # a digit, and no number
    assert list_images(tmp_path / "other").classes == ("10", "3", "²")


def test_hidden_and_other_files_are_left_out(tmp_path):
    touch(
        tmp_path, "a/1.png", "a/._1.png", "a/.hidden/2.png", ".git/3.png", "a/notes.txt", "a/png", "README", "a/4.eps"
    )
    assert ids(list_images(tmp_path)) == ["a/1.png"]


def test_every_ending_of_pictures(tmp_path):
    endings = [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".avif",
    ]
    touch(tmp_path, *(f"a/x{ending}" for ending in endings), *(f"a/y{ending.upper()}" for ending in endings))
    assert len(list_images(tmp_path)) == 2 * len(endings)
    assert list_images(tmp_path).note is None


def test_what_is_left_out_is_counted_by_ending(tmp_path):
    touch(tmp_path, "a/1.png", "a/x.TXT", "a/x/y.txt", "labels.csv", "a/LICENSE", "a/.hidden.txt", "a/z.t\nxt")
    assert list_images(tmp_path).note == (
        f"{tmp_path}: left out 5 files that are no pictures: 2 .txt, 1 .csv, 1 .t\\nxt, 1 without ending"
    )
    touch(tmp_path, *(f"a/{index}.{index}" for index in range(9)))
    assert list_images(tmp_path).note == (
        f"{tmp_path}: left out 14 files that are no pictures: 2 .txt, 1 .0, 1 .1, 1 .2, 1 .3, 1 .4, 1 .5, 1 .6,"
        " 5 of other endings"
    )


def test_what_is_left_out_of_a_split_and_of_a_folder_without_classes(tmp_path):
    touch(tmp_path, "in/train/a/1.png", "in/held_out/a/2.png", "in/held_out/a/2.json", "flat/1.png", "flat/2.svg")
    assert list_images(tmp_path / "in").note is None
    assert list_images(tmp_path / "in", "held_out").note == (
        f"{tmp_path}/in: left out 1 file that is no picture: 1 .json"
    )
    assert list_images(tmp_path / "flat", flat=True).note == (
        f"{tmp_path}/flat: left out 1 file that is no picture: 1 .svg"
    )


def test_a_folder_that_is_named_like_a_picture_is_a_folder(tmp_path):
    touch(tmp_path, "a.png/1.png", "a.png/b.jpg/2.png")
    assert ids(list_images(tmp_path)) == ["a.png/1.png", "a.png/b.jpg/2.png"]


def test_names_of_any_bytes(tmp_path):
    names = ["a b/ü 'quoted'.png", "a b/new\nline.png", "a b/\udcff.png", "日本/#%?*.png"]
    touch(tmp_path, *names)
    listing = list_images(tmp_path)
    assert [listing.path(index).exists() for index in range(4)] == [True] * 4
    assert ids(listing) == ["a b/new\\nline.png", "a b/ü 'quoted'.png", "a b/\\udcff.png", "日本/#%?*.png"]
    assert all(each.isprintable() and each.encode() for each in ids(listing))


def test_links_are_followed(tmp_path):
    touch(tmp_path, "real/1.png", "data/a/2.png")
    (tmp_path / "data" / "b").symlink_to(tmp_path / "real")
    (tmp_path / "data" / "a" / "3.png").symlink_to(tmp_path / "real" / "1.png")
    assert ids(list_images(tmp_path / "data")) == ["a/2.png", "a/3.png", "b/1.png"]


def test_pictures_without_classes_are_taken_where_that_is_asked_for(tmp_path):
    touch(tmp_path, "1.png", "0.png")
    listing = list_images(tmp_path, flat=True)
    assert (listing.classes, ids(listing), listing.labels.tolist()) == ((), ["0.png", "1.png"], [0, 0])
    assert message(tmp_path) == (
        f"{tmp_path}: holds pictures, but no class folders; put the pictures of each class into a folder of its own"
    )


def test_splits(tmp_path):
    touch(tmp_path, "train/a/1.png", "train/b/2.png", "train/c/3.png", "held_out/c/4.png", "held_out/a/5.png")
    assert list(split_folders(tmp_path)) == ["train", "held_out"]
    train, held_out = list_images(tmp_path), list_images(tmp_path, "held_out")
    assert ids(train) == ["train/a/1.png", "train/b/2.png", "train/c/3.png"]
    assert ids(held_out) == ["held_out/a/5.png", "held_out/c/4.png"]
    assert held_out.labels.tolist() == [0, 2]  # as in train
    assert held_out.classes == train.classes == ("a", "b", "c")
    assert held_out.path(1).exists()


def test_val_is_held_out_too(tmp_path):
    touch(tmp_path, "train/a/1.png", "val/a/2.png", "test/a/3.png")
    assert ids(list_images(tmp_path, "held_out")) == ["val/a/2.png"]


def test_train_alone_is_a_split_and_not_a_class(tmp_path):
    touch(tmp_path, "train/a/1.png")
    assert ids(list_images(tmp_path)) == ["train/a/1.png"]
    assert "has no held-out part" in message(tmp_path, "held_out")


def test_train_beside_other_classes_is_a_class(tmp_path):
    touch(tmp_path, "train/1.png", "ship/2.png")
    assert list_images(tmp_path).classes == ("ship", "train")


def test_no_held_out_part(tmp_path):
    touch(tmp_path, "a/1.png")
    assert message(tmp_path, "held_out") == (
        f"{tmp_path}: has no held-out part; divide it into sub-folders 'train' and 'held_out'"
    )


def test_what_is_no_folder_of_classes(tmp_path):
    touch(tmp_path, "a/1.png", "a/notes.txt")
    (tmp_path / "empty").mkdir()
    missing, file, empty = tmp_path / "missing", tmp_path / "a" / "1.png", tmp_path / "empty"
    endings = ", ".join(ENDINGS)
    assert message(missing) == f"{missing}: there is no such folder"
    assert message(file) == f"{file}: is a file; give the folder that holds the data"
    assert message(empty) == (
        f"{empty}: holds no class folders; put the pictures of each class into a folder of its own"
    )
    assert message(empty, flat=True) == f"{empty}: holds no pictures ({endings}); give a folder that does"
    assert message(tmp_path) == f"{empty}: is a class without pictures ({endings}); remove it"


def test_names_that_are_shown_alike(tmp_path):
    """No list of names, and no --labels, could tell them apart."""
    touch(tmp_path, "a/new\nline.png", "a/new\\line.png", "new\nline/1.png", "b\\n/1.png")
    assert list_images(tmp_path).classes == ("a", "b\\n", r"new\nline")
    touch(tmp_path, r"new\nline/2.png")
    assert message(tmp_path) == rf"{tmp_path}/new\nline: two names are shown like this; rename one"
    (tmp_path / r"new\nline" / "2.png").rename(tmp_path / "a" / r"new\nline.png")
    (tmp_path / r"new\nline").rmdir()
    assert message(tmp_path) == rf"{tmp_path}/a/new\nline.png: two names are shown like this; rename one"


def test_a_picture_beside_the_class_folders(tmp_path):
    touch(tmp_path, "a/1.png", "cover.png")
    expected = f"{tmp_path}/cover.png: lies beside the class folders; move it into one, or away"
    assert message(tmp_path) == message(tmp_path, flat=True) == expected


def test_a_held_out_class_that_is_not_trained(tmp_path):
    touch(tmp_path, "train/a/1.png", "held_out/b/2.png")
    assert (
        message(tmp_path, "held_out")
        == f"{tmp_path}/held_out/b: no such class is in 'train', so it has no label; add it there, or remove it here"
    )


def test_links_to_nothing_and_in_circles(tmp_path):
    touch(tmp_path, "a/1.png")
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nowhere")
    assert message(tmp_path) == f"{tmp_path}/a/gone.png: is no file, or a link to nothing; remove it"
    (tmp_path / "a" / "gone.png").unlink()
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a")
    assert message(tmp_path) == f"{tmp_path}/a/again: is a link to a folder that it lies in; remove it"


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    assert message(tmp_path) == f"{tmp_path}: cannot be read: [Errno 13] Permission denied"
    monkeypatch.undo()
    assert message(tmp_path / "\0") == f"{tmp_path}/\\x00: cannot be read: embedded null byte"


def test_messages_stay_on_one_line(tmp_path):
    assert message(tmp_path / "new\nline") == f"{tmp_path}/new\\nline: there is no such folder"
    assert shown("\x1b[31m\udcff") == "\\x1b[31m\\udcff"


def test_a_long_list_pickles_small(tmp_path):
    touch(tmp_path, *(f"a/{index:04}.png" for index in range(1000)))
    listing = list_images(tmp_path)
    copy = pickle.loads(pickle.dumps(listing))
    assert ids(copy) == ids(listing)
    assert sys.getsizeof(listing.names.text) + listing.names.ends.nbytes < 20 * len(listing)
