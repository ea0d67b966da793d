"""Why a stage could not be traced: a part that fails whoever runs it, or one that runs and does not trace."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from zoo.backbone import Backbone
from zoo.errors import first_line, line_in, text_of
from zoo.labels import Labels
from zoo.parts.module_part import ModulePart
from zoo.parts.values import Group


def why_untraceable(backbone: Backbone, stage: int, inputs: tuple[Tensor, Tensor, Labels], error: Exception) -> str:
    """Run the stage again, without a trace, and tell whose error it is.

    Args:
        backbone: on the meta device. It is left with hooks, which the caller takes off.
        stage: its number.
        inputs: of ``forward_stage``.
        error: with which the trace ended.
    """
    running = _watch(backbone)
    try:
        backbone.forward_stage(stage, *inputs)
    except Exception as own:
        if not _is_of_the_meta_device(own):
            return _own_error(backbone, stage, running, own)
    return does_not_trace(backbone, f"stage {stage}", error)


Call = tuple[nn.Module, tuple[Any, ...], dict[str, Any]]


def _watch(backbone: Backbone) -> list[Call]:
    """The calls of modules that have begun and not ended, the innermost last."""
    running: list[Call] = []

    def begin(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        running.append((module, inputs, named))

    def end(module: nn.Module, inputs: Any, output: Any) -> None:
        running.pop()

    for module in backbone.modules():
        if not isinstance(module, torch.jit.ScriptModule):  # which take no hooks
            module.register_forward_pre_hook(begin, with_kwargs=True)
            module.register_forward_hook(end)
    return running


def _is_of_the_meta_device(error: Exception) -> bool:
    """Whether a pass with values might go through: an operator has no shape rule, or a value is asked for."""
    return isinstance(error, NotImplementedError) or "meta" in text_of(error).lower()


def _own_error(backbone: Backbone, stage: int, running: list[Call], error: Exception) -> str:
    names = {module: name for name, module in backbone.named_modules()}
    told = f"{type(error).__name__}: {first_line(error)}"
    parts = [module for module, *_ in running if isinstance(module, ModulePart)]
    if not parts:
        return f"stage {stage} fails: {told}"
    module, inputs, named = running[-1]
    inside = "" if module is parts[-1] else f" inside {names[module]} ({type(module).__name__})"
    given = _shapes(module, inputs, named)
    told += line_in(error, type(parts[-1]))
    return (
        f"{parts[-1].kind} {type(parts[-1]).__name__} ({names[parts[-1]]}) fails in stage {stage}{inside}: {told}"
        + (f"; given {given}" if given else "")
    )


def _shapes(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> str:
    """``tokens [1, 18, 16]``: the tensors among the arguments of ``forward``, and the tokens of groups."""
    try:
        given = inspect.signature(type(module).forward).bind(module, *inputs, **named).arguments
    except TypeError:  # it takes other arguments than it is called with, as the error says
        return ""
    tensors = [tensor for name, value in given.items() for tensor in _tensors(name, value)]
    return ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in tensors)


def _tensors(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Group):
        yield "tokens", value.tokens
    elif isinstance(value, list):
        for each in value:
            yield from _tensors(name, each)


def does_not_trace(whole: nn.Module, called: str, error: Exception) -> str:
    """What to say of an error with which a trace ended.

    Args:
        whole: what was to be counted.
        called: what messages call it.
        error: of the trace alone: without one, it runs.
    """
    names = {module: name for name, module in whole.named_modules() if name}
    owners = [frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__)]
    inside = [names[owner] for owner in owners if isinstance(owner, nn.Module) and owner in names]
    told = f"{type(error).__name__}: {first_line(error).rstrip('.')}"
    mend = f". {SIZES}" if isinstance(error, TypeError) else ""
    return (
        f"{inside[-1] if inside else 'a part'} cannot be traced and counted on the meta device ({called}):"
        f" {told}{mend}. A part that does not trace, or whose multiply-adds cannot be"
        " told from shapes (an einsum of more than two operands), declares its own count: see ModulePart.declare"
    )


SIZES = "Sizes are tensors in a trace: make a number of one before Python calculates, as in round(int(x.shape[1]) / 2)"
