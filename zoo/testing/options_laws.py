"""The law of options: each of them changes something."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from zoo.kinds import base_of
from zoo.parts.initialise import init_weights
from zoo.parts.values import tensors_in
from zoo.testing.cases import BATCH, Case
from zoo.testing.draw import draw
from zoo.testing.law import law
from zoo.testing.passes import trained
from zoo.testing.random_cases import cases

DRAWN = 30
"""Cases in which an option may show, beside the one that is given."""

ENOUGH = 6
"""Pairs that are alike but for an option, from which on it is said to change nothing."""


@law(
    "Read the option in the constructor or in forward, or leave it out: who sets it in a recipe expects that something"
    " comes of it.",
    examples=1,
)
def every_option_changes_something(case: Case) -> None:
    """Each option changes what the part says of itself, its weights, outputs, gradients or what runs, in some case."""
    names = type(case.options).model_fields
    if not names:
        return
    drawn = [case, *_drawn(case)]
    idle = [name for name in names if _is_idle(name, drawn)]
    assert not idle, f"whatever {' and '.join(idle)} is, weights, outputs, gradients and what runs are the same"


def _drawn(case: Case) -> list[Case]:
    """Others of the part, on any sites; none where its options are of types that cannot be drawn."""
    try:
        return draw(cases(case.entry), lambda each: each, DRAWN)
    except TypeError:
        return []


def _is_idle(name: str, drawn: Sequence[Case]) -> bool:
    """Whether an option changes nothing in several cases that differ by it alone."""
    pairs = 0
    for one, other in _pairs(name, drawn):
        if any(first != second for first, second in zip(_shown(one), _shown(other), strict=True)):
            return False
        pairs += 1
    return pairs >= ENOUGH


def _pairs(name: str, drawn: Sequence[Case]) -> Iterator[tuple[Case, Case]]:
    """Each case beside one that has this option of another."""
    for number, one in enumerate(drawn):
        own = getattr(one.options, name)
        others = (getattr(each.options, name) for each in (*drawn[number:], *drawn[:number]))
        for value in islice((each for each in others if each != own), 1):
            other = replace(one, options=one.options.model_copy(update={name: value}))
            if one.refusal() is None and other.refusal() is None:
                yield one, other


def _shown(case: Case) -> Iterator[Any]:
    """All that can be seen of a part, what is dear last."""
    part = case.create()
    yield _said(case, part)
    yield _state(part)
    yield _state(_drawn_anew(part))
    yield _ran(case, case.build().train(), torch.float64)
    yield _ran(case, case.build(dtype=torch.bfloat16), torch.bfloat16)


def _said(case: Case, part: Any) -> Mapping[str, Any]:
    """What the contract of its kind has a part say of itself."""
    base = base_of(case.entry.kind)
    names = [name for name in dir(base) if name[0] != "_" and not callable(getattr(base, name))]
    return {name: getattr(part, name) for name in names} | {"without_gradient": part.without_gradient()}


def _state(part: nn.Module) -> dict[str, bytes]:
    return {name: _bytes(tensor) for name, tensor in (*part.named_parameters(), *part.named_buffers())}


def _drawn_anew(part: nn.Module) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        init_weights(part)
    return part


def _ran(case: Case, part: Any, dtype: torch.dtype) -> tuple[list[str], list[bytes]]:
    """The operators that run in a pass, and what comes of it; of a conditioner, also with null labels."""
    with torch.random.fork_rng(devices=[]), Operators() as operators:
        torch.manual_seed(0)
        if dtype == torch.float64:
            outputs, gradients = trained(case, part, dtype=dtype)
            found = [*outputs, *gradients.values()]
        else:
            with torch.no_grad():
                found = tensors_in(case.outputs(part, BATCH, dtype=dtype))
        if hasattr(part, "null"):
            found += tensors_in(part(part.null(*case.inputs(BATCH))))
    return operators.ran, [_bytes(each) for each in found]


class Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes which operators run, and on what shapes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ran: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator, and note it."""
        self.ran.append(f"{func} {[tuple(each.shape) for each in args if isinstance(each, Tensor)]}")
        return func(*args, **(kwargs or {}))


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()
