"""Surgery: a backbone with several patches starts from the weights of one with a single patch.

By noise level as PPFlow does (section 3): blocks are copied, coarse patch embedders average, coarse heads repeat, and
stage embeddings start at zero. By depth (MPDiT's levels), upsampled tokens start as exact repeats of the coarse ones,
and the fine patches join them as the donor embeds them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Literal

import torch
from einops import rearrange, repeat
from torch import Tensor

from zoo.assembly import build
from zoo.backbone import Backbone
from zoo.errors import WeightsError
from zoo.recipe import Recipe
from zoo.registry import Registry
from zoo.schedule import LevelShape, StageShape, pairs_of, patch_name
from zoo.weights.clock import with_clock
from zoo.weights.state import Weights, is_same_table, position_tables

Average = Literal["pixels", "patches"]
"""What a coarse patch of r x s fine ones averages.

``pixels``: the r x s that lie together, so that it sees an average-pooled latent (the released PPFlow).
``patches``: the pixels at the same place of each fine patch (another reading of its section 3).
"""

COPIED = ("time_embedder", "class_conditioner", "modulation", "block")
"""Kinds whose part is copied where donor and target have the same."""

ONLY_INITIAL = {("class_conditioner", "std")}
"""Options that say how weights start, and nothing about what they mean."""


@dataclass
class Surgery:
    """What becomes of a donor's weights.

    Attributes:
        tensors: of the target, by name; without those of ``new``.
        new: by the target's part, names that the donor cannot fill.
        left: by the donor's part, names that the target has no place for.
        losses: other reasons why the target starts otherwise than the donor ended.
        notes: what has been done to the donor's weights that changes nothing they mean.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    new: dict[str, list[str]] = field(default_factory=dict)
    left: dict[str, list[str]] = field(default_factory=dict)
    losses: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """What is not the donor's, a line for each part."""
        yield from self.losses
        for part, names in self.new.items():
            yield f"{part}: newly initialised: {', '.join(_shortened(names))}"
        for part, names in self.left.items():
            yield f"{part}: the target has no place for the donor's {', '.join(_shortened(names))}"


def inflate(donor: Weights, target: Recipe, registry: Registry, *, average: Average = "pixels") -> Surgery:
    """Fill a target's weights from an isotropic donor's.

    Args:
        donor: weights of a backbone with one patch for all blocks and noise levels.
        target: the recipe of the backbone to start.
        registry: the parts to choose from.
        average: what coarse patches average.

    Raises:
        WeightsError: the donor has several patches, or another width, number of heads or latent channels, or one of
            them has latents of other axes than height and width; or the target goes to coarser patches, to other
            widths, or has stages with latents of another size.
    """
    with torch.no_grad(), torch.device("cpu"):  # where weights of files are, whatever the default is
        return _Inflation(donor, target, registry, average).run()


def initialise_rest(surgery: Surgery, fresh: Backbone) -> dict[str, Tensor]:
    """All tensors of the target: those that the donor cannot fill are taken from a freshly initialised one."""
    own = fresh.state_dict()
    dtype = _dtype_of(surgery.tensors)
    rest = {name: own[name].to(dtype) for names in surgery.new.values() for name in names}
    return {name: surgery.tensors[name] if name in surgery.tensors else rest[name] for name in own}


class _Inflation:
    def __init__(self, donor: Weights, target: Recipe, registry: Registry, average: Average) -> None:
        _refuse_other_sizes(donor.recipe, target)
        self.surgery = Surgery()
        self.donor, self.target, self.average = self._with_clock_of(donor, target, registry), target, average
        self.before = build(donor.recipe, device="meta")
        self.after = build(target, device="meta")
        if len(self.before.stages) > 1 or len(self.before.stages[0].levels) > 1:
            name = donor.recipe.name
            raise WeightsError(f"{name}: has several stages or levels; surgery starts from a backbone with one")
        _refuse_other_ways(self.before.stages[0].levels[0], self.after.stages, f"{donor.recipe.name} > {target.name}")
        self.wanted = self.after.state_dict()
        self.dtype = _dtype_of(donor.tensors)
        self.used: set[str] = set()
        self._fine = self.before.shape.nodes[0].patch
        self._donors = patch_name(self._fine)

    def run(self) -> Surgery:
        for kind in COPIED:
            if _same_part(kind, self.donor.recipe, self.target):
                self._copy("blocks." if kind == "block" else f"{kind}.")
        self._positions()
        self._stage_embedder()
        if _both(self.donor.recipe, self.target, "patch_embedder", "linear"):
            for name, _ in self.after.get_submodule("patch_embedders").named_children():
                self._patch_embedder(name)
        if _both(self.donor.recipe, self.target, "head", "linear"):
            self._heads()
        if self.target.backbone.upsampler.type == "linear":
            self._upsamplers()
        if self.target.backbone.skip.type == "linear":
            self._skips()
        self._rest()
        return self.surgery

    def _with_clock_of(self, donor: Weights, target: Recipe, registry: Registry) -> Weights:
        """The donor with the target's clock, where both have a sinusoidal time embedder."""
        options = target.backbone.time_embedder.resolved()
        turned = with_clock(donor, options["clock"], registry) if "clock" in options else donor
        if turned is not donor:
            self.surgery.notes.append(
                f"time_embedder is turned to the target's clock, {options['clock']}: equal up to rounding"
            )
        return turned

    def _names(self, prefix: str) -> list[str]:
        return [name for name in self.wanted if name.startswith(prefix)]

    def _put(self, name: str, tensor: Tensor, *used: str) -> None:
        self.surgery.tensors[name] = tensor
        self.used.update(used)

    def _copy(self, prefix: str) -> None:
        for name in self._names(prefix):
            given = self.donor.tensors.get(name)
            if given is not None and given.shape == self.wanted[name].shape:
                self._put(name, given, name)

    def _positions(self) -> None:
        """The donor's tables where the target has the same grid and patch, so that not even rounding differs."""
        learned = {name for name, _ in self.after.named_parameters()}
        own = position_tables(self.before)
        for name, table in position_tables(self.after).items():
            given = self.donor.tensors.get(name)
            is_made = given is not None and name not in learned and is_same_table(given, own[name])
            if given is not None and given.shape == table.shape and not (is_made and not is_same_table(given, table)):
                self._put(name, given, name)
            elif name not in learned:
                self._put(name, table.to(self.dtype))
                if given is not None and not is_made:
                    self.surgery.losses.append(f"position: the donor's {name} is a table of its own, for another grid")

    def _stage_embedder(self) -> None:
        name = "stage_embedder.embedding.weight"
        if self.target.backbone.stage_embedder.type != "learned":
            return
        given = self.donor.tensors.get(name)
        stages, dim = self.wanted[name].shape
        if given is None:
            self._put(name, torch.zeros(stages, dim, dtype=self.dtype))
        else:
            self._put(name, given[:1].repeat(stages, 1), name)

    def _axes(self, name: str) -> dict[str, int] | None:
        """Rows and columns (a, b) of the donor's patch, and of such patches (r, s) in one of the target's; None if it
        is no multiple."""
        (height, width), fine = map(int, name.split("x")), self._fine
        if height % fine[0] or width % fine[1]:
            return None
        return {"a": fine[0], "b": fine[1], "r": height // fine[0], "s": width // fine[1]}

    @property
    def _pixels(self) -> str:
        """Where the donor's pixels (a, b) are in a coarse patch."""
        return "a r b s" if self.average == "pixels" else "r a s b"

    def _patch_embedder(self, name: str) -> None:
        axes, given = self._axes(name), f"patch_embedders.{self._donors}.proj"
        if axes is None:
            return
        spread = repeat(self.donor.tensors[f"{given}.weight"], f"d (c a b) -> d (c {self._pixels})", **axes)
        own = f"patch_embedders.{name}.proj"
        self._put(f"{own}.weight", spread / (axes["r"] * axes["s"]), f"{given}.weight")
        self._put(f"{own}.bias", self.donor.tensors[f"{given}.bias"].clone(), f"{given}.bias")

    def _heads(self) -> None:
        one, other = (recipe.backbone.head.resolved()["learn_sigma"] for recipe in (self.donor.recipe, self.target))
        if one and not other:
            self.surgery.notes.append("head: what learn_sigma adds is left behind: no output depends on it")
        given = f"heads.{self._donors}.proj"
        for name, _ in self.after.get_submodule("heads").named_children():
            axes = self._axes(name)
            if axes is None:
                continue
            for each, rest in (("weight", " d"), ("bias", "")):
                rows = self._outputs(self.donor.tensors[f"{given}.{each}"], axes["a"] * axes["b"])
                repeated = repeat(rows, f"(a b c){rest} -> ({self._pixels} c){rest}", **axes)
                self._put(f"heads.{name}.proj.{each}", repeated, f"{given}.{each}")

    def _outputs(self, rows: Tensor, pixels: int) -> Tensor:
        """A head's rows with as many outputs a pixel as the target has; what ``learn_sigma`` adds is never used."""
        channels = self.donor.recipe.backbone.latent.channels
        outputs = channels * (2 if self.target.backbone.head.resolved()["learn_sigma"] else 1)
        by_pixel = rearrange(rows, "(p c) ... -> p c ...", p=pixels)
        missing = outputs - by_pixel.shape[1]
        if missing > 0:
            zeros = torch.zeros(pixels, missing, *rows.shape[1:], dtype=rows.dtype)
            by_pixel = torch.cat([by_pixel, zeros], dim=1)
        return by_pixel[:, :outputs].flatten(0, 1)

    def _skips(self) -> None:
        """Fine patches join as the donor embeds them: on digits, that trains faster than skips that start at zero."""
        identity = torch.eye(self.target.backbone.dim, dtype=self.dtype)
        for name in self._names("skips."):
            bias = torch.zeros(len(identity), dtype=self.dtype)
            self._put(name, identity.clone() if name.endswith("weight") else bias)

    def _upsamplers(self) -> None:
        """Each finer token starts as its coarse one."""
        dim = self.target.backbone.dim
        identity = torch.eye(dim, dtype=self.dtype)
        for (coarse, _), (fine, _) in pairs_of(self.after.stages, finer=True):
            name = f"upsamplers.{patch_name(coarse)}_to_{patch_name(fine)}.proj"
            copies = (coarse[0] // fine[0]) * (coarse[1] // fine[1])
            self._put(f"{name}.weight", identity.repeat_interleave(copies, dim=0))
            self._put(f"{name}.bias", torch.zeros(dim * copies, dtype=self.dtype))

    def _rest(self) -> None:
        """List what has been filled from nowhere, and what has gone nowhere."""
        one, other = self.donor.recipe, self.target
        if one.backbone.prediction != other.backbone.prediction:
            self.surgery.losses.append(
                f"prediction: the donor's weights predict {one.backbone.prediction}, the target"
                f" {other.backbone.prediction}"
            )
        own, path = (recipe.objective.path.resolved() for recipe in (one, other))
        if own != path:
            self.surgery.losses.append(f"path: the donor's weights have learned {own}, the target's {path}")
        for name in self.wanted:
            if name not in self.surgery.tensors:
                self.surgery.new.setdefault(part_of(name, other), []).append(name)
        for name in self.donor.tensors:
            if name not in self.used and not name.startswith("positions."):
                self.surgery.left.setdefault(part_of(name, one), []).append(name)


def _refuse_other_sizes(one: Recipe, other: Recipe) -> None:
    problems = [
        f"backbone.{key}: {own} in the donor, {theirs} in the target; they must be the same"
        for key, own, theirs in (
            ("dim", one.backbone.dim, other.backbone.dim),
            ("heads", one.backbone.heads, other.backbone.heads),
            ("latent.channels", one.backbone.latent.channels, other.backbone.latent.channels),
        )
        if own != theirs
    ]
    for who, recipe in (("donor", one), ("target", other)):
        if len(recipe.backbone.latent.size) != 2:
            size = list(recipe.backbone.latent.size)
            problems.append(f"backbone.latent.size: {size} in the {who}; surgery is of height and width")
    if problems:
        raise WeightsError(f"{one.name}: cannot be the donor of {other.name}", problems)


def _refuse_other_ways(donor: LevelShape, stages: Sequence[StageShape], which: str) -> None:
    """Surgery knows what finer patches start as, and nothing of coarser ones, other widths or other sizes."""
    for stage in stages:
        if set(stage.scale) != {1}:
            raise WeightsError(
                f"{which}: surgery knows no stages with latents of another size; take a target without scale"
            )
        for level in stage.levels:
            if (level.dim, level.heads) != (donor.dim, donor.heads):
                raise WeightsError(
                    f"{which}: surgery keeps the width and the heads of levels, which are {donor.dim} and {donor.heads}"
                    f" in the donor, {level.dim} and {level.heads} in the target; let both be alike"
                )
    for (before, _), (after, _) in pairs_of(stages, finer=False):
        raise WeightsError(
            f"{which}: surgery goes to finer patches alone, not from {patch_name(before)} to {patch_name(after)};"
            " take another target"
        )


def _shortened(names: Iterable[str]) -> Iterator[str]:
    """Names, where those that differ only in the number of a block or layer are one: ``blocks.{0..5}.mlp.fc1.bias``."""
    numbers: dict[tuple[str, ...], list[int]] = {}
    for name in names:
        before, number, after = re.fullmatch(r"(.*?\.)(\d+)(\..*)|.*", name).groups()  # type: ignore[union-attr]
        numbers.setdefault((before, after) if number else (name,), []).append(int(number or 0))
    for (before, *after), found in numbers.items():
        if not after:
            yield before
        elif len(found) == max(found) - min(found) + 1 > 1:
            yield f"{before}{{{min(found)}..{max(found)}}}{after[0]}"
        else:
            yield from (f"{before}{number}{after[0]}" for number in found)


def _dtype_of(tensors: Any) -> torch.dtype:
    return reduce(torch.promote_types, (tensor.dtype for tensor in tensors.values()))


def _both(one: Recipe, other: Recipe, kind: str, name: str) -> bool:
    return getattr(one.backbone, kind).type == name == getattr(other.backbone, kind).type


def _same_part(kind: str, one: Recipe, other: Recipe) -> bool:
    def meaning(recipe: Recipe) -> list[dict[str, Any]]:
        parts = [spec.resolved() for spec in recipe.backbone.of(kind)]
        return [{key: value for key, value in part.items() if (kind, key) not in ONLY_INITIAL} for part in parts]

    return all(mine == theirs for mine, theirs in zip(meaning(one), meaning(other), strict=False))


def part_of(name: str, recipe: Recipe) -> str:
    """The part that a tensor belongs to, as messages call it."""
    key, place, *_ = name.split(".")
    kind = key.removesuffix("s")
    return f"{kind} {recipe.backbone.spec(kind, int(place) if kind == 'block' else None).type}"
