"""Laws of losses, and what goes into them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from zoo.flow.base import LossInputs
from zoo.flow.precision import clock_dtype
from zoo.parts.routers import keep_tokens
from zoo.parts.values import Layout, Tap, map_tensors, tensors_in
from zoo.paths import LinearPath, Prediction, VariancePreservingPath
from zoo.testing.asserts import assert_close
from zoo.testing.cases import BATCH, FEW, Case, Random, Shape
from zoo.testing.law import Law, law
from zoo.testing.laws import (
    batch_invariance,
    builds_share_nothing,
    gradient_reaches_parameters,
    initialises_whole,
    is_deterministic,
    keeps_device,
    shape_contract,
    state_round_trip,
)
from zoo.testing.options_laws import every_option_changes_something
from zoo.testing.train_laws import keeps_nan_apart

SPACES: tuple[Prediction, ...] = ("velocity", "noise", "data")

LEVELS, STAGES, ERRORS = 33, 4, (1.0, 30.0, 1 / 30)
"""Noise levels, stages and sizes of the error, and of taps, among which a loss is looked for that is zero on most."""


def inputs(case: Case, batch: int, random: Random, device: str) -> tuple[Any, ...]:
    """What ``call`` makes the inputs of: data, noise, a prediction, noise levels, labels, tokens of taps, extra, the
    stage, and which tokens a router leaves."""
    data, noise, prediction = (random(batch, case.site.channels, *case.size) for _ in range(3))
    labels = torch.arange(batch, device=device) % max(case.site.num_classes, 1)
    t, part = torch.sigmoid(random(batch)), case.unmade
    tokens = {tap: random(batch, case.m + case.count, case.site.block_dims[tap]) for tap in part.taps}
    extra = {
        name: each.to(device, data.dtype if each.is_floating_point() else None)
        for name, each in part.example_extra(batch, case.size).items()
    }
    drawn = random(batch, case.count) if tokens else None
    some = None if drawn is None else drawn.topk((case.count + 1) // 2, dim=1).indices.sort(dim=1).values
    return data, noise, prediction, t, labels, tokens, extra, case.seed % max(case.site.stages, 1), some


def occasions(case: Case) -> Iterator[tuple[Any, ...]]:
    """Inputs on noise levels all the way, of every stage, with errors of all sizes: a loss may be zero on others."""
    data, noise, prediction, _, labels, tokens, extra, *_, some = case.inputs(LEVELS)
    t = (torch.arange(LEVELS, dtype=data.dtype) + 0.5) / LEVELS
    for size, stage in product(ERRORS, range(max(STAGES, case.site.stages))):
        sized = {tap: size * each for tap, each in tokens.items()}
        yield data, noise, noise + size * (prediction - noise), t, labels, sized, extra, stage, some


def refusal(case: Case, part: Any) -> str | None:
    """Why it is not for this site."""
    beyond = [tap for tap in part.taps if not 0 <= tap < case.site.depth]
    return f"taps block {beyond[0]} of {case.site.depth}" if beyond else None


def call(case: Case, part: nn.Module, given: tuple[Any, ...]) -> Any:
    """What it makes of them on DDPM's path, where noise is predicted: of velocity and prediction each says its own."""
    return [part(each) for each in _inputs(case, "noise", *given)]


def shapes(case: Case, part: Any, batch: int) -> list[Shape]:
    """A number of each sample, and another where its taps have some of the tokens."""
    return [(batch,)] * (2 if part.taps else 1)


def _inputs(
    case: Case,
    space: Prediction,
    data: Tensor,
    noise: Tensor,
    prediction: Tensor,
    t: Tensor,
    labels: Tensor,
    tokens: Mapping[int, Tensor],
    extra: Mapping[str, Tensor],
    stage: int,
    index: Tensor | None,
) -> list[LossInputs]:
    """With taps of all tokens and, where there are taps, with those of some, as behind a router."""
    path, wide = LinearPath() if space == "velocity" else VariancePreservingPath(), clock_dtype(data.dtype)
    mixture = path.along(t, data)
    whole = LossInputs(
        stage=stage,
        data=data.to(wide),
        noise=noise.to(wide),
        t=t,
        z=mixture.state(data, noise).to(data.dtype),
        prediction=prediction.to(wide),
        space=space,
        mixture=mixture,
        labels=labels,
        taps={number: Tap(each, case.m, case.site.grid) for number, each in tokens.items()},
        extra=extra,
    )
    return [whole] if index is None else [whole, _kept(whole, index)]


def _kept(inputs: LossInputs, index: Tensor) -> LossInputs:
    """The same with taps of the image tokens at an index [b, K]."""
    taps = {}
    for number, tap in inputs.taps.items():
        tokens, layout = keep_tokens(tap.tokens, Layout(tap.m, tap.grid, patch=tap.grid), index)
        taps[number] = replace(tap, tokens=tokens, index=layout.index)
    return replace(inputs, taps=taps)


@law("Change nothing in place, as by sub_() or clamp_(): all losses of a recipe are given the same tensors.")
def leaves_its_inputs(case: Case) -> None:
    """What it is given is afterwards as it was before."""
    part, drawn = case.build(), case.inputs(BATCH)
    for space in SPACES:
        for given in _inputs(case, space, *drawn):
            _ = given.target, given.velocity, given.target_velocity  # which are computed once, for all losses
            before = {name: [each.clone() for each in tensors_in(value)] for name, value in vars(given).items()}
            part(given)
            for name, kept in before.items():
                same = all(map(torch.equal, tensors_in(getattr(given, name)), kept))
                assert same, f"changes inputs.{name} where {space} is predicted"


@law(
    "Return one finite number of each sample in float32 or wider, as x.float().flatten(1).mean(dim=1): under autocast a"
    " Linear returns bfloat16. Guard roots and ratios where a vector is zero, or t is 0 or 1.",
)
def is_a_wide_number(case: Case) -> None:
    """Whatever is predicted, also zero, a loss is finite at every t, in float32 or wider, also under autocast."""
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        part = case.build(dtype=dtype)
        data, noise, prediction, t, *rest = case.inputs(BATCH, dtype=dtype)
        t[0], t[-1] = 0.0, 1.0
        for space in SPACES:
            for predicted in (prediction, torch.zeros_like(prediction)):
                for given in _inputs(case, space, data, noise, predicted.requires_grad_(), t, *rest):
                    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.float32):
                        value = part(given)
                    where = f"where {space} is predicted"
                    wide = torch.promote_types(value.dtype, torch.float32)
                    assert value.dtype == wide, f"returns {value.dtype} {where} in {dtype}"
                    assert value.isfinite().all(), f"is not finite {where} in {dtype}"
                    if value.requires_grad:  # unless it is of taps alone, by no weights of its own
                        (slope,) = torch.autograd.grad(value.sum(), predicted, allow_unused=True)
                        assert slope is None or slope.isfinite().all(), f"its gradient is not finite {where}"


@law("Compute from inputs.prediction, inputs.velocity or a tap, and do not detach() it: what is minimised is the loss.")
def pulls_the_weights(case: Case) -> None:
    """A gradient comes to something that the weights compute, at some noise level, stage or error at least."""
    part = case.build()
    pulls = any(_pulls(case, part, given) for given in case.occasions())
    assert pulls, "no gradient comes to what the weights predict"


def _pulls(case: Case, part: nn.Module, given: tuple[Any, ...]) -> bool:
    """Whether a gradient comes to what the weights compute, with taps of all tokens or, as behind a router that leaves
    the others out, with those of some: a loss may be of these alone."""
    wanted = [each.requires_grad_() for each in (given[2], *given[5].values())]
    values = case.call(part, given)
    found = (value.requires_grad and torch.autograd.grad(value.sum(), wanted, allow_unused=True) for value in values)
    return any(each is not None and bool(each.any()) for own in found for each in own or ())


@law(
    "Turn the sign of what is to grow, such as a cosine: training minimises the loss. (One that is to be least"
    " elsewhere need not keep this.)",
    examples=FEW,
    required=False,
)
def is_least_at_the_target(case: Case) -> None:
    """No prediction has less of it than the right one."""
    part, (data, noise, prediction, *rest) = case.build(), case.inputs(BATCH)
    for space in SPACES:
        others = _inputs(case, space, data, noise, prediction, *rest)
        for right, other in zip(_inputs(case, space, data, noise, others[0].target, *rest), others, strict=True):
            assert (part(right) <= part(other) + 1e-9).all(), (
                f"it is less elsewhere than where {space} is predicted rightly"
            )


@law("Compute from the inputs alone: a loss is called for each stage in turn, and what it keeps is of another.")
def stands_alone(case: Case) -> None:
    """What it was called with before changes nothing."""
    part, given = case.build(), case.inputs(BATCH)
    first = case.call(part, given)
    case.call(part, map_tensors(lambda each: each.flip(0), given))
    assert_close(case.call(part, given), first, "it tells something else when asked again")


@law(
    "Go by tap.index [b, K], which tells the places of the tokens behind those in front, and is None for all: gather"
    " what they are compared with by it, as wanted.gather(1, tap.index[..., None].expand(-1, -1, D)).",
    examples=FEW,
)
def knows_tokens_by_their_index(case: Case) -> None:
    """Taps of all tokens say the same without an index, with one, and in another order with theirs."""
    part, (*given, index) = case.build(), case.inputs(BATCH)
    if index is None:
        return
    (whole,) = _inputs(case, "noise", *(*given, None))
    every = torch.arange(case.count).expand(BATCH, -1)
    for order, told in ((every, "with an index of all tokens"), (every.flip(1), "with the last tokens first")):
        assert_close(part(_kept(whole, order)), part(whole), f"{told}, it tells something else")


LAWS: dict[str, tuple[Law[Case], ...]] = {
    "loss": (
        shape_contract,
        initialises_whole,
        leaves_its_inputs,
        is_a_wide_number,
        keeps_device,
        batch_invariance,
        is_deterministic,
        stands_alone,
        knows_tokens_by_their_index,
        pulls_the_weights,
        is_least_at_the_target,
        gradient_reaches_parameters,
        state_round_trip,
        builds_share_nothing,
        keeps_nan_apart,
        every_option_changes_something,
    )
}
