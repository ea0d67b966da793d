"""What every test finds."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import settings

from tests.dealing import dealt


@pytest.mark.parametrize("time", ["once", "again"])
def test_global_generators_start_anew(time):
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(0)))
    assert np.random.random() == np.random.RandomState(0).random()


def test_threads_are_set_for_this_process_and_for_those_that_it_starts():
    assert torch.get_num_threads() == int(os.environ["OMP_NUM_THREADS"])


def test_examples_are_the_same_every_time_or_those_of_a_seed(pytestconfig):
    assert settings().derandomize is (pytestconfig.getoption("--hypothesis-seed") is None)
    assert settings().database is None


def test_each_worker_begins_with_a_test_that_takes_long_and_keeps_the_order_of_others():
    def item(name, *limit):
        return SimpleNamespace(name=name, get_closest_marker=lambda _: SimpleNamespace(args=limit) if limit else None)

    items = [item(*each) for each in (("a",), ("long", 600), ("b", 10), ("c",), ("longest", 900), ("d",))]
    assert [each.name for each in dealt(items, 2, 300.0)] == ["longest", "a", "b", "long", "c", "d"]
    assert sorted(each.name for each in dealt(items, 5, 300.0)) == sorted(each.name for each in items)
