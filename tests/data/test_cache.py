"""Tensors that are kept on a machine; what a cache is of is tested where it is used."""

from pathlib import Path

import pytest
import torch

from zoo.data.cache import cache_file, keep_cached, read_cached


def refuse():
    raise RuntimeError("Could not determine home directory.")


def both(tensors, notes):
    return tensors, notes


def test_without_a_home_nothing_is_kept(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", refuse)
    file = cache_file("numbers", {})
    assert file is None
    assert read_cached(file, both) is None
    with pytest.warns(UserWarning, match=r"^numbers are made every time: there is no home folder; set XDG_CACHE_HOME$"):
        keep_cached([file], {"a": torch.zeros(1)}, "numbers are made")


def test_the_first_place_that_can_be_written_keeps_them(tmp_path):
    (tmp_path / "file").touch()
    keep_cached([None, tmp_path / "file" / "a", tmp_path / "b"], {"a": torch.arange(3)}, "", {"of": "some"})
    tensors, notes = read_cached(tmp_path / "b", both)
    assert tensors["a"].tolist() == [0, 1, 2]
    assert notes == {"of": "some"}


def test_a_byte_that_changes_is_told_wherever_it_is(tmp_path):
    file = tmp_path / "kept"
    keep_cached([file], {"a": torch.arange(2), "b": torch.zeros(1)}, "", {"of": "some"})
    whole = file.read_bytes()
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.warns(UserWarning, match="cannot be used, and is made anew: "):
            assert read_cached(file, both) is None
