"""The audit of an assembly: parameters, multiply-adds and tokens, per part and per stage."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from math import prod
from typing import Any

from zoo.assembly import build, create_part
from zoo.audit.parts import Params, PartAudit, count_params, parts_of
from zoo.audit.trace import StageCount, count_stage
from zoo.backbone import Backbone
from zoo.devices import set_aside
from zoo.errors import PluginError
from zoo.flow import Guidance, Solver, StagePlan
from zoo.flow.sampling import passes_of
from zoo.kinds import BACKBONE_KINDS, KINDS
from zoo.recipe import Recipe
from zoo.schedule import Grid, StageShape, grid_of, noise_ranges, shares


@dataclass(frozen=True)
class LevelAudit:
    """A level of a stage; ``macs`` are those of its blocks, ``tokens`` include those in front of the image's."""

    patch: Grid
    dim: int
    grid: Grid
    tokens: int
    image_tokens: int
    prefix_tokens: int
    blocks: int
    macs: int

    @property
    def latent(self) -> Grid:
        """Lengths of the axes of the stage's latents."""
        return tuple(count * side for count, side in zip(self.grid, self.patch, strict=True))


@dataclass(frozen=True)
class StagePart:
    """Exact multiply-adds of a kind of part in one stage."""

    kind: str
    macs: int


@dataclass(frozen=True)
class StageAudit:
    """A stage: its noise levels (low, high), its share of uniformly drawn ones, and its exact cost at batch 1.

    ``macs`` and ``training_macs`` are as of ``Audit``.
    """

    noise: tuple[float, float]
    share: float
    macs: int
    training_macs: int
    norm_ops: int
    attention_macs: int
    levels: tuple[LevelAudit, ...]
    parts: tuple[StagePart, ...]


@dataclass(frozen=True)
class PaperConvention:
    """MPDiT's counting: 2 x (finest image tokens)^2 x D for every block that attends, whatever tokens it runs on."""

    macs: int | None


@dataclass(frozen=True)
class TorchprofileConvention:
    """torchprofile's counting, by which DiC, DiCo and MPDiT's table 1 count: one more for each elementwise product.

    Those are products of modulation, of gates, of queries by their scale and of norms by their weight, also where one
    operator adds as well (``addcmul``); what pooling gives, which torchprofile charges too, is left out. None where a
    part declares its own count, which has none of them.
    """

    macs: int | None


@dataclass(frozen=True)
class ImageAudit:
    """What one image costs by the recipe's ``sample`` section.

    Attributes:
        solver: its name.
        steps: updates.
        guidance: in words: ``guidance 1.5``, or the part's name and its scales.
        passes: through the backbone in every stage, with label and without; None where an adaptive solver decides, or
            where the solver is of a plug-in that is not here.
        macs: of all passes; None likewise. Modulations count for every pass, although a batch shares them.
        problem: why the solver is not here.
    """

    solver: str
    steps: int
    guidance: str
    passes: tuple[int, ...] | None
    macs: int | None
    problem: str = ""

    @property
    def words(self) -> str:
        """``250 updates by euler, guidance 1.5``, and where the passes are not known, why."""
        words = f"{self.steps} updates by {self.solver}, {self.guidance}"
        if self.problem:
            return f"unknown: {words}; {self.problem}"
        return words if self.passes is not None else f"as many passes as it takes: {words}"


@dataclass(frozen=True)
class Audit:
    """What an assembly costs at batch 1; means are over uniform noise levels, rounded to whole numbers.

    ``macs`` are those of sampling; ``training_macs`` those of a forward pass in training, where a router leaves out
    tokens.
    """

    recipe: str
    params: Params
    macs: int
    training_macs: int
    flops: int
    norm_ops: int
    stages: tuple[StageAudit, ...]
    parts: tuple[PartAudit, ...]
    paper_convention: PaperConvention
    torchprofile_convention: TorchprofileConvention
    image: ImageAudit

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as ``zoo build --json`` prints them."""
        return asdict(self)


def audit(recipe: Recipe) -> Audit:
    """Count an assembly without allocating it.

    Args:
        recipe: a validated recipe.

    Raises:
        AuditError: the assembly cannot be counted exactly.
        ZooError: the recipe's solver refuses its number of steps.
    """
    with set_aside():
        return audit_backbone(build(recipe, device="meta"), recipe)


def audit_backbone(backbone: Backbone, recipe: Recipe) -> Audit:
    """The audit of a backbone that was built on the meta device from this recipe."""
    numbers = range(len(backbone.stages))
    counts = [count_stage(backbone, stage) for stage in numbers]
    routed = [count_stage(backbone, stage, routed=True) for stage in numbers] if backbone.scores else counts
    weights = shares(backbone.stages)
    macs = _mean([count.macs for count in counts], weights)

    def macs_of(names: Collection[str]) -> int:
        return _mean([sum(count.modules.get(name, 0) for name in names) for count in counts], weights)

    return Audit(
        recipe=recipe.name,
        params=count_params(backbone),
        macs=macs,
        training_macs=_mean([count.macs for count in routed], weights),
        flops=2 * macs,
        norm_ops=_mean([count.norm_ops for count in counts], weights),
        stages=tuple(_stage(backbone, stage, counts[stage], routed[stage].macs) for stage in numbers),
        parts=parts_of(backbone, recipe, macs_of),
        paper_convention=_paper_convention(backbone, recipe, counts),
        torchprofile_convention=_torchprofile_convention(counts, weights),
        image=_image(backbone, recipe, counts),
    )


def training_macs(report: Audit, plan: StagePlan) -> int:
    """Multiply-adds of the forward and backward pass of a mean sample of a batch.

    The backward pass has twice as many as the forward pass: gradients of inputs and of weights, also of those that
    ``train.freeze`` leaves as they are.

    Args:
        report: what each stage costs.
        plan: which samples of a batch are in which stage.
    """
    forward = sum(count * stage.training_macs for count, stage in zip(plan.counts, report.stages, strict=True))
    return 3 * forward // plan.group


def levels_of(backbone: Backbone, stage: StageShape, macs_of_blocks: Sequence[int] = ()) -> tuple[LevelAudit, ...]:
    """The levels of a stage with their patches, grids and tokens in this backbone."""
    size, levels, first = stage.size_in(backbone.shape.size), [], 0
    for level in stage.levels:
        node, blocks = level.node, macs_of_blocks[first : first + level.blocks]
        grid, m = grid_of(size, node.patch), backbone.prefixes[node.dim]
        image = prod(grid)
        levels.append(LevelAudit(node.patch, node.dim, grid, m + image, image, m, level.blocks, sum(blocks)))
        first += level.blocks
    return tuple(levels)


def _stage(backbone: Backbone, index: int, count: StageCount, training_macs: int) -> StageAudit:
    macs = [count.modules[f"blocks.{block}"] for block in range(len(backbone.blocks))]
    return StageAudit(
        noise=noise_ranges(backbone.stages)[index],
        share=float(shares(backbone.stages)[index]),
        macs=count.macs,
        training_macs=training_macs,
        norm_ops=count.norm_ops,
        attention_macs=count.attention_macs,
        levels=levels_of(backbone, backbone.stages[index], macs),
        parts=tuple(StagePart(kind, count.modules.get(KINDS[kind].where or "", 0)) for kind in BACKBONE_KINDS),
    )


def _mean(values: Sequence[int], weights: Sequence[Fraction]) -> int:
    return round(sum((value * weight for value, weight in zip(values, weights, strict=True)), Fraction(0)))


def _image(backbone: Backbone, recipe: Recipe, counts: Sequence[StageCount]) -> ImageAudit:
    options = recipe.sample
    unknown = ImageAudit(options.solver.type, options.steps, _words(options.guidance.resolved()), None, None)
    try:
        solver: Solver = create_part(recipe, "solver")
        guidance: Guidance = create_part(recipe, "guidance")
    except PluginError as error:  # weights are read, and their backbone counted, without what drew with them
        return replace(unknown, problem=str(error))
    found = passes_of(backbone, solver, options.steps, guidance, f"{recipe.name}: ")
    if found is None:
        return unknown
    if guidance.second == "weights" and not guidance.is_none:
        unknown = replace(unknown, guidance=f"{unknown.guidance}, its other weights' passes not counted")
    passes = tuple(sum(each) for each in found)
    macs = sum(count.macs * each for count, each in zip(counts, passes, strict=True))
    return replace(unknown, passes=passes, macs=macs)


def _words(guidance: Mapping[str, Any]) -> str:
    """``guidance 1.5 and 3.5``, or by the part's name where it is another than classifier-free guidance."""
    name = "guidance" if guidance["type"] == KINDS["guidance"].default else str(guidance["type"])
    scale = guidance.get("scale", [])
    scales = scale if isinstance(scale, list) else [scale]
    return " ".join([name, *[" and ".join(f"{each:g}" for each in dict.fromkeys(scales))] * bool(scales)])


def _paper_convention(backbone: Backbone, recipe: Recipe, counts: Sequence[StageCount]) -> PaperConvention:
    if len(counts) > 1:
        return PaperConvention(None)
    levels = levels_of(backbone, backbone.stages[0])
    finest = max(level.image_tokens for level in levels)
    widths = [level.dim for level in levels for _ in range(level.blocks)]
    charged = sum(
        2 * finest**2 * width for block, width in enumerate(widths) if counts[0].attention[f"blocks.{block}"] > 0
    )
    return PaperConvention(counts[0].macs - counts[0].attention_macs + charged)


def _torchprofile_convention(counts: Sequence[StageCount], weights: Sequence[Fraction]) -> TorchprofileConvention:
    charged = [count.macs + count.products for count in counts if count.products is not None]
    return TorchprofileConvention(_mean(charged, weights) if len(charged) == len(counts) else None)
