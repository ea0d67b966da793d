"""The law of parts and assemblies that were built without memory: nothing of them stays garbage."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import torch
from torch import Tensor, nn

from zoo.parts.facts import mistakes_in
from zoo.parts.initialise import all_tensors, faults, reset
from zoo.testing.asserts import assert_equal
from zoo.testing.cases import randomise
from zoo.testing.generators import seeded, torch_seeded


def assert_initialises_whole(
    create: Callable[[str, int], nn.Module], outputs: Callable[[nn.Module], list[Tensor]], seed: int
) -> None:
    """``init_weights`` makes all of a module that was built on the meta device, as it does of one built on the CPU.

    Constants and tables come out as the constructor makes them. (Random weights do not: it draws in another order.)

    Args:
        create: builds the module on a device, after seeding.
        outputs: of a module, for always the same inputs.
        seed: of the weights.
    """
    here, other = create("cpu", seed), all_tensors(create("cpu", seed + 1))
    _assert_no_faults(here)
    fixed = {name: tensor.clone() for name, tensor in all_tensors(here).items() if torch.equal(tensor, other[name])}
    _draw(here, seed)
    for name, tensor in all_tensors(here).items():
        if name in fixed:
            assert_equal(tensor, fixed[name], f"init_weights makes {name} otherwise than the constructor does")

    there = create("meta", seed).to_empty(device="cpu")
    _assert_no_faults(there)
    expected = all_tensors(here)
    for name, tensor in all_tensors(there).items():
        _spoil(tensor, expected[name])
    before = {name: (tensor, tensor.data_ptr()) for name, tensor in all_tensors(there).items()}
    _draw(there, seed)
    for name, tensor in all_tensors(there).items():
        same = tensor is before[name][0] and tensor.data_ptr() == before[name][1]  # which `.data = ` changes
        assert same, f"reset_parameters puts another tensor in the place of {name}; fill it in place"
        assert_equal(tensor, expected[name], f"{name} is not made by reset_parameters: built on meta, it stays garbage")
    found = []
    for module in (here, there):
        randomise(module, seed)
        with seeded(seed):  # what draws in forward breaks another law
            found.append(outputs(module))
    assert_equal(found[1], found[0], "built on the meta device and initialised, it computes something else")


def _assert_no_faults(module: nn.Module) -> None:
    fault = next(chain(mistakes_in(module), faults(module)), None)
    assert fault is None, fault


def _draw(module: nn.Module, seed: int) -> None:
    with torch_seeded(seed):
        module.apply(reset)  # init_weights, which refuses what this law is about


@torch.no_grad()
def _spoil(tensor: Tensor, expected: Tensor) -> None:
    """Fill with what is certainly wrong: NaN, or in whole numbers and bools another value than the right one."""
    if tensor.is_floating_point() or tensor.is_complex():
        tensor.fill_(float("nan"))
    else:
        tensor.copy_(expected == 0)
