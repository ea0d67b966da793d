"""Shards are whole or not there, equal for equal tensors, and mapped rather than read."""

import os

import pytest
import torch
from safetensors.torch import save_file

from zoo.data.latent_index import Layout
from zoo.data.latent_shards import Shard, open_shard
from zoo.data.latent_writing import encode_ids, shard_settings, write_shard
from zoo.errors import DataError

LAYOUT = Layout(2, 3, 5, "float16", "stored")
COUNT = 3


def shard(**changes):
    moments = torch.arange(COUNT * 4 * 3 * 5).view(COUNT, 4, 3, 5).half()
    values = {
        "moments": moments,
        "moments_flipped": moments.flip(3).contiguous(),
        "labels": torch.tensor([5, 0, 7]),
        "ids": encode_ids(["a/1.png", "b/ü.png", "c"]),
    }
    return Shard(**(values | changes))


def message(path, layout=LAYOUT, count=COUNT):
    with pytest.raises(DataError) as error:
        open_shard(path, count, layout)
    return str(error.value)


def test_the_round_trip(tmp_path):
    path = tmp_path / "x.safetensors"
    write_shard(path, shard(), {"vae": "0", "size": "3 x 5"})
    found = open_shard(path, COUNT, LAYOUT)
    for name in ("moments", "moments_flipped", "labels", "ids"):
        assert torch.equal(getattr(found, name), getattr(shard(), name))
    assert [found.id(row) for row in range(COUNT)] == ["a/1.png", "b/ü.png", "c"]
    assert shard_settings(path) == {"size": "3 x 5", "vae": "0"}
    assert os.listdir(tmp_path) == ["x.safetensors"]


def test_equal_tensors_give_equal_bytes(tmp_path):
    for name, settings in (("a", {"x": "1", "y": "2"}), ("b", {"y": "2", "x": "1"})):
        write_shard(tmp_path / name, shard(), settings)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_flips_may_be_left_out(tmp_path):
    path = tmp_path / "x"
    write_shard(path, shard(moments_flipped=None), {})
    assert open_shard(path, COUNT, LAYOUT._replace(flip="none")).moments_flipped is None
    assert (
        message(path)
        == f"{path}: holds no tensor 'moments_flipped', which the index asks for; extract it again with --resume"
    )


def test_opening_reads_no_latents(tmp_path):
    count, layout = 2000, Layout(4, 32, 32, "float16", "none")
    moments = torch.zeros(count, 8, 32, 32, dtype=torch.float16)  # 33 MB
    path = tmp_path / "x"
    write_shard(path, Shard(moments, None, torch.zeros(count, dtype=torch.int64), encode_ids(["x"] * count)), {})

    def resident():
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    open_shard(path, count, layout)
    before = resident()
    opened = open_shard(path, count, layout)
    assert resident() - before < 4e6
    assert opened.moments.sum() == 0
    assert resident() - before > 20e6


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"labels": torch.zeros(COUNT, dtype=torch.int32)}, "labels is I32 [3], and the index says I64 [3]"),
        ({"labels": torch.zeros(COUNT + 1, dtype=torch.int64)}, "labels is I64 [4], and the index says I64 [3]"),
        ({"ids": torch.zeros(2, 4, dtype=torch.uint8)}, "ids is U8 [2, 4], and the index says U8 [3, 4]"),
        (
            {"moments": torch.zeros(COUNT, 4, 3, 4).half()},
            "moments is F16 [3, 4, 3, 4], and the index says F16 [3, 4, 3, 5]",
        ),
        ({"moments": torch.zeros(COUNT, 4, 3, 5)}, "moments is F32 [3, 4, 3, 5], and the index says F16 [3, 4, 3, 5]"),
    ],
)
def test_tensors_that_are_not_what_the_index_says(tmp_path, changes, reason):
    path = tmp_path / "x"
    save_file({**vars(shard()), **changes}, path)
    assert message(path) == f"{path}: {reason}; extract it again with --resume"


def test_ids_of_a_strange_shape(tmp_path):
    save_file({"moments": shard().moments, "labels": shard().labels, "ids": torch.zeros(3).byte()}, tmp_path / "x")
    layout = LAYOUT._replace(flip="none")
    assert (
        message(tmp_path / "x", layout)
        == f"{tmp_path}/x: ids is U8 [3], and the index says U8 [3, 1]; extract it again with --resume"
    )


def test_a_missing_shard(tmp_path):
    path = tmp_path / "x"
    assert message(path) == f"{path}: is missing, and the index lists it; extract it again with --resume"
    assert shard_settings(path) is None


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.99])
def test_a_truncated_shard(tmp_path, share):
    path = tmp_path / "x"
    write_shard(path, shard(), {"a": "b"})
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    found = message(path)
    assert found.startswith(f"{path}: cannot be read: ")
    assert found.endswith("; extract it again with --resume")
    assert shard_settings(path) is None


def test_what_is_no_shard(tmp_path):
    (tmp_path / "x").mkdir()
    assert message(tmp_path / "x").startswith(f"{tmp_path}/x: cannot be read: ")
    (tmp_path / "y").write_bytes(b"nothing of the kind")
    assert message(tmp_path / "y").startswith(f"{tmp_path}/y: cannot be read: ")
    save_file({"x": torch.zeros(1)}, tmp_path / "z")
    assert (
        message(tmp_path / "z")
        == f"{tmp_path}/z: holds no tensor 'ids', which the index asks for; extract it again with --resume"
    )
    assert shard_settings(tmp_path / "z") == {}
