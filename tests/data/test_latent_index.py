"""The index of a folder of latents: what it must hold, and what is told where it does not."""

import json

import pytest

from zoo.data.latent_index import INDEX, LatentIndex, read_index
from zoo.errors import DataError


def message(folder):
    with pytest.raises(DataError) as error:
        read_index(folder)
    return str(error.value)


def edit(folder, **changes):
    path = folder / INDEX
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_is_written_is_read(latents):
    index = read_index(latents)
    assert isinstance(index, LatentIndex)
    assert index.layout == (4, 8, 12, "float32", "stored", "stored")
    assert index.image_size == (16, 24)
    assert json.loads((latents / INDEX).read_text()) == json.loads(index.model_dump_json())


def test_no_index(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path, tmp_path / "file"):
        assert message(folder) == (
            f"{folder}/index.json: there is no such file; give a folder that `zoo latents` has finished"
        )


def test_an_index_that_cannot_be_read(tmp_path):
    (tmp_path / INDEX).mkdir()
    assert message(tmp_path).startswith(f"{tmp_path}/index.json: cannot be read: ")
    (tmp_path / INDEX).rmdir()
    (tmp_path / INDEX).write_bytes(b"\xff\xfe")
    assert message(tmp_path).startswith(f"{tmp_path}/index.json: cannot be read: ")


def test_what_is_no_index(tmp_path):
    for text in ("{", "", '{"format"'):
        (tmp_path / INDEX).write_text(text)
        assert message(tmp_path).startswith(f"{tmp_path}/index.json: is not JSON: ")
    for text in ("[]", "{}", "3", '{"format": "wav"}'):
        (tmp_path / INDEX).write_text(text)
        assert (
            message(tmp_path) == f"{tmp_path}/index.json: is not an index of latents (no format 'zoo latents');"
            " give a folder of `zoo latents`"
        )


def test_another_version(latents):
    edit(latents, version=2)
    assert (
        message(latents)
        == f"{latents}/index.json: has version 2, and this zoo reads version 1; extract the latents again"
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"shards": []}, "shards: Tuple should have at least 1 item"),
        ({"shards": [{"file": "x", "count": 0, "sha256": "0" * 64}]}, "shards.0.count: Input should be greater than 0"),
        ({"shards": [{"file": "../x", "count": 1, "sha256": "0" * 64}]}, "shards.0.file: String should match pattern"),
        ({"shards": [{"file": "x", "count": 1, "sha256": "0"}]}, "shards.0.sha256: String should match pattern"),
        ({"channels": "4"}, "channels: Input should be a valid integer"),
        ({"dtype": "int8"}, "dtype: Input should be 'float16' or 'float32'"),
        ({"colour": 1}, "colour: Extra inputs are not permitted"),
        (
            {"statistics": {"of": "samples", "mean": [0.0], "std": [1.0] * 4}},
            "statistics.mean has 1 numbers for 4 channels",
        ),
        (
            {"statistics": {"of": "means", "mean": [0.0] * 4, "std": [1.0] * 5}},
            "statistics.std has 5 numbers for 4 channels",
        ),
    ],
)
def test_an_index_with_a_mistake(latents, changes, reason):
    edit(latents, **changes)
    assert message(latents).startswith(f"{latents}/index.json: is not an index of latents: {reason}")
