"""How long operators take on a device: products by their multiply-adds, all else by the bytes that it moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, prod

import torch

from zoo.plan.devices import Device
from zoo.plan.operations import Operation, joined_bytes

KERNELS = 0.65
"""Of elementwise operators of an eager pass, how many kernels a compiled one has of them. Measured on an H200 for
SiT-XL/2 and Hybrid-XL: 0.72 and 0.63."""

SECONDS = ("products", "attention", "others", "update", "host")


@dataclass(frozen=True)
class Time:
    """What some operators take, in seconds.

    Attributes:
        products: of matrices, and convolutions.
        attention: fused.
        others: elementwise, norms, sums and copies.
        update: of all weights at once.
        host: that it takes to ask for all of them.
        operators: how many.
        beside: whether the host asks while the device is at work; CPUs do one after the other.
    """

    products: float = 0.0
    attention: float = 0.0
    others: float = 0.0
    update: float = 0.0
    host: float = 0.0
    operators: int = 0
    beside: bool = True

    @property
    def device(self) -> float:
        """That the device is at work."""
        return self.products + self.attention + self.others + self.update

    @property
    def total(self) -> float:
        """Of device and host, where they work at the same time, the one that takes longer; else both."""
        return max(self.device, self.host) if self.beside else self.device + self.host

    def shared(self, devices: int) -> Time:
        """Where each device does its share, and each host asks for all of it."""
        return replace(self, **{name: getattr(self, name) / devices for name in SECONDS if name != "host"})

    def times(self, factor: float) -> Time:
        """That of as many."""
        return replace(
            self,
            **{name: getattr(self, name) * factor for name in SECONDS},
            operators=round(self.operators * factor),
        )

    def __add__(self, other: Time) -> Time:
        """That of both on one device."""
        return replace(
            self,
            **{name: getattr(self, name) + getattr(other, name) for name in SECONDS},
            operators=self.operators + other.operators,
        )


def time_of(operations: Sequence[Operation], device: Device, *, compiled: bool = False, tf32: bool = False) -> Time:
    """The time of operators that run one after another.

    Args:
        operations: of a pass, or of an update.
        device: on which.
        compiled: join elementwise operators that stand together.
        tf32: take products of float32 tensors in TF32, where the device has it.
    """
    bandwidth = device.bandwidth * 1e12
    products = attention = update = 0.0
    others = [each for each in operations if each.kind == "other"]
    float32 = (device.tf32 if tf32 else None) or device.float32
    for each in operations:
        rate = 1e12 * (device.bfloat16 if each.dtype in (torch.bfloat16, torch.float16) else float32)
        moving = each.bytes / bandwidth
        if each.kind == "product":
            products += max(each.flops / rate, moving) + device.product_us / 1e6
        elif each.kind == "attention":
            whole = prod(ceil(tokens / device.tile) * device.tile / tokens for tokens in each.tokens)
            attention += max(each.flops * whole / (rate * device.attention), moving) + device.product_us / 1e6
        elif each.kind == "update":
            update += moving
    if compiled:
        kernels = round(KERNELS * len(others))
        elementwise = joined_bytes(operations) / (bandwidth * device.joined) + kernels * device.kernel_us / 1e6
    else:
        kernels = len(others)
        elementwise = sum(each.bytes for each in others) / (bandwidth * device.eager)
    operators = len(operations) - len(others) + kernels
    return Time(products, attention, elementwise, update, operators * device.host_us / 1e6, operators, device.beside)
