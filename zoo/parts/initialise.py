"""Weights and tables of a module that was built without memory: who makes them, and what nobody would make."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import fields, is_dataclass
from math import nan
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.utils._python_dispatch import TorchDispatchMode

from zoo.errors import PluginError

UNMADE = "is not made: NaN is left in it where memory was empty; fill all of it in reset_parameters()"

CONSTRUCTED = (
    "is made by the constructor alone, and no file holds it: weights that are loaded would find it empty; fill it in"
    " reset_parameters() too"
)

OF_PYTORCH = frozenset(vars(nn.Module()))
"""What every module has, whether or not it holds anything: what is registered, hooks and flags."""


aten = torch.ops.aten

EMPTY = (aten.empty, aten.empty_like, aten.empty_permuted, aten.empty_strided, aten.new_empty, aten.new_empty_strided)
"""What gives memory as it is; ``torch.Tensor(4, 4)``, others of its kin and ``tensor.new(4, 4)`` call the first."""


class EmptyIsNaN(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Where this is on, memory that nobody has written to holds NaN, so that ``unmade`` finds what stays so."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # to skip it PyTorch imports it, which takes a second of each process that builds anything

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator, and spoil what it leaves as it is."""
        made = func(*args, **(kwargs or {}))
        if func.overloadpacket in EMPTY:
            spoil([made])
        return made


def init_weights(module: nn.Module) -> None:
    """Draw all weights anew and make all tables, such as after building on the meta device and ``to_empty``.

    Calls every ``reset_parameters``, members before what holds them: as in a constructor, the holder has the last word.

    Raises:
        PluginError: a module's ``reset_parameters`` leaves something of it unmade.
    """
    spoil(all_tensors(module).values())
    module.apply(reset)
    refuse_unmade(all_tensors(module))


@torch.no_grad()
def spoil(tensors: Iterable[Tensor]) -> None:
    """Fill with NaN what is about to be made, where it can hold NaN."""
    for tensor in tensors:
        if _may_be_nan(tensor):
            tensor.fill_(nan)


def refuse_unmade(tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors of which one has stayed NaN.

    Raises:
        PluginError: with its name.
    """
    for name, tensor in tensors.items():
        if _may_be_nan(tensor) and tensor.numel() and _holds_nan(tensor.detach()):
            raise PluginError(f"{name} {UNMADE}")


def unmade(module: nn.Module) -> Iterator[str]:
    """Why a module that was built with ``EmptyIsNaN`` is no good.

    A parameter or a buffer that nobody has filled, or a buffer that no file holds and the constructor alone fills: its
    weights would be trained and saved, and not load.
    """
    try:
        refuse_unmade(all_tensors(module))
    except PluginError as error:
        yield str(error)
        return
    for name, each in module.named_modules():
        for buffer in _made_by_the_constructor_alone(each):
            yield f"{f'{name}.' if name else ''}{buffer} {CONSTRUCTED}"


def _made_by_the_constructor_alone(module: nn.Module) -> Iterator[str]:
    """Names of a module's own buffers that are in no state dict and that its ``reset_parameters`` leaves alone.

    It is tried on a copy whose buffers hold NaN, or their numbers turned, and whose other tensors have no memory, which
    takes next to no time; where that cannot be, as where a buffer is made of others, nothing is told.
    """
    own = [name for name in module._non_persistent_buffers_set if module._buffers.get(name) is not None]
    if not own or initialiser(module) is None:
        return
    kept = {id(module._buffers[name]) for name in own}
    beside = [each for each in all_tensors(module).values() if id(each) not in kept]
    try:
        with torch.random.fork_rng(devices=[]):
            copy = deepcopy(module, {id(each): _without_memory(each) for each in beside})
            spoil(copy.get_buffer(name) for name in own)
            others = {name: copy.get_buffer(name) for name in own if not _may_be_nan(copy.get_buffer(name))}
            turned = {name: each.bitwise_not_().clone() for name, each in others.items() if each.numel()}
            reset(copy)
            found = {name: copy.get_buffer(name) for name in own}
            stayed = [name for name, each in turned.items() if torch.equal(found[name], each)]
    except Exception:
        return
    yield from (name for name in own if name in stayed or (_may_be_nan(found[name]) and _holds_nan(found[name])))


def _without_memory(tensor: Tensor) -> Tensor:
    empty = torch.empty_like(tensor, device="meta")
    return nn.Parameter(empty, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


def all_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, those too that no state dict holds."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _may_be_nan(tensor: Tensor) -> bool:
    has_nan = tensor.is_complex() or (tensor.is_floating_point() and tensor.dtype != torch.float4_e2m1fn_x2)
    return has_nan and not tensor.is_meta


def _holds_nan(tensor: Tensor) -> bool:
    numbers = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    numbers = numbers.float() if numbers.itemsize == 1 else numbers  # float8 has no sum
    return bool(numbers.sum().isnan()) and bool(numbers.isnan().any())  # a sum is fast, and all that most need


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
        if isinstance(module, ParametrizationList):
            yield (
                f"{where} is a parametrization of PyTorch's, as weight_norm makes them, whose weights no"
                " reset_parameters() draws anew; compute the weight in forward from parameters of its own module"
            )
        elif own and initialiser(module) is None:
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
        if name not in OF_PYTORCH and any(id(each) not in known for each in _inside(value)):
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
