"""Pictures in parquet and arrow files: the same samples as those of a folder, by their rows."""

import copy
import pickle
import socket
import sys

import numpy as np
import pytest
import torch

from tests.data.same_samples import assert_same_samples, generators, in_folders
from zoo.data.huggingface import HuggingFace, table_files
from zoo.errors import DataError, MissingFolderError, MissingSplitError
from zoo.testing import check_part

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """A cache of its own, and no network."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("asks a network"))


@pytest.fixture(scope="module")
def table(pictures):
    names = list(in_folders(pictures).open().ids())
    values = {
        "image": [{"bytes": (pictures / name).read_bytes(), "path": None} for name in names],
        "label": ["abc".index(name[0]) for name in names],
        "caption": names,
    }
    classes = datasets.ClassLabel(names=list("abc"))
    return datasets.Dataset.from_dict(
        values, features=datasets.Features(image=datasets.Image(), label=classes, caption=datasets.Value("string"))
    )


@pytest.fixture(params=["parquet", "saved"])
def folder(request, tmp_path, table):
    if request.param == "saved":
        table.save_to_disk(tmp_path / "data", num_shards=2)
        return tmp_path / "data"
    (tmp_path / "data").mkdir()
    for part in range(2):
        table.select(range(part * 6, 6 + part * 4)).to_parquet(tmp_path / "data" / f"train-0000{part}-of-00002.parquet")
    return tmp_path / "data"


def dataset(folder, num_classes=3, **options):
    return HuggingFace(3, (16, 24), num_classes, folder=str(folder), **options)


def test_samples_are_those_of_the_folder(folder, pictures):
    source, files = dataset(folder).open(), in_folders(pictures).open()
    assert_same_samples(source, files)
    assert list(source.ids()) == [f"train row {row}" for row in range(10)]
    assert source.classes == files.classes == ("a", "b", "c")
    assert source.class_counts() == files.class_counts()


def test_the_laws_of_datasets(folder):
    supplied = {"channels": 3, "num_classes": 3}
    check_part(HuggingFace, options={"folder": str(folder), "held_out": 0.3}, supplied=supplied)


@pytest.mark.parametrize(("train", "held_out"), [("Train-0", "Test-0"), ("training", "testing"), ("train", "eval")])
def test_parts_are_known_by_other_names_too(table, tmp_path, train, held_out):
    (tmp_path / "data").mkdir()
    for name, rows in ((train, range(6)), (held_out, range(6, 10))):
        table.select(rows).to_parquet(tmp_path / "data" / f"{name}.parquet")
    assert [len(list(dataset(tmp_path / "data").open(split).ids())) for split in ("train", "held_out")] == [6, 4]


def test_a_share_is_held_out(folder):
    train, held_out = (list(dataset(folder, held_out=0.3).open(split).ids()) for split in ("train", "held_out"))
    assert sorted([*train, *held_out]) == sorted(dataset(folder).open().ids())
    assert held_out
    with pytest.raises(MissingSplitError, match="has no held-out part; divide it"):
        dataset(folder).open("held_out")


def test_a_saved_dict_has_its_splits(tmp_path, table):
    parts = datasets.DatasetDict(train=table.select([3, 4]), test=table.select([5]), validation=table.select([6, 7, 8]))
    parts.save_to_disk(tmp_path)
    assert list(dataset(tmp_path).open().ids()) == ["train row 0", "train row 1"]
    assert list(dataset(tmp_path).open("held_out").ids()) == [f"validation row {row}" for row in range(3)]
    with pytest.raises(DataError, match=r"is held out, and data.dataset.held_out: 0.5 asks for a share besides"):
        dataset(tmp_path, held_out=0.5).open()


def test_a_source_can_be_sent_to_a_worker(folder):
    source = dataset(folder).open()
    rows = np.arange(len(source))
    expected = source.read(rows, generators(10)).latents
    for other in (pickle.loads(pickle.dumps(source)), copy.deepcopy(source)):
        assert torch.equal(other.read(rows, generators(10)).latents, expected)


def test_plain_bytes_and_paths_are_pictures_too(tmp_path, pictures):
    whole = (pictures / "a/1.png").read_bytes()
    for name, column in (("bytes", [whole]), ("paths", ["below/1.png"])):
        (tmp_path / name / "below").mkdir(parents=True)
        (tmp_path / name / "below" / "1.png").write_bytes(whole)
        datasets.Dataset.from_dict({"picture": column}).to_parquet(tmp_path / name / "0.parquet")
        source = dataset(tmp_path / name, num_classes=0, image="picture").open()
        expected = in_folders(pictures, 0, flip=False).open().read(np.array([0]), generators(1))
        found = (
            dataset(tmp_path / name, num_classes=0, image="picture", flip=False)
            .open()
            .read(np.array([0]), generators(1))
        )
        assert torch.equal(found.latents, expected.latents)
        assert source.labels(np.array([0])).tolist() == [0]


def refusal(folder, values, **options):
    folder.mkdir(exist_ok=True)
    datasets.Dataset.from_dict(values).to_parquet(folder / "0.parquet")
    with pytest.raises(DataError) as error:
        dataset(folder, **options).open().read(np.array([0]), generators(1))
    return str(error.value)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (
            {"img": [b"1"], "label": [1]},
            "/0.parquet: has no column 'image'; set data.dataset.image and label to some of img, label",
        ),
        ({"image": [b"1"]}, "/0.parquet: has no column 'label'; set data.dataset.image and label to some of image"),
        (
            {"image": [b"1"], "label": ["cat"]},
            "/0.parquet: column 'label' holds string, no class indices; make them by",
        ),
        ({"image": [b"1"], "label": [3]}, ": train row 0 has label 3, outside 0..2; mend it"),
        ({"image": [b"1"], "label": [None]}, "/0.parquet: column 'label' holds null, no class indices"),
        ({"image": [[1, 2]], "label": [1]}, ": train row 0 has no picture in column 'image'; leave the row out"),
        ({"image": ["../a.png"], "label": [1]}, ": train row 0 names ../a.png, and files elsewhere are not read; give"),
        ({"image": ["/a.png"], "label": [1]}, ": train row 0 names /a.png, and files elsewhere are not read"),
        ({"image": [], "label": np.array([], "int64")}, "/0.parquet: holds no rows; give tables that do"),
        (
            {"image": [b"1"], "label": np.array([2**63 + 5], "uint64")},
            ": column 'label' holds no class indices (Integer value 9223372036854775813 not in range",
        ),
    ],
)
def test_tables_that_do_not_go(tmp_path, values, told):
    assert refusal(tmp_path / "data", values).startswith(f"{tmp_path / 'data'}{told}")


def write(folder, name, **values):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    table = datasets.Dataset.from_dict(values)
    if name.endswith(".parquet"):
        table.to_parquet(folder / name)
        return
    with datasets.arrow_writer.ArrowWriter(path=str(folder / name), features=table.features) as writer:
        for row in table:
            writer.write(row)
        writer.finalize()


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_tables_of_other_columns(tmp_path, kind):
    write(tmp_path, f"train-0.{kind}", image=[b"1"], label=[1])
    write(tmp_path, f"train-1.{kind}", image=[b"1"], kind=[1])
    told = f"^{tmp_path}/train-1.{kind}: has no column 'label', which train-0.{kind} has; give all tables the same"
    with pytest.raises(DataError, match=told):
        dataset(tmp_path).open()
    write(tmp_path, f"train-1.{kind}", image=[b"1"], label=["cat"])
    with pytest.raises(DataError, match=f"^{tmp_path}/train-1.{kind}: column 'label' holds string, no class indices"):
        dataset(tmp_path).open()


def test_configurations_that_are_taken_together_are_told(tmp_path):
    folder = tmp_path / "data"
    for name in ("en/train/0", "en/train/1", "en/test/0", "de/train/0"):
        write(folder, f"{name}.parquet", image=[b"1"], label=[1])
    assert dataset(folder).open().notes == (
        f"{folder}: takes the tables of 2 folders together, de, en; set data.dataset.folder to one of them where"
        " each is a configuration of its own",
    )
    assert dataset(folder).open("held_out").notes == dataset(folder / "en").open().notes == ()


def test_a_folder_that_is_called_as_a_table(tmp_path):
    write(tmp_path, "data.parquet/part-0.parquet", image=[b"1"], label=[1])
    assert len(dataset(tmp_path).open()) == 1


def changes(folder, change):
    before = dataset(folder).open().fingerprint()
    change()
    return dataset(folder).open().fingerprint().changes_since(before)


def test_files_that_are_exchanged_or_renamed_are_told(tmp_path):
    folder = tmp_path / "data"
    for name, count in (("a", 2), ("b", 3), ("c", 4)):
        write(folder, f"{name}.parquet", image=[b"1"] * count, label=[1] * count)
    one, other, third = (folder / f"{name}.parquet" for name in "abc")

    def exchange():
        one.rename(folder / "d")
        other.rename(one)
        (folder / "d").rename(other)

    assert changes(folder, exchange).moved == ["file 'a.parquet' and file 'b.parquet' are exchanged"]
    assert changes(folder, lambda: third.rename(folder / "d.parquet")).moved == [
        "file 'c.parquet' is called 'd.parquet'"
    ]
    assert changes(folder, lambda: write(folder, "d.parquet", image=[b"123"] * 4, label=[1] * 4)).replaced == [
        "file 'd.parquet'"
    ]


def test_a_bad_picture_is_named_by_its_row(tmp_path):
    told = refusal(tmp_path / "data", {"image": [b"1"], "label": [1]})
    assert told == f"{tmp_path / 'data'}/train row 0: is no picture, or one that is damaged"


def test_a_row_without_label(tmp_path):
    told = refusal(tmp_path / "data", {"image": [b"1", b"1"], "label": [1, None]})
    assert (
        told == f"{tmp_path / 'data'}: train row 1 has no label; give each sample one, or set backbone.num_classes to 0"
    )


def test_damaged_tables(tmp_path):
    for name in ("0.parquet", "0.arrow"):
        (tmp_path / name[2:]).mkdir()
        (tmp_path / name[2:] / name).write_bytes(b"nothing of the kind")
        with pytest.raises(DataError, match="its tables cannot be read: "):
            dataset(tmp_path / name[2:]).open()


def test_without_the_package(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        DataError, match=r"needs the package datasets .*; install it with: pip install 'diffusion-zoo\["
    ):
        dataset(folder).open()


@pytest.mark.parametrize(
    ("names", "train", "held_out"),
    [
        (["0.parquet", "1.parquet"], ["0.parquet", "1.parquet"], None),
        (["data/train-0.parquet", "data/test-0.parquet"], ["data/train-0.parquet"], ["data/test-0.parquet"]),
        (["train/0.arrow", "valid/0.arrow", "train/cache-1.arrow"], ["train/0.arrow"], ["valid/0.arrow"]),
        (["trains.parquet", "contest.parquet"], ["contest.parquet", "trains.parquet"], None),
    ],
)
def test_files_of_each_split(tmp_path, names, train, held_out):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = {
        split: [path.relative_to(tmp_path).as_posix() for path in each] for split, each in table_files(tmp_path).items()
    }
    assert found == {"train": train, **({"held_out": held_out} if held_out else {})}


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([], "holds no tables"),
        (["a.parquet", "b.arrow"], "holds tables of both .parquet and .arrow"),
        (["train.parquet", "b.parquet"], "b.parquet: is called after no part of the data, and others are"),
        (["test.parquet"], "has no tables to train on"),
    ],
)
def test_files_that_are_of_no_split(tmp_path, names, told):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=told):
        table_files(tmp_path)
    with pytest.raises(MissingFolderError):
        table_files(tmp_path / "gone")


def test_labels_without_a_sign_may_be_missing(table, tmp_path):
    pictures = table.select(range(2)).cast_column("image", datasets.Image(decode=False))["image"]
    features = datasets.Features(image=datasets.Image(), label=datasets.Value("uint8"))
    (tmp_path / "data").mkdir()
    rows = datasets.Dataset.from_dict({"image": list(pictures), "label": [1, None]}, features=features)
    rows.to_parquet(tmp_path / "data" / "train-0.parquet")
    with pytest.raises(DataError, match=r"train row 1"):
        dataset(tmp_path / "data").open()
