"""Samples of tar files: which there are, and where; looked up once."""

import io
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest

from tests.data.tars import write_tar
from zoo import flock
from zoo.data import cache as kept
from zoo.data import tar_cache
from zoo.data.tar_cache import NAME, index_of
from zoo.data.tar_index import NO_LABEL, read_shard
from zoo.errors import DataError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "zoo"


def refusal(path, members, field="label"):
    with pytest.raises(DataError) as error:
        read_shard(write_tar(path, members), field)
    return str(error.value)


def names(index):
    return [index.name(row) for row in range(len(index))]


def test_members_are_grouped_by_their_path_up_to_the_first_dot(tmp_path):
    members = {
        "./cat/a.JPG": b"one", "./cat/a.seg.png": b"map", "./cat/a.cls": b"3\n", "cat/b.webp": b"three",
        "cat/b.json": b'{"label": 12, "x": "y"}', "c.png": b"none", "c.txt": b"words", "d.txt": b"left out",
        ".e.png": b"hidden", "f": b"f",
    }  # fmt: skip
    path = write_tar(tmp_path / "0.tar", members)
    index = read_shard(path, "label")
    assert names(index) == ["cat/a.JPG", "cat/b.webp", "c.png"]
    assert index.labels.tolist() == [3, 12, NO_LABEL]
    whole = path.read_bytes()
    pieces = [whole[start : start + size] for start, size in zip(index.offsets, index.sizes, strict=True)]
    assert pieces == [b"one", b"three", b"none"]
    assert index.shards[0].left_out == 1


def test_long_and_odd_names(tmp_path):
    long = "x" * 300 + "/é\n.png"
    assert names(read_shard(write_tar(tmp_path / "0.tar", {long: b"1"}), "label")) == ["x" * 300 + "/é\\n.png"]


def test_another_field_is_the_label(tmp_path):
    path = write_tar(tmp_path / "0.tar", {"a.png": b"", "a.json": b'{"label": 1, "kind": 2}'})
    assert read_shard(path, "kind").labels.tolist() == [2]
    assert read_shard(path, "other").labels.tolist() == [NO_LABEL]


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"a.cls": b"cat"}, "a.cls: a label is 'cat', no class index; give whole numbers from 0"),
        ({"a.cls": b"-1"}, "a.cls: a label is '-1', no class index"),
        ({"a.cls": b"9" * 2**21}, "a.cls: has 2097152 bytes, too many to say a class"),
        ({"a.json": b'{"label": true}'}, "a.json: field 'label' is 'True', no class index"),
        ({"a.json": b'{"label": 1.0}'}, "a.json: field 'label' is '1.0', no class index"),
        ({"a.json": b"{"}, "a.json: is not JSON: "),
        ({"a.jpg": b""}, "a.jpg: is one of several pictures of its sample, beside a.png; leave one of them"),
        ({"a.PNG": b""}, "a.PNG: is there twice; give each file of a shard a name of its own"),
        ({"b.png": b"", "a.png": b""}, "a.png: is there twice; give each sample of a shard a name of its own"),
    ],
)
def test_what_is_refused_of_a_sample(tmp_path, members, told):
    path = tmp_path / "0.tar"
    with tarfile.open(path, "w") as tar:
        for name in ["a.png", *members]:
            member = tarfile.TarInfo(name)
            member.size = len(content := members.get(name, b"") if name != "a.png" else b"")
            tar.addfile(member, io.BytesIO(content))
    with pytest.raises(DataError) as error:
        read_shard(path, "label")
    assert str(error.value).startswith(f"{path}/{told}")


def test_files_that_are_no_whole_tar(tmp_path):
    path = write_tar(tmp_path / "0.tar", {f"{index}.png": b"x" * 2000 for index in range(4)})
    whole = path.read_bytes()
    for end in range(512, 4 * 2560 + 1, 256):
        path.write_bytes(whole[:end])
        with pytest.raises(DataError, match=f"^{path}: is (cut off|no tar file)"):
            read_shard(path, "label")
    path.write_bytes(whole[:2560] + b"?" * 512 + whole[3072:])  # tarfile itself would end there
    with pytest.raises(DataError, match=f"^{path}: is cut off or damaged at byte 2560; copy it again"):
        read_shard(path, "label")
    path.write_bytes(b"no tar file at all")
    with pytest.raises(DataError, match=f"^{path}: is no tar file, or a damaged one: "):
        read_shard(path, "label")


def test_compressed_shards(tmp_path):
    path = tmp_path / "0.tar"
    tarfile.open(path, "w:gz").close()
    with pytest.raises(DataError, match=f"^{path}: is compressed, and nothing in it can be read by its place"):
        read_shard(path, "label")


@pytest.fixture
def folder(tmp_path):
    for shard in range(3):
        members = {f"{shard}{index}.{ending}": b"1" for index in range(4) for ending in ("png", "cls")}
        write_tar(tmp_path / "shards" / f"{shard}.tar", members)
    (tmp_path / "shards" / "README.md").touch()
    return tmp_path / "shards"


@pytest.fixture
def looked_through(monkeypatch):
    found = []

    def told(path, field):
        found.append(path.name)
        return read_shard(path, field)

    monkeypatch.setattr(tar_cache, "read_shard", told)
    return found


def same(one, other):
    arrays = [(each.shard, each.offsets, each.sizes, each.labels, each.names.ends) for each in (one, other)]
    assert one.shards == other.shards
    assert one.names.text == other.names.text
    assert all(map(np.array_equal, *arrays))
    assert [each.dtype for each in arrays[0]] == [each.dtype for each in arrays[1]]


def test_shards_are_looked_through_once(folder, looked_through, cache):
    index = index_of(folder, "label")
    assert names(index) == [f"{shard}{index}.png" for shard in range(3) for index in range(4)]
    assert looked_through == ["0.tar", "1.tar", "2.tar"]
    same(index_of(folder, "label"), index)
    assert len(looked_through) == 3
    assert (folder / NAME).exists()
    assert not cache.exists()


def test_only_shards_that_have_changed_are_looked_through_again(folder, looked_through):
    index_of(folder, "label")
    looked_through.clear()
    write_tar(folder / "1.tar", {"new.png": b"1"})
    write_tar(folder / "3.tar", {"more.png": b"1", "b.txt": b""})
    (folder / "0.tar").unlink()
    found = index_of(folder, "label")
    assert looked_through == ["1.tar", "3.tar"]
    (folder / NAME).unlink()
    same(found, index_of(folder, "label"))
    assert names(found) == ["new.png", *(f"2{index}.png" for index in range(4)), "more.png"]


def test_another_field_is_looked_up_anew(folder, looked_through):
    index_of(folder, "label")
    index_of(folder, "kind")
    assert len(looked_through) == 6


def test_where_nothing_can_be_written_the_index_is_in_the_users_cache(folder, looked_through, cache, monkeypatch):
    write = kept.write_whole

    def refuse(path, *given, **options):
        if path.parent == folder:
            raise PermissionError("read-only")
        write(path, *given, **options)

    monkeypatch.setattr(kept, "write_whole", refuse)
    index = index_of(folder, "label")
    assert len(list(cache.iterdir())) == 1
    same(index_of(folder, "label"), index)
    assert len(looked_through) == 3
    monkeypatch.setattr(kept, "write_whole", lambda *_, **__: refuse(folder / NAME))
    (cache / next(cache.iterdir())).unlink()
    with pytest.warns(UserWarning, match="its shards are looked through every time: read-only"):
        index_of(folder, "label")


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[:100],
        lambda whole: whole[:-8] + b"?" * 8,
        lambda whole: whole.replace(b'"0.tar', b'"8.tar'),
        lambda whole: whole.replace(b'"I64"', b'"F64"'),
    ],
)
def test_a_damaged_index_is_made_anew(folder, damage):
    index = index_of(folder, "label")
    (folder / NAME).write_bytes(damage((folder / NAME).read_bytes()))
    with pytest.warns(UserWarning, match=f"{NAME}: cannot be used, and is made anew: "):
        same(index_of(folder, "label"), index)


def test_an_index_of_other_notes_is_made_anew(folder):
    """One that is damaged in a way that no hash tells, as that of another version might be."""
    index = index_of(folder, "label")
    for shards in ("[]", "[[]]", "7", "[[1, 2, 3, 4, 5, 6]]", "{", "[" * 10**5):
        tensors, notes = kept.read_cached(folder / NAME, lambda *found: found)
        kept.keep_cached([folder / NAME], tensors, "nothing", {**notes, "shards": shards})
        with pytest.warns(UserWarning, match=f"{NAME}: cannot be used, and is made anew: "):
            same(index_of(folder, "label"), index)


@pytest.mark.skipif(flock.fcntl is None, reason="needs locks")
def test_of_several_processes_one_looks(folder, monkeypatch, looked_through):
    begun, waits, wait, look = Event(), Event(), flock.wait, tar_cache.read_shard

    def slow(path, field):
        begun.set()
        assert waits.wait(60)
        return look(path, field)

    def told(descriptor):
        waits.set()
        wait(descriptor)

    monkeypatch.setattr(tar_cache, "read_shard", slow)
    monkeypatch.setattr(flock, "wait", told)
    with ThreadPoolExecutor() as pool:
        other = pool.submit(index_of, folder, "label")
        assert begun.wait(60)
        same(index_of(folder, "label"), other.result())
    assert len(looked_through) == 3


def test_a_folder_that_is_called_as_a_shard(folder):
    (folder / "b.tar").mkdir()
    with pytest.raises(DataError, match=r"b.tar: is a folder, and is called as shards are; give it another name$"):
        index_of(folder, "label")


def test_folders_without_samples(tmp_path):
    with pytest.raises(DataError, match=r"holds no shards \(.tar\); give a folder that does"):
        index_of(tmp_path, "label")
    write_tar(tmp_path / "0.tar", {"a.txt": b""})
    with pytest.raises(DataError, match="its shards hold no pictures"):
        index_of(tmp_path, "label")


def test_a_million_samples_take_no_object_each(folder):
    index = index_of(folder, "label")
    held = sys.getsizeof(index.names.text) + sum(
        each.nbytes for each in (index.shard, index.offsets, index.sizes, index.labels, index.names.ends)
    )
    assert held < 50 * len(index)
