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

from zoo.errors import WeightsError, ZooError
from zoo.weights import pickles, read_checkpoint

ONE = {"a": torch.arange(1.0, 5.0), "b.c": -torch.ones(2, 3)}


@pytest.fixture
def written(tmp_path):
    """Writes bytes."""

    def do(content, name="x.pt"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return do


def message(path, **how):
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(path, **how)
    assert (caught.value.exit_code, caught.value.problems) == (3, ())
    start = f"{path}: "
    assert str(caught.value).startswith(start)
    return str(caught.value).removeprefix(start)


def same(tensors, expected=ONE):
    return tensors.keys() == expected.keys() and all(torch.equal(tensors[key], expected[key]) for key in expected)


# -- files that cannot be read ----------------------------------------------------------------------------------------


def test_a_file_that_is_not_there(tmp_path):
    assert message(tmp_path / "none.pt") == "cannot be read: No such file or directory"
    assert message(tmp_path / ("n" * 300)) == "cannot be read: File name too long"


def test_a_folder(tmp_path):
    assert message(tmp_path) == "is a folder; give a checkpoint file"


@pytest.mark.parametrize("name", ["x.pt", "x.safetensors"])
def test_a_pipe_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    assert message(tmp_path / name) == "is no plain file"


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


def as_zip(content=ONE):
    buffer = BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def as_legacy(content=ONE):
    buffer = BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def as_safetensors(folder, content=ONE):
    save_file(content, folder / "sound")
    return (folder / "sound").read_bytes()


DAMAGED = r"is damaged or cut off: .+; copy or download it again"


def assert_refused_as_damaged(path):
    with pytest.raises(WeightsError, match=rf": {DAMAGED}$") as caught:
        read_checkpoint(path)
    assert len(str(caught.value).splitlines()) == 1


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


def test_settings_in_a_namespace_are_taken(save):
    settings = argparse.Namespace(model="XL", lr=1e-4, sizes=[1, 2], nothing=None, nested=argparse.Namespace(a=1))
    checkpoint = read_checkpoint(save({"ema": ONE, "args": settings}))
    assert checkpoint.weights == "ema"
    assert same(checkpoint.tensors)


# -- what a checkpoint holds ------------------------------------------------------------------------------------------


def test_sound_files_of_every_kind(save, tmp_path, written):
    paths = [save(ONE), save(ONE, "y", _use_new_zipfile_serialization=False), written(as_safetensors(tmp_path), "z")]
    for path in paths:
        checkpoint = read_checkpoint(path)
        assert same(checkpoint.tensors)
        assert (checkpoint.path, checkpoint.weights) == (path, "")


def test_archives_without_sums_are_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(ONE, tmp_path / "x.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    with zipfile.ZipFile(tmp_path / "x.pt") as archive:
        assert archive.testzip() is not None, "the sums are not those of the records"
    assert same(read_checkpoint(tmp_path / "x.pt").tensors)


OTHER = {key: tensor + 7 for key, tensor in ONE.items()}


def test_averaged_weights_come_first(save):
    path = save({"model": OTHER, "ema": ONE, "opt": {"state": {}}, "epoch": 3, "train_steps": 5})
    averaged, last = read_checkpoint(path), read_checkpoint(path, weights="raw")
    assert same(averaged.tensors, ONE)
    assert same(last.tensors, OTHER)
    assert (averaged.weights, last.weights) == ("ema", "model")


def test_the_last_weights_are_taken_where_there_are_no_averaged_ones(save):
    for content in ({"model": OTHER}, {"model": OTHER, "ema": None}):
        checkpoint = read_checkpoint(save(content))
        assert same(checkpoint.tensors, OTHER)
        assert checkpoint.weights == "model"


def test_raw_without_last_weights(save):
    assert (
        message(save({"ema": ONE}), weights="raw")
        == "holds no 'model', only 'ema'; leave --weights raw out to take that"
    )


def test_an_average_by_its_decay_is_a_run_s_alone(save):
    with pytest.raises(ZooError, match="no checkpoint but a run's says what its averages are; take --weights ema, or"):
        read_checkpoint(save({"ema": ONE}), weights="ema:0.5")


def test_blocks_that_were_compiled_one_by_one_have_their_own_keys(save):
    compiled = {key.replace("b.", "b._orig_mod."): tensor for key, tensor in ONE.items()}
    assert compiled.keys() != ONE.keys()
    assert same(read_checkpoint(save({"ema": compiled})).tensors)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_prefixes_of_ddp_and_compile_are_left_out(prefix, save):
    assert same(read_checkpoint(save({"ema": {f"{prefix}{key}": tensor for key, tensor in ONE.items()}})).tensors)


def test_such_words_inside_a_key_are_kept(save):
    tensors = {"a.module.b": torch.ones(1), "modules.a": torch.ones(2)}
    assert same(read_checkpoint(save(tensors)).tensors, tensors)


NO_WEIGHTS = {
    "tensor": (torch.ones(2), "holds a Tensor, no weights by name"),
    "list": ([torch.ones(2)], "holds a list, no weights by name"),
    "nothing": (None, "holds a NoneType, no weights by name"),
    "empty": ({}, "holds no weights"),
    "empty average": ({"ema": {}, "model": ONE}, "holds no weights"),
    "other words": (
        {"state_dict": ONE, "epoch": 3},
        "holds more than tensors: state_dict (dict), epoch (int); zoo looks for weights by name, or for 'ema' or"
        " 'model' with such",
    ),
    "many values": (
        {"model": {f"k{index}": index for index in range(23)}},
        f"holds more than tensors: {', '.join(f'k{index} (int)' for index in range(20))} and 3 more; zoo looks for"
        " weights by name, or for 'ema' or 'model' with such",
    ),
    "integers": (
        {"a": torch.ones(1), "b": torch.ones(1, dtype=torch.int64), "c": torch.ones(1, dtype=torch.bool)},
        "weights are plain floating point numbers, and these are not: b (torch.int64), c (torch.bool)",
    ),
    "twice": (
        {"a": torch.ones(1), "module.a": torch.ones(1), "b": torch.ones(1), "module.c": torch.ones(1),
         "_orig_mod.c": torch.ones(1)},
        "holds these keys twice, with and without a prefix: a, c",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("content", "expected"), NO_WEIGHTS.values(), ids=list(NO_WEIGHTS))
def test_a_file_without_weights(content, expected, save):
    assert message(save(content)) == expected


STRANGE = {
    "sparse": torch.eye(24).to_sparse(),
    "eight bits": torch.ones(24, 8).to(torch.float8_e4m3fn),
    "without values": torch.ones(24, 8, device="meta"),
}


@pytest.mark.parametrize("tensor", STRANGE.values(), ids=list(STRANGE))
def test_tensors_that_cannot_be_looked_at_are_refused(tensor, save):
    assert message(save({"a": tensor})).startswith("weights are plain floating point numbers, and these are not: a (")


def test_there_is_no_choice_in_a_plain_state_dict(save):
    expected = "holds one set of weights, not averaged and last ones; leave --weights raw out"
    assert message(save(ONE), weights="raw") == expected


def test_an_archive_of_something_else(written):
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("model.pt", as_zip())
    path = written(content.getvalue())
    assert message(path) == "is a zip archive with no checkpoint of torch.save in it; unpack it first"
