"""Tests that need a GPU; without one each is skipped, and says so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from jaxtyping import config

HERE = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "gpu" in item.path.parts:
            item.add_marker(HERE)


@pytest.fixture
def no_checks_of_shapes() -> Iterator[None]:
    """Of tensors in annotations: torch.compile cannot trace them."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)
