"""Checkpoints of others: no code of theirs runs, damage is noticed, and what does not fit is told all at once."""

import argparse
import os
import pickle
import re
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.weights.checkpoints import ONE, as_legacy, as_safetensors, as_zip, assert_refused_as_damaged, message, same
from zoo.errors import WeightsError
from zoo.weights import pickles, read_checkpoint

# -- files that cannot be read ----------------------------------------------------------------------------------------


def test_a_file_that_is_not_there(tmp_path):
    assert message(tmp_path / "none.pt") == "cannot be read: No such file or directory"
    assert message(tmp_path / ("n" * 300)) == "cannot be read: File name too long"


def test_a_folder(tmp_path):
    assert message(tmp_path) == "is a folder; give a checkpoint file"


@pytest.mark.parametrize("name", ["x.pt", "x.safetensors"])
def test_a_pipe_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    assert message(tmp_path / name) == "is no plain file; give a checkpoint file"


NO_CHECKPOINTS = {
    "empty": (b"", "is empty; copy or download it again"),
    "pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "is a pointer of Git LFS in place of the file; run `git lfs pull`",
    ),
    "page": (b"<!DOCTYPE html>\n<html></html>", "is a web page, no checkpoint; download the file itself"),
    "page behind blanks": (b"\r\n  <html>", "is a web page, no checkpoint; download the file itself"),
    "noise": (bytes(range(1, 250)), "is neither a pickle of torch.save nor a safetensors file; is it damaged?"),
    "one byte": (b"x", "is neither a pickle of torch.save nor a safetensors file; is it damaged?"),
}


@pytest.mark.parametrize(("content", "expected"), NO_CHECKPOINTS.values(), ids=list(NO_CHECKPOINTS))
def test_what_is_no_checkpoint(content, expected, written):
    assert message(written(content)) == expected


@pytest.mark.parametrize("left", [5, 60, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, -22, -1], ids=str)
@pytest.mark.parametrize("content", [as_zip(), as_legacy()], ids=["zip", "legacy"])
def test_a_pickle_that_is_cut_off(content, left, written):
    assert_refused_as_damaged(written(content[: int(left * len(content)) if isinstance(left, float) else left]))


@pytest.mark.parametrize("left", [9, 10, 30, 0.7, -8, -1], ids=str)
def test_safetensors_that_are_cut_off(left, tmp_path, written):
    content = as_safetensors(tmp_path)
    assert_refused_as_damaged(written(content[: int(left * len(content)) if isinstance(left, float) else left]))


@pytest.mark.parametrize(
    ("sound", "broken"),
    [(b'"dtype"', b'"dtipe"'), (b'"F32"', b'"F31"'), (b"[2,3]", b"[2,4]"), (b"[2,3]", b"[2}3]"), (b"b.c", b"b\xffc"),
     (b'"data_offsets":[0', b'"data_offsets":[1')],
)  # fmt: skip
def test_safetensors_with_a_broken_header(sound, broken, tmp_path, written):
    content = as_safetensors(tmp_path)
    assert sound in content
    assert_refused_as_damaged(written(content.replace(sound, broken, 1)))


def with_flipped_bit(content, place, bit=0):
    return content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :]


def test_a_flipped_bit_inside_a_tensor_is_noticed(written):
    content = as_zip()
    place = content.index(ONE["a"].numpy().tobytes())
    for offset in range(16):
        path = written(with_flipped_bit(content, place + offset, offset % 8))
        # What makes the sum of the archive necessary: PyTorch does not look at it where it maps a file into memory.
        assert not same(torch.load(path, weights_only=True, mmap=True))
        assert message(path).startswith("is damaged or cut off: Bad CRC-32 for file ")


def outcome(path):
    """Whether a damaged file is refused, or read as if it were sound."""
    try:
        return same(read_checkpoint(path).tensors)
    except WeightsError as error:
        return str(error)


def outcomes_of_flipped_bits(written):
    content = as_zip()
    records = content.index(b"PK\x01\x02")
    paths = (written(with_flipped_bit(content, place, place % 8)) for place in range(0, records, 5))
    return [outcome(path) for path in paths]


def test_a_flipped_bit_is_noticed_or_changes_nothing(written):
    found = outcomes_of_flipped_bits(written)
    assert False not in found
    assert sum(isinstance(each, str) for each in found) > 50


def test_without_the_sums_bits_change_unseen(written, monkeypatch):
    monkeypatch.setattr(pickles, "_check_archive", lambda path: None)
    assert False in outcomes_of_flipped_bits(written)


def test_a_flipped_bit_that_makes_an_archive_look_encrypted(written):
    content = as_zip()
    assert_refused_as_damaged(written(with_flipped_bit(content, content.index(b"PK\x01\x02") + 8)))


def header_of(size, folder):
    """Safetensors whose header has so many bytes."""
    save_file(ONE, folder / "x", metadata={"pad": ""})
    empty = int.from_bytes((folder / "x").read_bytes()[:8], "little")
    save_file(ONE, folder / "x", metadata={"pad": "x" * (size - empty)})
    assert int.from_bytes((folder / "x").read_bytes()[:8], "little") == size
    return folder / "x"


@pytest.mark.parametrize(
    "size",
    [
        15384,
        15392,
        0x4B50,
        15400,
    ],
)
def test_safetensors_with_headers_of_any_size(size, tmp_path):
    assert same(read_checkpoint(header_of(size, tmp_path)).tensors)


LONG = b"x" * 5000
TEXT = b"X" + len(LONG).to_bytes(4, "little") + LONG
LONG_NAME = b"c" + LONG + b"\n"
TOLD_LONG = {
    "name": (LONG_NAME, "Unsupported global: GLOBAL xxx"),
    "blocked": (b"cnt\n" + LONG + b"\n", "Trying to load unsupported GLOBAL nt.xxx"),
    "call": (TEXT + b")R", "Trying to call reduce for unrecognized function xxx"),
    "call of many": (b"]" + TEXT + b"a)R", "Trying to call reduce for unrecognized function ['xxx"),
    "class": (TEXT + b")\x81", "Can only create new object for nn.Parameter or classes allowlisted via `add_safe_glo"),
}
"""What PyTorch tells of, and how it begins to: the end is as long as the file has it."""


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize(("operands", "told"), TOLD_LONG.values(), ids=list(TOLD_LONG))
def test_pytorch_looks_for_words_in_a_short_text_alone(operands, told, legacy, save, written, monkeypatch):
    """By a pattern that takes its length squared: hours for a million letters."""
    path = save(ONE, _use_new_zipfile_serialization=not legacy)
    if legacy:
        path = written(path.read_bytes().replace(b"ctorch._utils\n", operands, 1))
    else:
        path = with_pickle(path, lambda content: content.replace(b"ctorch._utils\n", operands, 1))
    searched = []
    search = re.search
    monkeypatch.setattr(re, "search", lambda pattern, text: searched.append(text) or search(pattern, text))
    refused = message(path)
    if (operands, legacy) == (LONG_NAME, False):
        assert refused.startswith("needs the code of xxx")
    else:
        assert refused.startswith(f"is damaged or cut off: {told}")
    assert len(refused) < 500
    assert max(map(len, searched)) == pickles.LONGEST_REASON


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_long_texts_are_read(legacy, save):
    path = save({"ema": ONE, "notes": "word" * 5000}, _use_new_zipfile_serialization=not legacy)
    assert same(read_checkpoint(path).tensors)


def with_pickle(path, change):
    """The archive with another pickle."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in records.items():
            archive.writestr(name, change(content) if name.endswith("/data.pkl") else content)
    return path


# -- pickles that need code -------------------------------------------------------------------------------------------


class Trap:
    """Makes a file where it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


WITH_CODE = (
    "needs the code of {} to be loaded, and a pickle's code can do anything, so zoo runs none of it; load it where you"
    " trust it, and save what its `ema` or `model` holds with torch.save"
)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_pickles_code_does_not_run(zipped, save, tmp_path):
    content = {"ema": ONE, "args": Trap(tmp_path / "made")}
    path = save(content, _use_new_zipfile_serialization=zipped)
    message(path)
    assert not (tmp_path / "made").exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / "made").exists(), "the trap works"


def test_the_code_that_a_pickle_needs_is_named(save):
    content = {"ema": ONE, "args": Trap("unused"), "root": Path("results"), "settings": argparse.Namespace(lr=1e-4)}
    assert message(save(content)) == WITH_CODE.format("io.open, pathlib.PosixPath")
    assert message(save(torch.nn.Linear(2, 2))) == WITH_CODE.format("torch.nn.modules.linear.Linear")


def test_code_is_told_of_a_file_of_before_pytorch_1_6(save):
    path = save({"ema": ONE, "root": Path("results")}, _use_new_zipfile_serialization=False)
    assert "needs the code of" in message(path)


def test_a_pickle_of_a_later_protocol(save):
    expected = "is a pickle of a form that PyTorch reads only by running its code, such as of pickle_protocol 4, or it"
    assert message(save(ONE, pickle_protocol=4)).startswith(expected)


def test_a_pickle_that_torch_did_not_write(written):
    assert_refused_as_damaged(written(pickle.dumps({"a": 1}, protocol=2)))


def test_an_archive_of_something_else(written):
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("model.pt", as_zip())
    path = written(content.getvalue())
    assert message(path) == "is a zip archive with no checkpoint of torch.save in it; unpack it first"
