"""How products of float32 tensors are computed on a GPU; what PyTorch is told shows without one, too."""

import pytest
import torch

from zoo.devices import products_in_float32, same_convolutions


def told():
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch):
    before = torch.get_float32_matmul_precision()
    for name in ("allow_tf32", "benchmark", "deterministic"):
        monkeypatch.setattr(torch.backends.cudnn, name, getattr(torch.backends.cudnn, name))
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


@pytest.mark.parametrize("before", [(True, False), (False, True)])
def test_convolutions_are_the_same_and_then_as_they_were(before):
    cudnn = torch.backends.cudnn
    cudnn.benchmark, cudnn.deterministic = before
    with same_convolutions(torch.device("cpu")):
        assert (cudnn.benchmark, cudnn.deterministic) == before
    with pytest.raises(KeyError), same_convolutions(torch.device("cuda")):  # noqa: PT012
        assert (cudnn.benchmark, cudnn.deterministic) == (False, True)
        raise KeyError
    assert (cudnn.benchmark, cudnn.deterministic) == before
