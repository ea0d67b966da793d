"""What checkpoints of others hold: averaged weights or the last ones, prefixes of wrappers, or no weights."""

import argparse
import zipfile

import pytest
import torch

from tests.weights.checkpoints import ONE, as_safetensors, message, same
from zoo.errors import ZooError
from zoo.weights import read_checkpoint


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
    "tensor": (torch.ones(2), "holds a Tensor, no weights by name; give a checkpoint of torch.save or safetensors"),
    "list": ([torch.ones(2)], "holds a list, no weights by name; give a checkpoint of torch.save or safetensors"),
    "nothing": (None, "holds a NoneType, no weights by name; give a checkpoint of torch.save or safetensors"),
    "empty": ({}, "holds no weights; give a checkpoint that does"),
    "empty average": ({"ema": {}, "model": ONE}, "holds no weights; give a checkpoint that does"),
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
        "weights must be plain floating point numbers, and these are not: b (torch.int64), c (torch.bool)",
    ),
    "twice": (
        {"a": torch.ones(1), "module.a": torch.ones(1), "b": torch.ones(1), "module.c": torch.ones(1),
         "_orig_mod.c": torch.ones(1)},
        "holds these keys twice, with and without a prefix: a, c; leave one of each out",
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
    assert message(save({"a": tensor})).startswith(
        "weights must be plain floating point numbers, and these are not: a ("
    )


def test_there_is_no_choice_in_a_plain_state_dict(save):
    expected = "holds one set of weights, not averaged and last ones; leave --weights raw out"
    assert message(save(ONE), weights="raw") == expected
