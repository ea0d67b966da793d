"""Laws that every assembly keeps, whatever it is composed of."""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from io import BytesIO
from pickle import Pickler  # noqa: TID251 - it goes over what is there; nothing is kept, or read
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from safetensors.torch import load, save
from torch import Tensor, nn

from zoo.assembly import build
from zoo.backbone import Backbone
from zoo.devices import cast_weights
from zoo.inputs import by_stage
from zoo.labels import Labels, drop, rows
from zoo.parts.values import Group, Modulations
from zoo.recipe import Recipe
from zoo.schedule import noise_ranges
from zoo.shape import Shape
from zoo.testing.asserts import assert_close, assert_gradients, storages, weighed
from zoo.testing.cases import randomise
from zoo.testing.generators import seeded, torch_seeded
from zoo.testing.initialise_laws import assert_initialises_whole
from zoo.testing.law import Law, law, remembered

AssemblyLaw = Law[Recipe]

LOCKSTEP = 1e-12
"""How far apart, of the largest value, float64 may be when the same is added up in another order."""


def build_random(recipe: Recipe, dtype: torch.dtype = torch.float64) -> Backbone:
    """The assembly with every parameter randomised, and no tensor shared with what was asked for before."""
    kept = _kept(recipe)
    if not kept.can_be_copied:
        return cast_weights(_build_random(recipe), dtype)
    shared = {id(each): each for each in (kept.backbone.recipe, kept.backbone.shape)}
    return cast_weights(deepcopy(kept.backbone, shared), dtype)


class _Kept(NamedTuple):
    """What was built, and whether a copy of it is one that was built anew."""

    backbone: Backbone
    can_be_copied: bool


@remembered(4)
def _kept(recipe: Recipe) -> _Kept:
    """Kept, since to build takes three times as long as to copy, and most laws start from the same."""
    backbone = _build_random(recipe)
    try:
        _Walk(BytesIO()).dump(backbone)
    except Exception:  # whatever pickle says of what it cannot write
        return _Kept(backbone, can_be_copied=False)
    return _Kept(backbone, can_be_copied=True)


class _Walk(Pickler):
    """Goes over all that a deep copy would, and refuses what none has a whole one of, such as a lock, or a function
    that holds something, which is the first one's.
    """

    def persistent_id(self, each: Any) -> int | None:
        """What needs no look."""
        return id(each) if isinstance(each, Tensor | type | Recipe | Shape) else None


def _build_random(recipe: Recipe, seed: int = 0) -> Backbone:
    backbone = build(recipe)
    randomise(backbone, seed, std=0.3)
    return backbone


def mixed_inputs(backbone: Backbone, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Labels]:
    """Latents, noise levels and labels of a batch with two samples in every stage, and the stages interleaved.

    The second sample of each stage has lost its label, as in training: a null that is learned learns by these alone.
    """
    generator = torch.Generator().manual_seed(1)
    middles = [(low + high) / 2 for low, high in noise_ranges(backbone.stages)]
    t = torch.tensor([*middles, *reversed(middles)], dtype=dtype)
    latents = torch.randn(len(t), *backbone.latent, generator=generator, dtype=torch.float64).to(dtype)
    with seeded(1):  # a part may draw its example labels
        labels = backbone.conditioner.example_labels(len(t))
    return latents, t, drop(labels, backbone.conditioner.null(labels), torch.arange(len(t)) >= len(middles))


def whole(backbone: Backbone, latents: Tensor, t: Tensor, labels: Labels, scores: Tensor | None = None) -> Tensor:
    """What a backbone makes of a batch; where stages have sizes of their own, of the corners of latents that have
    these, with nothing around."""
    if all(backbone.latent_of(stage) == backbone.latent for stage in range(len(backbone.stages))):
        return backbone(latents, t, labels, scores)
    pieces, order = by_stage(backbone.stage_of(t), len(backbone.stages), latents, t, labels, scores)
    own = [piece._replace(latents=_corner(backbone, piece.stage, piece.latents)) for piece in pieces]
    predictions = [_padded(backbone, each) for each in backbone.forward_stages(own)]
    return torch.cat(predictions)[torch.argsort(order)]


def of_stage(
    backbone: Backbone,
    stage: int,
    latents: Tensor,
    t: Tensor,
    labels: Labels,
    *,
    scores: Tensor | None = None,
    modulation: Modulations | None = None,
) -> Tensor:
    """The same of samples that all are of one stage."""
    corner = _corner(backbone, stage, latents)
    return _padded(backbone, backbone.forward_stage(stage, corner, t, labels, modulation, scores))


def _corner(backbone: Backbone, stage: int, latents: Tensor) -> Tensor:
    return latents[(slice(None), slice(None), *map(slice, backbone.latent_of(stage)[1:]))]


def _padded(backbone: Backbone, prediction: Tensor) -> Tensor:
    missing = [side - own for side, own in zip(backbone.shape.size, prediction.shape[2:], strict=True)]
    return F.pad(prediction, [each for side in reversed(missing) for each in (0, side)])


@law("Look for a mean, a norm, a reshape or a mask over dimension 0, which holds samples of other images.")
def sample_is_alone(recipe: Recipe) -> None:
    """A sample's output does not depend on who else is in the batch, or on the stages that they are in."""
    backbone = build_random(recipe)
    latents, t, labels = mixed_inputs(backbone)
    together = whole(backbone, latents, t, labels)
    for index in range(len(t)):
        one = slice(index, index + 1)
        alone = whole(backbone, latents[one], t[one], rows(labels, one))
        assert_close(together[one], alone, f"sample {index} at t = {float(t[index])} depends on the rest of its batch")


@law("Let the backbone choose stages by noise level alone, ties as the recipe says.")
def follows_its_stages(recipe: Recipe) -> None:
    """Each sample goes through the stage that its noise level is in, thresholds included, in any order."""
    backbone = build_random(recipe)
    thresholds = [stage.noise_above for stage in backbone.stages[:-1]]
    tie = 1 if backbone.ties == "cleaner" else 0
    expected = {threshold: index + tie for index, threshold in enumerate(thresholds)}
    for index, (low, high) in enumerate(noise_ranges(backbone.stages)):
        expected[(low + high) / 2] = index
    expected |= {0.0: len(backbone.stages) - 1, 1.0: 0}
    t = torch.tensor(list(expected), dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(len(t), *backbone.latent, generator=generator, dtype=torch.float64)
    labels = backbone.conditioner.example_labels(len(t))
    velocity = whole(backbone, latents, t, labels)
    for index, stage in enumerate(expected.values()):
        one = slice(index, index + 1)
        direct = of_stage(backbone, stage, latents[one], t[one], rows(labels, one))
        assert_close(velocity[one], direct, f"t = {float(t[index])} does not go through stage {stage}")
    order = torch.randperm(len(t), generator=generator)
    shuffled = whole(backbone, latents[order], t[order], rows(labels, order))
    assert_close(shuffled, velocity[order], "the output is not in batch order")


@law(
    "Let forward() over several groups give for each what forward_stage() gives, gradients too: nothing is "
    "mixed or detached between them."
)
def lockstep_is_stage_by_stage(recipe: Recipe) -> None:
    """All stages in one pass give what each gives by itself: velocities, and the gradient of every parameter.

    With a router, of tokens that are routed as in training.
    """
    backbone = build_random(recipe)
    latents, t, labels = mixed_inputs(backbone)
    generator = torch.Generator().manual_seed(2)
    weigh = torch.randn(latents.shape, generator=generator, dtype=torch.float64)
    scores = _scores(backbone, len(t))
    together = whole(backbone, latents, t, labels, scores)
    gradients = _gradients(backbone, (together * weigh).sum())
    alone, loss = torch.empty_like(together), torch.zeros((), dtype=torch.float64)
    for stage in range(len(backbone.stages)):
        own = (backbone.stage_of(t) == stage).nonzero().squeeze(1)
        velocity = of_stage(backbone, stage, latents[own], t[own], rows(labels, own), scores=scores[own])
        loss = loss + (velocity * weigh[own]).sum()
        alone[own] = velocity.detach()
    assert_close(together, alone, "the velocity of all stages in one pass is not that of each", LOCKSTEP)
    for (name, gradient), expected in zip(gradients.items(), _gradients(backbone, loss).values(), strict=True):
        assert_close(gradient, expected, f"the gradient of {name} in one pass is not that of each stage", LOCKSTEP)


def _gradients(backbone: Backbone, loss: Tensor) -> dict[str, Tensor]:
    parameters = dict(backbone.named_parameters())
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(parameters, found, strict=True))


@law("Compute the same vectors from the same condition: keep no state from call to call.")
def takes_modulation(recipe: Recipe) -> None:
    """``forward_stage`` with what ``modulate`` returned computes what it computes without."""
    backbone = build_random(recipe)
    latents, t, labels = mixed_inputs(backbone)
    for stage in range(len(backbone.stages)):
        given = of_stage(backbone, stage, latents, t, labels, modulation=backbone.modulate(stage, t, labels))
        assert torch.equal(given, of_stage(backbone, stage, latents, t, labels)), "modulate gives something else"


@law("Make tensors in the dtype of the inputs or parameters, and cast back what you compute in another.")
def keeps_dtype_and_shape(recipe: Recipe) -> None:
    """Velocity has shape and dtype of the latents, also in bfloat16."""
    for dtype in (torch.float32, torch.bfloat16):
        backbone = build_random(recipe, dtype=dtype)
        latents, t, labels = mixed_inputs(backbone, dtype)
        velocity = whole(backbone, latents, t, labels)
        assert velocity.shape == latents.shape
        assert velocity.dtype == dtype


@law(
    "Add what a branch computed to the tokens that came in (tokens + branch), and return that sum: do not end "
    "in a Linear."
)
def residual_stream_is_wide(recipe: Recipe) -> None:
    """Under autocast blocks are given and return float32 tokens: rounded ones, a block has added up in bfloat16."""
    backbone = build_random(recipe, dtype=torch.float32)
    narrow: list[str] = []

    def look(index: int, _: nn.Module, inputs: tuple[list[Group]], outputs: list[Tensor]) -> None:
        for does, several in (("is given", [group.tokens for group in inputs[0]]), ("returns", outputs)):
            narrow.extend(f"block {index} {does} {each.dtype}" for each in several if each.dtype != torch.float32)

    for index, block in enumerate(backbone.blocks):
        block.register_forward_hook(partial(look, index))
    with torch.autocast("cpu", torch.bfloat16):
        whole(backbone, *mixed_inputs(backbone, torch.float32))
    assert not narrow, f"under autocast {narrow[0]} tokens, and the residual stream should be torch.float32"


@law(
    "Look for a detach(), a no_grad or a parameter that forward leaves out; name in without_gradient() what "
    'can have no gradient. A block that leaves tokens in front alone says refuses = {"prefix"}: they learn nothing.'
)
def gradient_reaches_all(recipe: Recipe) -> None:
    """A batch with samples of all stages gives every parameter a gradient, but those declared to have none.

    Where a router has parameters, the batch is routed as in training too: they may stand for what is left out.
    """
    backbone = build_random(recipe)
    latents, t, labels = mixed_inputs(backbone)
    weighed(whole(backbone, latents, t, labels), seed=2).backward()  # type: ignore[no-untyped-call]
    if list(backbone.router.parameters()):
        scores = _scores(backbone, len(t))
        weighed(whole(backbone, latents, t, labels, scores), seed=2).backward()  # type: ignore[no-untyped-call]
    assert_gradients(backbone)


def _scores(backbone: Backbone, samples: int) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.rand(samples, backbone.scores, generator=generator, dtype=torch.float64)


@law(
    "Keep what forward computes with in parameters and buffers, not in plain attributes that differ from build "
    "to build."
)
def state_round_trip(recipe: Recipe) -> None:
    """The state dict through safetensors into another build gives the same velocity, bit by bit."""
    backbone = build_random(recipe)
    other = cast_weights(_build_random(recipe, seed=1), torch.float64)  # which no other law asks for: no use to keep it
    inputs = mixed_inputs(backbone)
    assert not torch.equal(whole(backbone, *inputs), whole(other, *inputs)), "the output does not depend on the weights"
    other.load_state_dict(load(save(backbone.state_dict())))
    assert torch.equal(whole(backbone, *inputs), whole(other, *inputs)), (
        "the state dict does not carry all of the state"
    )


@law("Make parameters and buffers in the constructor, none at the level of the module or class, and change no option.")
def builds_share_nothing(recipe: Recipe) -> None:
    """Two builds share no tensor, and building changes no recipe."""
    before = recipe.resolved()
    first, second = build(recipe), _kept(recipe).backbone
    assert not storages(first) & storages(second), "two builds share a tensor"
    assert recipe.resolved() == before, "building changes the recipe"


@law(
    "Fill every parameter and buffer in place in reset_parameters() of the module that owns it; no tensor is "
    "made whole elsewhere."
)
def initialises_whole(recipe: Recipe) -> None:
    """Built on the meta device, the assembly is made whole by ``init_weights``, as one that was built on the CPU."""

    def create(device: str, seed: int) -> Backbone:
        with torch_seeded(seed):
            return build(recipe, device=device)

    def outputs(backbone: nn.Module) -> list[Tensor]:
        assert isinstance(backbone, Backbone)
        return [whole(cast_weights(backbone, torch.float64), *mixed_inputs(backbone))]

    assert_initialises_whole(create, outputs, seed=0)


ASSEMBLY_LAWS: tuple[AssemblyLaw, ...] = (
    sample_is_alone,
    follows_its_stages,
    lockstep_is_stage_by_stage,
    takes_modulation,
    keeps_dtype_and_shape,
    residual_stream_is_wide,
    gradient_reaches_all,
    state_round_trip,
    builds_share_nothing,
    initialises_whole,
)
"""Laws of every assembly."""
