"""Where the digits network is kept, so that it is trained once on a machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from zoo.data.cache import cache_file, keep_cached, read_cached
from zoo.evaluate.digits_network import DigitsNetwork, Training, train_network


def cached_network(training: Training) -> DigitsNetwork:
    """The trained network: from the cache if it is there and sound, else trained, and put there if that can be done."""
    file = network_file(training)
    found = read_cached(file, _network)
    if found is not None:
        return found
    network = train_network(training)
    keep_cached([file], network.state_dict(), "the digits network is trained anew")
    return network


def network_file(training: Training) -> Path | None:
    """Where a network is kept; None where zoo has no cache."""
    return cache_file("digits-network", {**asdict(training), "torch": torch.__version__})


def _network(tensors: Mapping[str, Tensor], _: Mapping[str, str]) -> DigitsNetwork:
    with torch.device("meta"):  # where initialising draws no random numbers
        network = DigitsNetwork()
    network.load_state_dict(dict(tensors), assign=True)
    return network.eval().requires_grad_(False)
