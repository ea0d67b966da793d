"""Memory for copies: kept while the tensors keep their shapes, and each tensor in a place of its own."""

import pytest
import torch

from zoo.runs import staging
from zoo.runs.staging import Staging

FILES = {
    "model": {"weight": torch.arange(6.0).reshape(2, 3), "half": torch.ones(5).bfloat16(), "none": torch.empty(0, 3)},
    "optimizer": {"step": torch.tensor(3.0), "flag": torch.tensor([True, False]), "wide": torch.ones(9).double()},
}


def copied(held, files=FILES):
    places = held.places(files)
    for file, tensors in files.items():
        for name, tensor in tensors.items():
            places[file][name].copy_(tensor)
    return places


@pytest.mark.parametrize("slab", [1, 128, staging.SLAB])
def test_each_tensor_has_its_place(slab, monkeypatch):
    monkeypatch.setattr(staging, "SLAB", slab)
    places = copied(Staging(torch.device("cpu")))
    for file, tensors in FILES.items():
        assert places[file].keys() == tensors.keys()
        for name, tensor in tensors.items():
            found = places[file][name]
            assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
            assert torch.equal(found, tensor)


def test_it_is_kept_until_shapes_change():
    held = Staging(torch.device("cpu"))
    before = copied(held)
    assert held.places(FILES)["model"]["weight"] is before["model"]["weight"]
    assert held.places({"model": FILES["model"]})["model"]["weight"] is before["model"]["weight"]
    assert held.places(FILES)["optimizer"]["step"] is before["optimizer"]["step"]
    grown = copied(held, {"optimizer": {**FILES["optimizer"], "late": torch.ones(3)}})
    assert grown["optimizer"]["late"].tolist() == [1.0] * 3
    assert held.places(FILES)["model"]["weight"] is before["model"]["weight"]


def test_without_memory_nothing_is_kept(monkeypatch):
    held = Staging(torch.device("cpu"))
    before = copied(held)

    def refuse(*_, **__):
        raise RuntimeError("can't allocate memory")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "empty", refuse)
        assert held.places({**FILES, "ema": FILES["model"]}) is None
    assert held.places(FILES)["model"]["weight"] is not before["model"]["weight"]


def test_what_fails_otherwise_is_no_lack_of_memory(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch, "empty", fail)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        Staging(torch.device("cpu")).places(FILES)
