"""Where tensors are made and in what type, as a user asks for it: one line where that cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from zoo.errors import ZooError, first_line

Module = TypeVar("Module", bound=nn.Module)


def usable_device(device: torch.device | str | None) -> torch.device:
    """The device, on which a tensor can be made here; PyTorch's default if left out.

    Raises:
        ZooError: there is no such device.
    """
    if device is None:
        return torch.get_default_device()
    with refusing_device(device):
        found = named_device(device)
        torch.empty(0, device=found)
    return found


def check_dtype(dtype: torch.dtype | None) -> None:
    """Refuse what is no dtype.

    Raises:
        ValueError: it is a dtype's name, or anything else.
    """
    if not isinstance(dtype, torch.dtype | None):
        raise ValueError(f"dtype: give a torch.dtype, such as torch.bfloat16, not {dtype!r}")


def cast_weights(module: Module, dtype: torch.dtype, own: torch.dtype | None = None) -> Module:
    """The module with its weights, and all that is in their dtype, in another one; it is changed in place.

    Tables that a part made wider or complex on purpose stay so: ``Module.to`` would round them, or drop their imaginary
    part.

    Args:
        module: to cast.
        dtype: of the weights afterwards.
        own: theirs before; that of the first of them if left out.
    """
    own = own or next((parameter.dtype for parameter in module.parameters()), dtype)
    cast: Module = module._apply(  # type: ignore[no-untyped-call]
        lambda tensor: tensor.to(dtype) if tensor.dtype == own else tensor
    )
    return cast


def named_device(name: torch.device | str) -> torch.device:
    """The device of a name, as PyTorch reads it; no tensor is made there.

    Raises:
        RuntimeError: no device has such a name, or there is no GPU.
    """
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("there is no GPU that this PyTorch can use; leave the device out, and the CPU is used")
    return device


class _NothingDrawn(TorchFunctionMode):
    """On the meta device PyTorch's ``normal_`` and ``uniform_`` are written in Python, and the first imports the
    compiler: 80 MB, most of a second.

    Tensors without numbers stay as they are without that.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (Tensor.normal_, Tensor.uniform_, nn.init.normal_, nn.init.uniform_):
            tensor = args[0] if args else kwargs["tensor"]
            if tensor.is_meta:
                return tensor
        return func(*args, **kwargs)


@contextmanager
def meta_device() -> Iterator[None]:
    """Make modules on the meta device, where nothing is allocated or drawn."""
    with torch.device("meta"), _NothingDrawn():
        yield


@contextmanager
def set_aside() -> Iterator[None]:
    """Within, PyTorch is as it starts, whatever it is told around: gradients are kept, nothing is autocast, and tensors
    are made in float32 on the CPU."""
    before = torch.get_default_dtype()
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        for device in filter(torch.is_autocast_enabled, ("cpu", "cuda")):
            stack.enter_context(torch.autocast(device, enabled=False))
        if torch.get_default_device().type != "cpu":  # else it would cost all that is called within
            stack.enter_context(torch.device("cpu"))
        stack.callback(torch.set_default_dtype, before)
        torch.set_default_dtype(torch.float32)
        yield


@contextmanager
def products_in_float32(how: str, device: torch.device) -> Iterator[None]:
    """Within, matrix products and convolutions of float32 tensors on a GPU are as asked.

    Args:
        how: ``ieee``, or ``tf32``: inputs are rounded to 10 bits behind the point, and sums are float32.
        device: elsewhere than on a GPU both are the same.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if how == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = how == "tf32"  # which PyTorch does, unless told otherwise
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


@contextmanager
def same_convolutions(device: torch.device) -> Iterator[None]:
    """Within, a GPU takes for convolutions of one shape always the same algorithm, whatever the process has chosen."""
    if device.type != "cuda":
        yield
        return
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before


@contextmanager
def refusing_device(name: object) -> Iterator[None]:
    """Tell in one line what PyTorch raises, in many ways, where a device cannot be used.

    Raises:
        ZooError: in place of it.
    """
    try:
        yield
    except (RuntimeError, AssertionError, AttributeError, ImportError, TypeError) as error:
        raise ZooError(f"device {name}: cannot be used: {first_line(error)}") from error
