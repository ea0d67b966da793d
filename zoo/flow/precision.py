"""Noise levels as floating-point numbers: the precision that they are compared in, and the next one."""

from __future__ import annotations

import math

import torch


def clock_dtype(dtype: torch.dtype) -> torch.dtype:
    """What noise levels are given to the backbone in, beside latents of ``dtype``: at least float32."""
    return torch.promote_types(dtype, torch.float32)


def widest_dtype(device: torch.device) -> torch.dtype:
    """The widest floating-point numbers that a device computes with: Apple's GPUs have no float64."""
    return torch.float32 if device.type in WITHOUT_FLOAT64 else torch.float64


WITHOUT_FLOAT64 = frozenset({"mps"})


def just_above(value: float, dtype: torch.dtype) -> float:
    """The smallest number of ``dtype`` above ``value``, as ``dtype`` rounds it."""
    return _next(value, math.inf, dtype)


def just_below(value: float, dtype: torch.dtype) -> float:
    """The largest number of ``dtype`` below ``value``, as ``dtype`` rounds it."""
    return _next(value, -math.inf, dtype)


def _next(value: float, towards: float, dtype: torch.dtype) -> float:
    return float(torch.nextafter(torch.tensor(value, dtype=dtype), torch.tensor(towards, dtype=dtype)))
