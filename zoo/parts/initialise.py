"""Weights and tables of a module that was built without memory: who makes them, and what nobody would make."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

REGISTERED = ("_parameters", "_buffers", "_modules")


def init_weights(module: nn.Module) -> None:
    """Draw all weights anew and make all tables, such as after building on the meta device and ``to_empty``.

    Calls every ``reset_parameters``, members before what holds them: as in a constructor, the holder has the last word.
    """
    module.apply(reset)


@torch.no_grad()
def reset(module: nn.Module) -> None:
    """Let one module make what it owns itself, and not what its members own."""
    make = initialiser(module)
    if make is not None:
        make()


def initialiser(module: nn.Module) -> Callable[[], object] | None:
    """What makes a module's own parameters and buffers, if it can."""
    found: Callable[[], object] | None = getattr(module, "reset_parameters", None)
    if found is None and isinstance(module, nn.MultiheadAttention):  # the one of PyTorch that calls it otherwise
        return module._reset_parameters
    return found


def faults(part: nn.Module) -> Iterator[str]:
    """What building on the meta device and files would spoil.

    Tensors that no ``reset_parameters`` makes, that are not registered, or that are registered twice.

    Attributes of modules are looked through, and the containers of Python in them, but not closures and other objects.
    """
    known = {id(each) for each in (*part.parameters(), *part.buffers(), *part.modules())}
    for name, module in part.named_modules():
        where = f"{name} ({type(module).__qualname__})" if name else "it"
        own = list(_own_tensors(module))
        if own and initialiser(module) is None:
            yield (
                f"{where} owns {', '.join(own)} and has no reset_parameters(), without which weights that are loaded or"
                " drawn after building on the meta device are garbage; write one that fills them in place, and call it"
                " in the constructor"
            )
        for attribute in _unregistered(module, known):
            yield (
                f"{where} holds tensors or modules in {attribute}, where PyTorch does not see them; make them buffers"
                " (register_buffer), parameters or sub-modules (nn.ModuleList)"
            )

    names: dict[int, list[str]] = {}
    for name, tensor in (*part.named_parameters(remove_duplicate=False), *part.named_buffers(remove_duplicate=False)):
        names.setdefault(id(tensor), []).append(name)
    for same in names.values():
        if len(same) > 1:
            yield (
                f"{' and '.join(same)} are one tensor, of which a file, or another device, makes several; register it"
                " once, and have forward use it wherever it is wanted"
            )


def _own_tensors(module: nn.Module) -> Iterator[str]:
    """Names of the parameters and buffers that a module owns, those in its lists of parameters too."""
    if isinstance(module, nn.ParameterList | nn.ParameterDict):  # a list, and no module with a mind of its own
        return
    for tensors in (module._parameters, module._buffers):
        yield from (name for name, tensor in tensors.items() if tensor is not None)
    for name, child in module.named_children():
        if isinstance(child, nn.ParameterList | nn.ParameterDict):
            yield from (f"{name}.{key}" for key, _ in child.named_parameters())


def _unregistered(module: nn.Module, known: Collection[int]) -> Iterator[str]:
    """Names of a module's attributes with tensors or modules that are not among the registered, known by their id."""
    for name, value in vars(module).items():
        if name not in REGISTERED and any(id(each) not in known for each in _inside(value)):
            yield name


def _inside(value: Any) -> Iterator[Tensor | nn.Module]:
    """Tensors and modules in a plain value, in the containers that Python has."""
    if isinstance(value, Tensor | nn.Module):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _inside(each)
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from _inside(each)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _inside(getattr(value, field.name))
