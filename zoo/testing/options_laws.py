"""The law of options: each of them changes something."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from zoo.kinds import KINDS, base_of
from zoo.parts.initialise import all_tensors, reset
from zoo.parts.values import tensors_in
from zoo.paths import LinearPath
from zoo.sites import Slot
from zoo.testing.asserts import bytes_of
from zoo.testing.cases import BATCH, Case
from zoo.testing.draw import draw
from zoo.testing.generators import torch_seeded
from zoo.testing.law import law
from zoo.testing.place_laws import LARGE, on_grid
from zoo.testing.ran import Watch
from zoo.testing.random_cases import cases
from zoo.testing.train_laws import trained


class Round(NamedTuple):
    """Of drawing, until each option has shown.

    Attributes:
        drawn: cases, besides the one that is asked about; of more than ten, hypothesis draws most like one another.
        looks: how many of what can be seen of each are looked at, all if None.
        roomy: whether they are of wide tokens, and many.
    """

    drawn: int = 10
    looks: int | None = None
    roomy: bool = False


ROUNDS = (Round(drawn=5), *[Round(looks=1)] * 11, *[Round()] * 3, Round(drawn=3, roomy=True))
"""Most options show in any few cases. Those that show in few sites alone mostly show in what is built, and to look at
that costs next to nothing."""

WIDER = 8
"""Times as wide as drawn sites are wide ones, and blocks and heads with them: heads of 64 channels and more."""

VALUES = 3
"""Others of the option that are tried in each."""

LINE = torch.linspace(0.0, 1.0, 101, dtype=torch.float64)
"""Noise levels, and probabilities of them."""

GIVES: Mapping[str, Callable[[Any], Any]] = {
    "patch_schedule": lambda part: (part.stages(), part.ties),
    "schedule": lambda part: [
        _factor(part, step, steps) for steps in (1, 10, 1000, 10**6) for step in range(0, steps + 1, 1 + steps // 50)
    ],
    "noise_sampler": lambda part: [each.tolist() for each in (part.quantile(LINE), part.cdf(LINE))],
    "weighting": lambda part: part.weight(LINE, LinearPath().snr(LINE)).tolist(),
}
"""What parts without a forward pass give, by kind."""


def _factor(part: Any, step: int, steps: int) -> float | None:
    try:
        return float(part.factor(step, steps))
    except ValueError:  # of too few steps
        return None


ENOUGH = 6
"""Pairs that are alike but for an option, from which on it is said to change nothing."""


@law(
    "Read the option in the constructor or in forward, or leave it out: who sets it in a recipe expects that something"
    " comes of it.",
    examples=1,
    required=False,
)
def every_option_changes_something(case: Case) -> None:
    """Each option changes what the part says of itself, its weights, outputs, gradients or what runs, in some case."""
    told = idle_options(case, ROUNDS, _shown)
    shown = (
        "weights, outputs, gradients and what runs are" if KINDS[case.entry.kind].has_forward else "what it gives is"
    )
    assert not told, f"whatever {' and '.join(told)} is, {shown} the same"


def idle_options(case: Case, rounds: Sequence[Round], shown: Callable[[Case], Iterator[Any]]) -> list[str]:
    """The options of which nothing that can be seen comes.

    Args:
        case: the part's.
        rounds: to draw.
        shown: what can be seen of a case, what is dear last.
    """
    idle = dict.fromkeys(type(case.options).model_fields, 0)
    for number, each in enumerate(rounds):
        if not idle:
            break
        drawn = [case, *others_of(case, number, each.drawn)]
        if each.roomy:
            drawn = [_roomy(one) for one in drawn] if KINDS[case.entry.kind].has_forward else []
        found = {name: _alike(name, drawn, each.looks, shown) for name in idle}
        idle = {name: idle[name] + pairs for name, pairs in found.items() if pairs is not None}
    return [name for name, pairs in idle.items() if pairs >= ENOUGH]


def others_of(case: Case, number: int = 0, drawn: int = Round().drawn) -> list[Case]:
    """Others of the part, on any sites; none where its options are of types that cannot be drawn."""
    try:
        return draw(cases(case.entry), lambda each: each, drawn, seed=number)
    except TypeError:
        return []


def _roomy(case: Case) -> Case:
    """The case with wide tokens, and many."""
    site = case.site
    wide = replace(
        site,
        dim=site.dim * WIDER,
        next_dim=site.next_dim * WIDER,
        condition_dim=site.condition_dim * WIDER,
        block_dims=tuple(each * WIDER for each in site.block_dims),
        widths=tuple(each * WIDER for each in site.widths),
        kept_dim=site.kept_dim * WIDER if isinstance(site.kept_dim, int) else site.kept_dim,
        blocks=tuple(map(_wider, site.blocks)),
        heads_by_width={width * WIDER: _wider(slot) for width, slot in site.heads_by_width.items()},
    )
    return on_grid(replace(case, site=wide), LARGE[site.axes])


def _wider(slot: Slot) -> Slot:
    return slot._replace(condition=slot.condition * WIDER, dim=slot.dim * WIDER)


def _alike(name: str, drawn: Sequence[Case], looks: int | None, shown: Callable[[Case], Iterator[Any]]) -> int | None:
    """How many pairs that differ by an option alone are alike, at so many looks; None if some are not."""
    pairs = 0
    for one, other in _pairs(name, drawn):
        both = zip(islice(shown(one), looks), islice(shown(other), looks), strict=True)
        if any(first != second for first, second in both):
            return None
        pairs += 1
    return pairs


def _pairs(name: str, drawn: Sequence[Case]) -> Iterator[tuple[Case, Case]]:
    """Each case beside some that have another value of this option."""
    for number, one in enumerate(drawn):
        values = [getattr(each.options, name) for each in (one, *drawn[number:], *drawn[:number])]
        _, *others = [each for index, each in enumerate(values) if each not in values[:index]]
        for value in others[:VALUES]:
            other = replace(one, options=one.options.model_copy(update={name: value}))
            if one.refusal() is None and other.refusal() is None:
                yield one, other


def _shown(case: Case) -> Iterator[Any]:
    """All that can be seen of a part, what is dear last."""
    gives = GIVES.get(case.entry.kind)
    if gives is not None:
        yield gives(case.create())
        return
    yield _said(case, case.unmade), {name: tensor.shape for name, tensor in case.unmade.state_dict().items()}
    part = case.create()
    yield _state(part)
    with torch_seeded(0):
        part.apply(reset)
    yield _state(part)
    yield _ran(case, case.build().train(), torch.float64)
    try:
        yield _ran(case, case.build(dtype=torch.bfloat16), torch.bfloat16)
    except RuntimeError:  # an operator that is not there in bfloat16, which is for other laws to tell
        yield None


def _said(case: Case, part: Any) -> Mapping[str, Any]:
    """What the contract of its kind has a part say of itself."""
    base = base_of(case.entry.kind)
    names = [name for name in dir(base) if name[0] != "_" and not callable(getattr(base, name))]
    return {name: getattr(part, name) for name in names} | {"without_gradient": part.without_gradient()}


def _state(part: nn.Module) -> dict[str, bytes]:
    return {name: bytes_of(tensor) for name, tensor in all_tensors(part).items()}


def _ran(case: Case, part: Any, dtype: torch.dtype) -> tuple[list[str], list[bytes]]:
    """The operators that run in a pass, and what comes of it; of a conditioner, also with null labels."""
    ran: list[str] = []

    def look(func: Any, args: Sequence[Any], _: Any) -> None:
        ran.append(f"{func} {[tuple(each.shape) for each in args if isinstance(each, Tensor)]}")

    with torch_seeded(0), Watch(look):
        if dtype == torch.float64:
            outputs, gradients = trained(case, part, dtype=dtype)
            found = [*outputs, *gradients.values()]
        else:
            with torch.no_grad():
                found = tensors_in(case.outputs(part, BATCH, dtype=dtype))
        if hasattr(part, "null"):
            labels = case.inputs(BATCH)[0]
            found += tensors_in(part(part.null(labels)))
            count = BATCH * part.drops
            found += tensors_in(part.drop_some(labels, (torch.arange(count) / max(count, 1)).view(BATCH, part.drops)))
    return ran, [bytes_of(each) for each in found]
