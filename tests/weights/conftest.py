"""Checkpoints as others write them."""

import pytest
import torch


@pytest.fixture
def save(tmp_path):
    """Writes what torch.save writes."""

    def do(content, name="x.pt", **how):
        torch.save(content, tmp_path / name, **how)
        return tmp_path / name

    return do
