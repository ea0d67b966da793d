"""The training of the digits network: the same every time, and nobody else notices."""

from dataclasses import replace
from functools import cache

import pytest
import torch

from zoo.evaluate.digits_network import TRAINING, _shifted, digits_of, held_out_accuracy, train_network

SHORT = replace(TRAINING, steps=12)


def weights(network):
    return torch.cat([tensor.flatten().double() for tensor in network.state_dict().values()])


def test_equal_training_gives_equal_weights_whatever_the_threads():
    before = torch.get_num_threads()
    one = weights(train_network(SHORT))
    torch.set_num_threads(2)
    try:
        other = weights(train_network(SHORT))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert torch.equal(one, other)


@cache
def short():
    return weights(train_network(SHORT))


@pytest.mark.parametrize("change", [{"seed": 1}, {"steps": 11}, {"shift": 0}, {"learning_rate": 1e-3}, {"batch": 32}])
def test_all_that_training_names_matters(change):
    assert not torch.equal(short(), weights(train_network(replace(SHORT, **change))))


def test_random_state_is_left_as_it_was():
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    train_network(SHORT)
    assert torch.equal(torch.rand(3), wanted)


def test_it_trains_on_the_cpu_whatever_the_default_device():
    with torch.device("meta"):
        network = train_network(SHORT)
    assert {each.device.type for each in network.state_dict().values()} == {"cpu"}


def test_it_is_small_and_learns_fast():
    network = train_network(replace(TRAINING, steps=60))
    assert 20_000 <= sum(each.numel() for each in network.parameters()) <= 60_000
    assert held_out_accuracy(network) >= 0.9


def test_the_digits_are_zoos_own():
    (train, _), (held_out, _) = digits_of("train"), digits_of("held_out")
    assert (train.shape, held_out.shape) == ((1198, 1, 16, 16), (599, 1, 16, 16))


def test_every_picture_is_moved_by_its_own_whole_pixels():
    torch.manual_seed(0)
    pictures = torch.full((500, 1, 5, 7), -1.0)
    pictures[:, :, 2, 3] = 1.0
    moved = _shifted(pictures, 1)
    assert moved.shape == pictures.shape
    assert ((moved == 1.0).sum(dim=(1, 2, 3)) == 1).all()
    places = (moved[:, 0] == 1.0).nonzero()[:, 1:].tolist()
    assert {tuple(place) for place in places} == {(row, column) for row in (1, 2, 3) for column in (2, 3, 4)}
