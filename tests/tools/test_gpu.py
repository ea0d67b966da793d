"""The GPU's measurements on a CPU, in sizes that tell nothing: that they run, and what they make of a profile."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import gpu
import gpu_kernels
import pytest
import torch
from torch.autograd import DeviceType


@pytest.mark.parametrize("part", ["ceilings", "step:hybrid_xl:eager", "train:hybrid_xl:eager", "draw:hybrid_xl:eager"])
def test_a_part_is_measured(tmp_path, part):
    gpu.measure(tmp_path / "figures.jsonl", [part], gpu.Machine(torch.device("cpu"), gpu.SMALL, tmp_path))
    (line,) = map(json.loads, (tmp_path / "figures.jsonl").read_text().splitlines())
    assert line["part"] == part
    assert "error" not in line
    assert line.get("images_s", line.get("tflops")) > 0


def test_what_a_file_has_is_not_measured_again(tmp_path, monkeypatch):
    tried = []
    monkeypatch.setattr(gpu, "parts", lambda: {"a": tried.append, "b": lambda machine: {"images_s": 1.0}})
    (tmp_path / "figures.jsonl").write_text('{"part": "a"}\n')
    gpu.measure(tmp_path / "figures.jsonl", [], gpu.Machine(torch.device("cpu"), gpu.SMALL, tmp_path))
    assert tried == []
    assert [json.loads(line)["part"] for line in (tmp_path / "figures.jsonl").read_text().splitlines()] == ["a", "b"]


def test_what_fails_is_noted_and_the_rest_is_measured(tmp_path, monkeypatch):
    def fail(machine: Any) -> dict[str, Any]:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(gpu, "parts", lambda: {"a": fail, "b": lambda machine: {"images_s": 1.0}})
    gpu.measure(tmp_path / "figures.jsonl", [], gpu.Machine(torch.device("cpu"), gpu.SMALL, tmp_path))
    first, second = map(json.loads, (tmp_path / "figures.jsonl").read_text().splitlines())
    assert first["error"] == "RuntimeError: out of memory"
    assert second["images_s"] == 1.0


def event(name: str, us: float = 0.0, *, device: DeviceType = DeviceType.CUDA, annotation: bool = False) -> Any:
    took = SimpleNamespace(elapsed_us=lambda: us)
    return SimpleNamespace(name=name, device_type=device, is_user_annotation=annotation, time_range=took)


def test_a_profile_is_told_by_kind():
    events = [
        event("nvjet_tst_128x256", 2000.0),
        event("void pytorch_flash::flash_fwd_kernel", 1000.0),
        event("triton_poi_fused__scaled_dot_product_flash_attention_0", 500.0),  # names what it fuses
        event("multi_tensor_apply_kernel", 300.0),
        event("Memcpy HtoD (Pageable -> Device)", 200.0),
        event("Optimizer.step#AdamW.step", 9000.0, annotation=True),  # spans kernels that are counted already
        event("cudaStreamSynchronize", device=DeviceType.CPU),
        event("aten::mm", device=DeviceType.CPU),
    ]
    found = gpu_kernels.told(events, seconds=0.004, steps=2)
    assert found["kernels"] == 2.5
    assert found["kernel_ms"] == {"products": 1.0, "attention": 0.5, "others": 0.25, "optimizer": 0.15, "copies": 0.1}
    assert found["idle"] == pytest.approx(0.5)
    assert found["host"] == {"pageable copies": 0.5, "cudaStreamSynchronize": 0.5}


def test_the_table_counts_model_flops():
    line = {"device": "NVIDIA H200", "macs": 1e9, "images_s": 16484.0, "kernels": 10.0, "idle": 0.25, "peak_gb": 3.14}
    measured = {"part": "train:sit_xl:eager", **line, "kernel_ms": {"products": 3.0, "others": 1.5}}
    row = gpu.table([{"part": "ceilings"}, {"part": "step:sit_xl:eager", "error": "no"}, measured]).splitlines()[-1]
    assert row == "| train:sit_xl:eager | 16484 | 10% | 3, 0, 2, 0 | 10 | 25% | 3.1 |"


def test_without_a_gpu_a_line_says_so(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["gpu.py"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main() == 2
    assert capsys.readouterr().out.startswith("gpu.py: there is no GPU that this PyTorch can use;")
