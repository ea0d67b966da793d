"""The objective, as the algorithm box has it (SiT, arXiv 2401.08740, section 2; DDPM, arXiv 2006.11239, algorithm 1).

Draw data, noise and a noise level t; drop the label now and then; and pull the prediction at the path's
``z = alpha(t) data + sigma(t) noise`` towards what it should be: the velocity, the noise or the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.assembly import create_parts
from zoo.backbone import Backbone
from zoo.errors import PluginError, RecipeError
from zoo.flow.base import Loss, LossInputs
from zoo.flow.precision import clock_dtype
from zoo.labels import Labels
from zoo.lockstep import Piece
from zoo.parts.returned import described
from zoo.recipe import Recipe
from zoo.weight_patterns import freeze, pattern_problems


class StageBatch(NamedTuple):
    """Samples of one stage, before there is noise in them.

    Attributes:
        stage: its index, 0 = noisiest.
        data: latents [b, C, *size], of the data's size, which the path brings to the stage's.
        noise: standard normal [b, C, *size].
        t: noise levels [b].
        labels: what the class conditioner takes, some of them dropped.
        scores: for a router; None keeps all tokens.
        extra: what else losses ask for, by name, a row of each sample.
    """

    stage: int
    data: Float[Tensor, "b C *size"]
    noise: Float[Tensor, "b C *size"]
    t: Float[Tensor, " b"]
    labels: Labels | None = None
    scores: Float[Tensor, "b N"] | None = None
    extra: Mapping[str, Tensor] = MappingProxyType({})


class Term(NamedTuple):
    """A term of the loss.

    Attributes:
        name: that it is logged by.
        weight: what it is multiplied by.
        weighted: whether the weighting of noise levels applies.
    """

    name: str
    weight: float
    weighted: bool


class Objective(nn.Module):
    """The backbone and what it is trained by: all that has weights, and one pass a step.

    Args:
        backbone: what is trained.
        losses: each with its name and its weight.
        residual: dtype of the backbone's residual stream under autocast.

    Attributes:
        terms: of the loss, in the order of ``losses``.
        taps: blocks whose outputs some loss asks for.
        extra: names of what else some loss asks for of each sample.
    """

    def __init__(
        self,
        backbone: Backbone,
        losses: Iterable[tuple[str, float, Loss]],
        *,
        residual: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        losses = list(losses)
        self.backbone, self.residual = backbone, residual
        self.losses = nn.ModuleList(loss for _, _, loss in losses)
        self.extra = tuple(sorted({name for _, _, loss in losses for name in loss.extra}))
        self.taps = tuple(sorted({tap for _, _, loss in losses for tap in loss.taps}))
        names = _distinct([name for name, _, _ in losses])
        self.terms = tuple(
            Term(name, weight, loss.weighted) for name, (_, weight, loss) in zip(names, losses, strict=True)
        )

    def forward(self, batches: Sequence[StageBatch]) -> dict[str, Float[Tensor, " B"]]:
        """Every term of every sample, by name, in the order of the samples; in float32 or wider, also under autocast.

        Inputs are taken as valid, and nothing waits for the device.

        Args:
            batches: samples of different stages, noisiest first.

        Raises:
            PluginError: a loss returns something else than a number of each sample.
        """
        path = self.backbone.path
        ends = [path.ends(batch.stage, batch.data, batch.noise) for batch in batches]
        mixtures = [path.along(path.own_time(batch.stage, batch.t), batch.data) for batch in batches]
        pieces = [
            Piece(batch.stage, mixture.state(*own).to(batch.data.dtype), *batch[3:6])
            for batch, mixture, own in zip(batches, mixtures, ends, strict=True)
        ]
        returned = self.backbone.forward_stages(pieces, taps=self.taps, residual=self.residual)
        found: dict[str, list[Tensor]] = {term.name: [] for term in self.terms}
        for batch, own, mixture, piece, output in zip(batches, ends, mixtures, pieces, returned, strict=True):
            wide, (prediction, taps) = clock_dtype(batch.data.dtype), output if self.taps else (output, {})
            inputs = LossInputs(
                stage=batch.stage,
                data=own[0].to(wide),
                noise=own[1].to(wide),
                t=batch.t,
                z=piece.latents,
                prediction=prediction.to(wide),
                space=self.backbone.prediction,
                mixture=mixture,
                labels=batch.labels,
                taps=taps,
                extra=batch.extra,
            )
            for term, loss in zip(self.terms, self.losses, strict=True):
                found[term.name].append(_promised(loss(_own(loss, inputs)), term.name, len(batch.t)))
        return {name: torch.cat(each) for name, each in found.items()}

    def example_extra(self, batch: int, size: tuple[int, ...]) -> dict[str, Tensor]:
        """Some of all that the losses ask for beside latents and labels, as ``Loss.example_extra`` gives it."""
        losses = cast(Iterable[Loss], self.losses)
        return {name: each for loss in losses for name, each in loss.example_extra(batch, size).items()}


def _own(loss: nn.Module, inputs: LossInputs) -> LossInputs:
    """What a loss is given: of taps and of what travels with samples, no more than it asks for."""
    asked = cast(Loss, loss)
    taps = {index: tap for index, tap in inputs.taps.items() if index in asked.taps}
    extra = {name: each for name, each in inputs.extra.items() if name in asked.extra}
    if (len(taps), len(extra)) == (len(inputs.taps), len(inputs.extra)):
        return inputs  # with what other losses have had it compute
    return replace(inputs, taps=taps, extra=extra)


def total(
    terms: Sequence[Term],
    values: Mapping[str, Float[Tensor, " B"]],
    share: Float[Tensor, " B"],
    weight: Float[Tensor, " B"],
) -> Float[Tensor, " B"]:
    """The loss of every sample.

    Args:
        terms: that it is the sum of.
        values: of each term, by name.
        share: what all of them are multiplied by.
        weight: the same with the weighting of noise levels, for those terms that it applies to.
    """
    parts = [term.weight * (weight if term.weighted else share) * values[term.name] for term in terms]
    return torch.stack(parts).sum(dim=0)


def objective_of(recipe: Recipe, backbone: Backbone) -> Objective:
    """A recipe's objective around its backbone, with the losses' weights drawn anew, in the dtype of the backbone's.

    On the meta device, where the backbone is there: no number is drawn then. The weights of ``train.freeze`` get no
    gradients any more.

    Raises:
        RecipeError: a loss refuses its options; or patterns of ``train`` meet no weight, or all.
        PluginError: one is of a plug-in that is not here.
    """
    weight = next(backbone.parameters())
    with torch.device("meta") if weight.is_meta else nullcontext():
        losses = create_parts(recipe, "loss")
    terms = recipe.objective.losses
    named = [(term.part.type, term.weight, loss) for term, loss in zip(terms, losses, strict=True)]
    objective = Objective(backbone, named, residual=getattr(torch, recipe.train.residual))
    objective.losses.to(weight.device, weight.dtype)
    options = recipe.train
    if options.freeze or options.learning_rate_of:
        names = [name for name, each in backbone.named_parameters() if each.requires_grad]
        problems = list(pattern_problems(names, options.freeze, options.learning_rate_of))
        if problems:
            raise RecipeError([f"{recipe.name}: train.{option}: {message}" for option, message in problems])
        freeze(backbone, options.freeze)
    return objective


def _distinct(names: Sequence[str]) -> list[str]:
    """The same names, with a number where one comes again."""
    found: list[str] = []
    for name in names:
        number, own = 1, name
        while own in found:
            number += 1
            own = f"{name}_{number}"
        found.append(own)
    return found


def _promised(returned: object, name: str, batch: int) -> Tensor:
    """What a loss returned, if it is what its kind promises; looks at no value."""
    if not isinstance(returned, Tensor) or tuple(returned.shape) != (batch,):
        raise PluginError(f"loss {name} returned {described(returned)} in place of a tensor [{batch}]")
    if not returned.is_floating_point() or returned.dtype.itemsize < torch.float32.itemsize:
        raise PluginError(f"loss {name} returned {returned.dtype}, and should return torch.float32 or wider")
    return returned
