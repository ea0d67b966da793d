"""Operators in seconds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from zoo.plan.devices import Device
from zoo.plan.model import KERNELS, Time, time_of
from zoo.plan.operations import Operation

GPU = Device(
    name="a gpu",
    memory=80,
    peak=200,
    bfloat16=100,
    float32=10,
    tf32=40,
    attention=0.5,
    tile=100,
    bandwidth=1,
    eager=0.5,
    joined=0.8,
    product_us=10,
    kernel_us=20,
    host_us=30,
)
CPU = GPU.model_copy(update={"beside": False})
PRODUCT = Operation("mm", "product", 1e12, torch.bfloat16, {0: 1000}, {1: 1000})
ATTENTION = Operation("sdpa", "attention", 1e12, torch.bfloat16, {0: 10}, {1: 10}, (50, 200))
OTHERS = [Operation("add", "other", 0, torch.float32, {n: 10**9}, {n + 1: 10**9}) for n in (1, 2)]
UPDATE = Operation("_fused_adamw_", "update", 0, torch.float32, {0: 10**9}, {0: 10**9})


def test_a_product_takes_its_multiply_adds() -> None:
    assert time_of([PRODUCT], GPU).products == pytest.approx(1 / 100 + 10e-6)
    assert time_of([replace(PRODUCT, dtype=torch.float32)], GPU).products == pytest.approx(1 / 10 + 10e-6)


def test_a_product_of_float32_tensors_is_faster_in_tf32_where_there_is_such_a_thing() -> None:
    product = replace(PRODUCT, dtype=torch.float32)
    assert time_of([product], GPU, tf32=True).products == pytest.approx(1 / 40 + 10e-6)
    assert time_of([PRODUCT], GPU, tf32=True) == time_of([PRODUCT], GPU)
    without = GPU.model_copy(update={"tf32": None})
    assert time_of([product], without, tf32=True) == time_of([product], GPU)


def test_or_its_bytes() -> None:
    assert time_of([replace(PRODUCT, read={0: 10**12})], GPU).products == pytest.approx(1, rel=1e-3)


def test_attention_takes_whole_tiles() -> None:
    assert time_of([ATTENTION], GPU).attention == pytest.approx(2 / 50 + 10e-6)
    assert time_of([replace(ATTENTION, tokens=(100, 200))], GPU).attention == pytest.approx(1 / 50 + 10e-6)


def test_elementwise_operators_take_their_bytes_and_less_where_they_are_joined() -> None:
    assert time_of(OTHERS, GPU).others == pytest.approx(4e-3 / 0.5)
    kernels = round(KERNELS * 2)
    assert time_of(OTHERS, GPU, compiled=True).others == pytest.approx(2e-3 / 0.8 + kernels * 20e-6)


def test_an_update_streams_all_weights() -> None:
    assert time_of([UPDATE], GPU).update == pytest.approx(2e-3)


def test_a_host_is_at_work_beside_a_gpu_and_in_turn_with_itself() -> None:
    tiny = [replace(each, read={0: 1}, written={1: 1}) for each in OTHERS]
    assert time_of(tiny, GPU).total == pytest.approx(60e-6)
    assert time_of([PRODUCT], GPU).total == pytest.approx(1 / 100 + 10e-6)
    assert time_of([PRODUCT], CPU).total == pytest.approx(1 / 100 + 40e-6)


def test_times_add_up() -> None:
    both = time_of([PRODUCT], GPU) + time_of([UPDATE], GPU)
    assert both == time_of([PRODUCT, UPDATE], GPU)
    assert both.times(2) == Time(
        *(2 * getattr(both, name) for name in ("products", "attention", "others", "update", "host")), 4
    )
