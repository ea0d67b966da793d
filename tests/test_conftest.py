"""What every test finds."""

import os

import numpy as np
import pytest
import torch
from hypothesis import settings


@pytest.mark.parametrize("time", ["once", "again"])
def test_global_generators_start_anew(time):
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(0)))
    assert np.random.random() == np.random.RandomState(0).random()


def test_threads_are_set_for_this_process_and_for_those_that_it_starts():
    assert torch.get_num_threads() == int(os.environ["OMP_NUM_THREADS"])


def test_examples_are_the_same_every_time_or_those_of_a_seed(pytestconfig):
    assert settings().derandomize is (pytestconfig.getoption("--hypothesis-seed") is None)
    assert settings().database is None
