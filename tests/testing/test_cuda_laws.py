"""The law of CUDA where there is none, and with another device in its place."""

import pytest
import torch

from tests.testing.broken.modules import OnTheCPU, Sound
from zoo.registry import part
from zoo.testing import check_part
from zoo.testing import laws as all_laws
from zoo.testing.law import NotRun
from zoo.testing.laws import cuda_device, runs_on_cuda


def test_without_a_device_the_law_is_not_run(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(NotRun, match="no CUDA device"):
        cuda_device()
    check_part(OnTheCPU, laws=[runs_on_cuda], examples=1)


def test_with_one_the_law_is_tried_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert cuda_device() == "cuda"


def test_what_comes_out_on_another_device_is_told(monkeypatch):
    monkeypatch.setattr(all_laws, "cuda_device", lambda: "meta")
    with pytest.raises(AssertionError, match="returns a tensor on cpu for inputs on meta"):
        check_part(OnTheCPU, laws=[runs_on_cuda], examples=1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_sound_part_keeps_the_law_on_a_device():
    check_part(part("time_embedder", "sound")(Sound), laws=[runs_on_cuda])
