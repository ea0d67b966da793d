"""What optimizers keep of each weight, to and from tensors by name and plain values, whatever it is.

By PyTorch's ``torch.distributed.checkpoint.state_dict``: names in place of numbers; and every tensor sharded as it was.
It knows none but the module's own parameters: what is kept of a process's rows is named here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.tensor import DTensor

from zoo.errors import PluginError
from zoo.optim.updates import Updates
from zoo.shards import local

OWN = frozenset({"params", "lr", "foreach", "fused", "capturable"})
"""Of a group, what is not taken up: the weights, the rate, which is set before every update, and how it computes."""

State = dict[str, dict[Any, Any]]
"""By the name of a weight, what is kept of it."""


def state_of(updates: Updates) -> State:
    """What is kept of each weight; nothing before the first update."""
    begun = [each for each in updates.optimizers if each.state]  # of others it would be made, by an update of its own
    return _named(updates, begun) if begun else {}


def begun_state(updates: Updates) -> State:
    """What is kept after an update with gradients and learning rates of zero, which is made where none has been.

    It may move the weights all the same; they are to be loaded afterwards.
    """
    if updates.given is not updates.weights and not any(each.state for each in updates.optimizers):
        for weight in updates.weights:
            weight.parameter.grad = torch.zeros_like(weight.parameter)
        updates.step(0.0)
        updates.zero_grad()
    return _named(updates, updates.optimizers)


def groups_of(updates: Updates) -> list[dict[str, Any]]:
    """What is said of each group, beside its weights."""
    groups = [group for each in updates.optimizers for group in each.param_groups]
    return [{key: value for key, value in group.items() if key not in OWN} for group in groups]


def take(updates: Updates, state: State, groups: Sequence[Mapping[str, Any]]) -> None:
    """Take up what was kept.

    Args:
        updates: takes it.
        state: its tensors are sharded as those of ``begun_state``.
        groups: as ``groups_of`` gives them.
    """
    if state and updates.given is not updates.weights:
        _take_rows(updates, state)
    elif state:
        named = {weight.name: weight for weight in updates.weights}
        options = StateDictOptions(strict=False)
        given: Any = get_optimizer_state_dict(updates.module, updates.optimizers, options=options)
        given["state"] = {name: dict(kept) for name, kept in state.items()}
        set_optimizer_state_dict(updates.module, updates.optimizers, given, options=options)
        for optimizer in updates.optimizers:
            own = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
            for name, kept in state.items():
                if id(parameter := named[name].parameter) in own:
                    _restore(optimizer.state[parameter], kept)
    ours = (group for each in updates.optimizers for group in each.param_groups)
    for group, values in zip(ours, groups, strict=True):
        group.update(values)


def flat(state: State) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by name, ``weight/key``, and of weights of which something else is kept all that is, as JSON has it.

    Raises:
        PluginError: something is kept that no checkpoint can hold.
    """
    tensors: dict[str, Tensor] = {}
    others = {}
    for name, kept in state.items():
        plain = packed(kept, name, tensors)
        if not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in kept.items()):
            others[name] = plain
    return tensors, others


def nested(tensors: Mapping[str, Tensor], others: Mapping[str, Any]) -> State:
    """The state of which ``flat`` made these."""
    state: State = {name: unpacked(plain, tensors) for name, plain in others.items()}
    for place, tensor in tensors.items():
        name, _, key = place.partition("/")
        if name not in others:
            state.setdefault(name, {})[key] = tensor
    return state


def packed(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    """A value as JSON has it; its tensors go to ``tensors``, under ``place``.

    Raises:
        PluginError: it is nothing that a checkpoint can hold.
    """
    if isinstance(value, Tensor):
        while place in tensors:  # as of the keys 1 and "1"
            place += "'"
        tensors[place] = value
        return {"tensor": place}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        items = [packed(each, f"{place}/{index}", tensors) for index, each in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, Mapping):
        pairs = value.items()
        return {"mapping": [[packed(key, place, {}), packed(each, f"{place}/{key}", tensors)] for key, each in pairs]}
    raise PluginError(
        f"{place}: is of type {type(value).__name__}, which no checkpoint holds; an optimizer keeps tensors, numbers,"
        " texts, and lists, tuples and mappings of these"
    )


def unpacked(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The value of which ``packed`` made this."""
    if isinstance(value, list):
        return [unpacked(each, tensors) for each in value]
    if not isinstance(value, Mapping):
        return value
    ((form, inner),) = value.items()
    if form == "tensor":
        return tensors[inner]
    if form == "tuple":
        return tuple(unpacked(inner, tensors))
    return {unpacked(key, tensors): unpacked(each, tensors) for key, each in inner}


def _named(updates: Updates, optimizers: Sequence[torch.optim.Optimizer]) -> State:
    if updates.given is not updates.weights:
        return _named_rows(updates, optimizers)
    given: Any = get_optimizer_state_dict(updates.module, optimizers)
    return dict(given["state"])


def _named_rows(updates: Updates, optimizers: Sequence[torch.optim.Optimizer]) -> State:
    """What is kept of the rows that this process has, as tensors that are sharded as their weights; which PyTorch
    would know no names of."""
    return {
        weight.name: {key: _sharded(value, given.parameter, weight.parameter) for key, value in kept.items()}
        for weight, given in zip(updates.weights, updates.given, strict=True)
        for each in optimizers
        if (kept := each.state.get(given.parameter))
    }


def _sharded(value: Any, rows: Tensor, weight: Tensor) -> Any:
    if not (isinstance(weight, DTensor) and isinstance(value, Tensor) and value.ndim and value.shape == rows.shape):
        return value
    return DTensor.from_local(
        value, weight.device_mesh, weight.placements, run_check=False, shape=weight.shape, stride=weight.stride()
    )


def _take_rows(updates: Updates, state: State) -> None:
    groups = [(each, group["params"]) for each in updates.optimizers for group in each.param_groups]
    owners = {id(parameter): each for each, parameters in groups for parameter in parameters}
    for given in updates.given:
        if given.name in state:
            kept = {key: _own(value) for key, value in state[given.name].items()}
            owners[id(given.parameter)].state[given.parameter] = kept


def _own(value: Any) -> Any:
    return local(value).clone() if isinstance(value, DTensor) else value


def _restore(own: dict[Any, Any], kept: Mapping[Any, Any]) -> None:
    """Put back what PyTorch has changed in taking it up: other dtypes become the weight's, and texts are lost."""
    for key, value in kept.items():
        taken = own.get(key)
        if not (isinstance(value, Tensor) and isinstance(taken, Tensor) and taken.dtype == value.dtype):
            own[key] = value
