"""How products of float32 tensors are computed on a GPU; what PyTorch is told shows without one, too."""

import pytest
import torch

from zoo.devices import products_in_float32


def told():
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch):
    before = torch.get_float32_matmul_precision()
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", torch.backends.cudnn.allow_tf32)
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("before", [("highest", True), ("high", False)])
@pytest.mark.parametrize(("how", "within"), [("ieee", ("highest", False)), ("tf32", ("high", True))])
def test_pytorch_is_told_and_told_again_what_it_was(how, within, before):
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]
    with pytest.raises(KeyError), products_in_float32(how, torch.device("cuda")):  # noqa: PT012
        assert told() == within
        raise KeyError
    assert told() == before


def test_elsewhere_nothing_changes():
    before = told()
    with products_in_float32("tf32", torch.device("cpu")):
        assert told() == before
