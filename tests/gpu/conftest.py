"""Tests that need a GPU; without one each is skipped, and says so."""

from __future__ import annotations

import pytest
import torch

HERE = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "gpu" in item.path.parts:
            item.add_marker(HERE)
