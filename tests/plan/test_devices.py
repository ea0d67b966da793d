"""Devices by name and from files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.plan.test_model import GPU
from zoo.errors import ZooError
from zoo.plan import known_devices, load_device, measure, measuring


@pytest.mark.parametrize("name", known_devices())
def test_known_ones_promise_no_more_than_their_data_sheets(name: str) -> None:
    device = load_device(name.upper())
    assert device.peak is not None
    assert device.float32 < device.bfloat16 < device.peak
    assert device.source


def test_a_name_that_is_meant_is_told() -> None:
    with pytest.raises(ZooError, match=r"--gpu h10: no such device; did you mean 'h100'\?"):
        load_device("h10")


def test_a_file_holds_what_was_written(tmp_path: Path) -> None:
    GPU.write(tmp_path / "gpu.json")
    assert load_device(str(tmp_path / "gpu.json")) == GPU


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "is no device's"),
        ("[]", "it: "),
        (json.dumps(GPU.model_dump() | {"bandwidth": 0}), "bandwidth: Input should be greater than 0"),
        (json.dumps(GPU.model_dump() | {"bandwidth": float("nan")}), "bandwidth: "),
        (json.dumps(GPU.model_dump() | {"speed": 1}), "speed: Extra inputs"),
        (json.dumps({"name": "x"}), "memory: Field required"),
    ],
)
def test_what_is_no_device_is_refused(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "gpu.json"
    path.write_text(text)
    with pytest.raises(ZooError) as caught:
        load_device(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert why in str(caught.value)
    assert "zoo plan --measure" in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="cannot be read: No such file"):
        load_device(str(tmp_path / "gpu.json"))


def test_measuring_tells_what_it_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of next to nothing: how fast anything is, is not asked."""
    for name, value in (("WIDTH", 16), ("HEADS", 2), ("TOKENS", 32), ("LONG", 0.0)):
        monkeypatch.setattr(measuring, name, value)
    told: list[str] = []
    device = measure(torch.device("cpu"), told.append)
    assert told == ["products", "copies", "elementwise operators", "attention", "small operators"]
    assert not device.beside
    assert device.peak is None
    assert device.model_validate_json(device.model_dump_json()) == device
