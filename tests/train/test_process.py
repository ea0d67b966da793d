"""What is the process's is put back, whatever a plug-in has put in its place, and however it ends."""

import io
import os
import sys

import pytest
import torch

from zoo.train.process import put_back


class Contrary(io.StringIO):
    """Stands for a stream, and compares with nothing."""

    __hash__ = None

    def __eq__(self, other):
        raise RuntimeError


def test_all_is_put_back_though_some_cannot_be_compared_and_some_cannot_be_put(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    before, threads = sys.stdout, torch.get_num_threads()
    with put_back() as changed:
        os.chdir(tmp_path)
        gone.rmdir()
        sys.stdout = Contrary()
        torch.set_num_threads(threads + 1)
    assert sys.stdout is before
    assert torch.get_num_threads() == threads
    assert changed == ["sys.stdout", "the number of PyTorch's threads"]


def test_it_is_put_back_where_somebody_asks_to_end():
    def interrupted():
        torch.set_grad_enabled(False)
        torch.set_default_device("meta")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), put_back() as changed:
        interrupted()
    assert torch.is_grad_enabled()
    assert torch.empty(1).device.type == "cpu"
    assert changed == ["whether gradients are computed", "PyTorch's default device"]
