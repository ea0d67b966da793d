"""The cache of the digits network: trained once, never trusted blindly, never in the way."""

import warnings
from dataclasses import fields, replace

import pytest
import torch

from tests.distributed.ranks import run_ranks
from zoo.data.fingerprint import sha256_of
from zoo.evaluate.digits_cache import cached_network, network_file
from zoo.evaluate.digits_network import TRAINING, train_network

SHORT = replace(TRAINING, steps=3)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "zoo"


@pytest.fixture
def trainings(monkeypatch):
    made = []

    def train(training):
        made.append(training)
        return train_network(training)

    monkeypatch.setattr("zoo.evaluate.digits_cache.train_network", train)
    return made


def digest(network):
    return sha256_of(network.state_dict())


def test_it_is_trained_once(cache, trainings):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one, other = cached_network(SHORT), cached_network(SHORT)
    assert trainings == [SHORT]
    assert digest(one) == digest(other)
    assert not other.training
    assert not any(each.requires_grad for each in other.parameters())
    assert [each.name for each in cache.iterdir()] == [network_file(SHORT).name]


def test_random_state_is_left_as_it_was():
    torch.manual_seed(5)
    wanted = torch.rand(3)
    for _ in range(2):  # trained, and read
        torch.manual_seed(5)
        cached_network(SHORT)
        assert torch.equal(torch.rand(3), wanted)


def test_the_name_of_the_file_depends_on_all_that_the_weights_do(monkeypatch):
    names = {network_file(SHORT)}
    for field in fields(SHORT):
        names.add(network_file(replace(SHORT, **{field.name: getattr(SHORT, field.name) + 1})))
    monkeypatch.setattr(torch, "__version__", "9.9.9")
    names.add(network_file(SHORT))
    assert len(names) == len(fields(SHORT)) + 2


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert network_file(SHORT).parent == tmp_path / "home" / ".cache" / "zoo"


def flip_a_weight(content):
    return content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_weight,
        lambda content: content[:-100],
        lambda content: b"",
        lambda content: b"not a safetensors file",
        lambda content: content.replace(b'"sha256"', b'"sha257"'),
        lambda content: content.replace(b"head.bias", b"head.bios"),
    ],
    ids=["a weight", "cut off", "empty", "text", "no hash", "another name"],
)
def test_a_damaged_file_is_made_anew(trainings, damage):
    sound = digest(cached_network(SHORT))
    file = network_file(SHORT)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.warns(UserWarning, match=r"digits-network-\w+.safetensors: cannot be used, and is made anew: "):
        again = cached_network(SHORT)
    assert digest(again) == sound
    assert len(trainings) == 2
    assert digest(cached_network(SHORT)) == sound
    assert len(trainings) == 2


def test_a_folder_where_the_file_should_be(trainings):
    network_file(SHORT).mkdir(parents=True)
    with (
        pytest.warns(UserWarning, match="cannot be used, and is made anew"),
        pytest.warns(UserWarning, match="is trained anew every time"),
    ):
        cached_network(SHORT)
    assert trainings == [SHORT]


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="the digits network is trained anew every time: .*Not a directory"):
        network = cached_network(SHORT)
    assert digest(network) == digest(train_network(SHORT))


def hashes(world):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return [digest(cached_network(replace(TRAINING, steps=steps))) for steps in (1, 2, 3)]


def test_two_processes_at_once_do_no_harm(cache):
    one, other = run_ranks(hashes, 2)
    assert one == other
    assert one[2] == digest(cached_network(SHORT))
    assert len(list(cache.iterdir())) == 3
