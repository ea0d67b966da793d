"""Weights of one backbone to start another of: what fits is taken, and every line says what became of the rest.

Where a change allows it, the other one first computes what the donor did: of further classes, of channels that say the
same, of a latent of twice the size in patches of twice the size, of further blocks, and of further stages or levels in
the noise levels that were there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from zoo.assembly import build
from zoo.backbone import Backbone
from zoo.errors import WeightsError, listed
from zoo.parts import IndexConditioner
from zoo.recipe import Recipe
from zoo.registry import Registry
from zoo.schedule import Grid, grid_of, patch_name
from zoo.weights import fitting
from zoo.weights.class_rows import ClassRows, class_rows
from zoo.weights.clock import with_clock
from zoo.weights.inflation import ONLY_INITIAL, Surgery, part_of
from zoo.weights.state import Weights, is_same_table, position_tables

INITIAL = ONLY_INITIAL | {("modulation", "init"), ("modulation", "tables"), ("patch_embedder", "init")}
"""Options that say how weights start, and nothing about what they mean."""

ITS_OWN = frozenset({("head", "learn_sigma"), ("position", "coordinates")})
"""Options that are seen to here."""

OUTPUTS = {"attention": ("proj",), "cross": ("proj",), "mlp": ("fc2", "out")}
"""By the slot of a block: the layer whose outputs are added to the tokens, as built-in parts call it."""

PATCHED = re.compile(r"(patch_embedders|heads|positions)\.(\d+(?:x\d+)*)\.(.+)")
"""What there is of every patch."""

RESAMPLER = re.compile(r"(upsamplers|downsamplers|skips)\.(\d+(?:x\d+)*)_to_(\d+(?:x\d+)*)\.(proj\.)?(weight|bias)")


def adapt(
    donor: Weights, target: Recipe, fresh: Mapping[str, Tensor], registry: Registry, names: Sequence[str] = ()
) -> Surgery:
    """All weights of a backbone, of a donor's as far as they fit.

    Args:
        donor: weights of another backbone, of the same width and heads.
        target: the recipe of the backbone to start.
        fresh: its freshly initialised weights, by name; what the donor cannot fill stays so.
        registry: the parts to choose from.
        names: of its classes, by label, as far as they are known.

    Returns:
        The tensors, those of ``new`` too; ``notes`` and ``lines`` say what was done.

    Raises:
        WeightsError: the backbone has another width, number of heads or of axes, or nothing fits.
    """
    with torch.no_grad(), torch.device("cpu"):
        own = {name: each.cpu() for name, each in fresh.items()}
        return _Adaptation(donor, target, own, registry, class_rows(donor, target, names)).run()


class _Adaptation:
    def __init__(
        self, donor: Weights, target: Recipe, fresh: Mapping[str, Tensor], registry: Registry, classes: ClassRows
    ) -> None:
        _refuse_other_sizes(donor.recipe, target)
        self.classes = classes
        self.surgery, self.target, self.fresh = Surgery(), target, fresh
        clock = target.backbone.time_embedder.resolved().get("clock")
        self.donor = donor if clock is None else with_clock(donor, clock, registry)
        if self.donor is not donor:
            self._note(f"time_embedder: turned to the clock {clock}: equal up to rounding")
        self.before, self.after = build(self.donor.recipe, device="meta"), build(target, device="meta")
        self.learned = {name for name, _ in self.after.named_parameters()}
        self.used: set[str] = set()
        self.blocks = fitting.block_map(self.before.stages, self.after.stages)
        self.fixed = position_tables(self.before)

    def run(self) -> Surgery:
        """Every tensor of the target, in the order of its state dict."""
        found: dict[str, Tensor] = {}
        for name, own in self.fresh.items():
            before = set(self.used), list(self.surgery.notes)
            made = self._made(name)
            if made is None or made.shape != own.shape:
                self.used, self.surgery.notes = before
                self.surgery.new.setdefault(part_of(name, self.target), []).append(name)
                made = own
            found[name] = made.to(own.dtype)
        if not self.used:
            raise WeightsError(f"{self.donor.recipe.name}: nothing of it fits {self.target.name}; take other weights")
        self.surgery.tensors = found
        self._told_of_blocks()
        self._told_of_the_rest()
        return self.surgery

    def _note(self, line: str) -> None:
        if line not in self.surgery.notes:
            self.surgery.notes.append(line)

    def _given(self, name: str) -> Tensor | None:
        """The donor's tensor, in the dtype that it is computed with here."""
        found = self.donor.tensors.get(name)
        if found is None:
            return None
        self.used.add(name)
        return found.float() if found.dtype in (torch.float16, torch.bfloat16) else found

    def _made(self, name: str) -> Tensor | None:
        """What is made of the donor's weights for one of the target's; None where there is nothing."""
        kind = name.split(".")[0].removesuffix("s")
        if kind == "stage_embedder":
            return self._stage_rows(name)
        if kind == "block":
            return self._of_block(name)
        if kind in ("upsampler", "downsampler", "skip") and name not in self.donor.tensors:
            return self._between(name)
        if not _alike(
            self.donor.recipe.backbone.spec(kind).resolved(), self.target.backbone.spec(kind).resolved(), kind
        ):
            return None
        known = kind == "position" or self.target.backbone.spec(kind).type in ("linear", "conv")
        if known and (found := PATCHED.fullmatch(name)) is not None:
            by_patch = {"patch_embedder": self._embedder, "head": self._head, "position": self._position}
            return by_patch[kind](name, _grid(found[2]), found[3])
        if kind == "class_conditioner":
            return self._class_rows(name)
        if kind == "modulation":
            return self._modulation(name)
        return self._given(name)

    def _class_rows(self, name: str) -> Tensor | None:
        given, own = self._given(name), self.fresh[name]
        by_index = isinstance(self.after.conditioner, IndexConditioner)
        if given is None or not by_index or (self.classes.are_the_same and given.shape == own.shape):
            return given
        lengths = self.classes.before + 1, len(self.classes.sources) + 1
        if (len(given), len(own)) != lengths or given.shape[1:] != own.shape[1:]:
            return given
        self._note(f"class_conditioner: {self.classes.words()}")
        return self.classes.of(given, own)

    def _embedder(self, name: str, patch: Grid, rest: str) -> Tensor | None:
        source = self._patch_for(patch, "patch_embedder")
        given = None if source is None else self._given(f"patch_embedders.{patch_name(source)}.{rest}")
        if given is None or source is None or rest != "proj.weight":
            return given
        channels, wanted = (each.backbone.latent.channels for each in (self.donor.recipe, self.target))
        if given.ndim > 2:  # patches that overlap
            if source != patch:
                return None
            source = patch = tuple(given.shape[2:])
        weight = given.reshape(len(given), channels, *source)
        if channels != wanted:
            words = fitting.words_of_channels(channels, wanted)
            self._note(f"latent: {wanted} channels in place of {channels}: {words}")
        own = self.fresh[name].reshape(len(given), wanted, *patch)
        return fitting.embedding(weight, own).reshape(self.fresh[name].shape)

    def _head(self, name: str, patch: Grid, rest: str) -> Tensor | None:
        source = self._patch_for(patch, "head")
        given = None if source is None else self._given(f"heads.{patch_name(source)}.{rest}")
        if given is None or source is None or not rest.startswith("proj."):
            return given
        channels, wanted = (each.backbone.latent.channels for each in (self.donor.recipe, self.target))
        sigma = bool(self.target.backbone.head.resolved().get("learn_sigma"))
        rows = given.reshape(prod(source), -1, channels, *given.shape[1:])
        halves = [fitting.channels_out(rows[:, half], wanted) for half in range(rows.shape[1])]
        if sigma and len(halves) == 1:
            halves.append(torch.zeros_like(halves[0]))
        joined = torch.cat(halves if sigma else halves[:1], dim=1)
        return fitting.patch_out(joined.reshape(*source, *joined.shape[1:]), patch).flatten(0, len(patch))

    def _patch_for(self, patch: Grid, kind: str) -> Grid | None:
        """The donor's patch that another one's weights are made of: itself, or the largest that divides it, or the
        smallest that it divides."""
        there = _patches(self.before, f"{kind}s")
        if patch in there:
            return patch
        near = [each for each in there if fitting.fits(each, patch)]
        finer = [each for each in near if prod(each) <= prod(patch)]
        found = max(finer, key=prod) if finer else min(near, key=prod, default=None)
        if found is not None:
            how = "mean" if prod(found) < prod(patch) else "repetition"
            self._note(
                f"{kind}: of patch {patch_name(patch)} from the donor's {patch_name(found)}: of the pixels' {how}"
            )
        return found

    def _position(self, name: str, patch: Grid, rest: str) -> Tensor | None:
        own = self.fresh[name]
        if name not in self.learned:
            return self._fixed(name, own)
        donors = _patches(self.before, "positions")
        source = patch if patch in donors else min(donors, key=prod)
        given = self._given(f"positions.{patch_name(source)}.{rest}")
        if given is None or given.shape == own.shape:
            return given
        sizes = [self.donor.recipe.backbone.latent.size, self.target.backbone.latent.size]
        grids = [grid_of(tuple(size), each) for size, each in zip(sizes, (source, patch), strict=True)]
        if [prod(grid) for grid in grids] != [len(given), len(own)]:
            return None
        shown = [patch_name(grid) for grid in grids]
        self._note(
            f"position: the learned table of patch {patch_name(patch)} is interpolated from {' to '.join(shown)}"
        )
        return fitting.interpolated(given, *grids)

    def _fixed(self, name: str, own: Tensor) -> Tensor:
        """The donor's table where the target has the same, so that not even rounding differs; or the one of here."""
        given = self._given(name)
        if given is None:
            return own
        is_made = is_same_table(given, self.fixed[name])
        if given.shape == own.shape and (is_same_table(given, own) or not is_made):
            return given
        self._note(f"position: {name} is made anew" + ("" if is_made else ", and the donor's was a table of its own"))
        return own

    def _stage_rows(self, name: str) -> Tensor | None:
        """A row of each stage, that of the donor's stage at its noise levels; zeros where the donor has none."""
        given, own = self._given(name), self.fresh[name]
        if given is None:
            self._note("stage_embedder: starts at zero")
            return torch.zeros_like(own)
        if given.shape[1:] != own.shape[1:]:
            return None
        return given[fitting.stage_map(self.before.stages, self.after.stages)]

    def _between(self, name: str) -> Tensor | None:
        """A level more: finer tokens start as the coarse one, coarse tokens as the mean; skips add what the patch
        embedder sees."""
        found, own = RESAMPLER.fullmatch(name), self.fresh[name]
        kind = name.split(".")[0].removesuffix("s")
        if found is None or self.target.backbone.spec(kind).type != "linear":
            return None
        copies = prod(max(a, b) // min(a, b) for a, b in zip(_grid(found[2]), _grid(found[3]), strict=True))
        weight = self.fresh[name.removesuffix(found[5]) + "weight"]
        dim, factor = min(weight.shape), 1 if kind == "skip" else copies
        if max(weight.shape) != dim * factor:  # between other widths
            return None
        what = "adding what the patch embedder sees" if kind == "skip" else "leaving tokens as they are"
        self._note(f"{kind}: {found[2]} to {found[3]} starts by {what}")
        if found[5] == "bias":
            return torch.zeros_like(own)
        if kind == "upsampler":
            return fitting.upsampling(dim, factor, own.dtype)
        return fitting.downsampling(dim, factor, own.dtype)

    def _of_block(self, name: str) -> Tensor | None:
        _, number, rest = name.split(".", 2)
        source = self.blocks[int(number)]
        if source is None:
            slot, _, layer = rest.rpartition(".")[0].partition(".")
            stays = layer in OUTPUTS.get(slot, ()) and (slot == "cross" or not self._gates_start_at_zero())
            return torch.zeros_like(self.fresh[name]) if stays else self.fresh[name]
        specs = [
            each.backbone.spec("block", at) for each, at in ((self.donor.recipe, source), (self.target, int(number)))
        ]
        return self._given(f"blocks.{source}.{rest}") if specs[0].resolved() == specs[1].resolved() else None

    def _modulation(self, name: str) -> Tensor | None:
        own, keys = self.fresh[name], name.split(".")
        if keys[1] == "blocks":
            source = self.blocks[int(keys[2])]
            rest = ".".join(keys[3:])
            return torch.zeros_like(own) if source is None else self._given(f"modulation.blocks.{source}.{rest}")
        if keys[1] == "tables" and len(keys) == 2 and len(own) == len(self.blocks):
            given = self._given(name)
            if given is None or len(given) != len(self.before.blocks) or given.shape[1:] != own.shape[1:]:
                return None
            return torch.stack([torch.zeros_like(own[0]) if at is None else given[at] for at in self.blocks])
        return self._given(name)

    def _gates_start_at_zero(self) -> bool:
        return self.target.backbone.modulation.type == "adaln_zero"

    def _stays_identity(self, number: int) -> bool:
        """Whether a new block adds nothing to the tokens."""
        if self.target.backbone.spec("block", number).type != "dit":
            return False
        names = [name for name in self.fresh if name.startswith(f"blocks.{number}.")]
        slots = {name.split(".")[2] for name in names} & set(OUTPUTS)
        ends = {
            slot: any(f"blocks.{number}.{slot}.{layer}.weight" in names for layer in OUTPUTS[slot]) for slot in slots
        }
        gated = {"attention", "mlp"} if self._gates_start_at_zero() else set()
        return all(ends[slot] or slot in gated for slot in slots)

    def _told_of_blocks(self) -> None:
        new = [number for number, source in enumerate(self.blocks) if source is None]
        left = sorted(set(range(len(self.before.blocks))) - set(self.blocks))
        if new:
            quiet = all(self._stays_identity(number) for number in new)
            how = "which change nothing at first" if quiet else "which start as the recipe has them"
            self._note(f"block: {len(new)} more than the donor's ({listed(list(map(str, new)), 9)}), {how}")
        if left:
            self._note(f"block: {len(left)} of the donor's are left behind ({listed(list(map(str, left)), 9)})")

    def _told_of_the_rest(self) -> None:
        one, other = self.donor.recipe, self.target
        for what, own, wanted in (
            ("prediction", one.backbone.prediction, other.backbone.prediction),
            ("path", one.objective.path.resolved(), other.objective.path.resolved()),
        ):
            if own != wanted:
                self.surgery.losses.append(f"{what}: the donor's weights have learned {own}, the target's {wanted}")
        lost = {
            f"{place}.{number}."
            for number in set(range(len(self.before.blocks))) - set(self.blocks)
            for place in ("blocks", "modulation.blocks")
        }
        for name in self.donor.tensors:
            if name not in self.used and name not in self.fixed and not name.startswith(tuple(lost)):
                self.surgery.left.setdefault(part_of(name, one), []).append(name)


def _refuse_other_sizes(one: Recipe, other: Recipe) -> None:
    sizes = [(each.backbone.dim, each.backbone.heads, len(each.backbone.latent.size)) for each in (one, other)]
    names = ("backbone.dim", "backbone.heads", "the number of axes of backbone.latent")
    problems = [
        f"{name}: {own} in the donor, {wanted} in the target; they must be the same"
        for name, own, wanted in zip(names, *sizes, strict=True)
        if own != wanted
    ]
    if problems:
        raise WeightsError(f"{one.name}: cannot be the donor of {other.name}", problems)


def _alike(one: Mapping[str, Any], other: Mapping[str, Any], kind: str) -> bool:
    """Whether weights of two parts of a kind mean the same."""
    keys = [key for key in {**one, **other} if (kind, key) not in INITIAL | ITS_OWN]
    return all(one.get(key) == other.get(key) for key in keys)


def _patches(backbone: Backbone, place: str) -> list[Grid]:
    """Those that there is a part of in a place of the backbone."""
    names = [name for name, _ in backbone.get_submodule(place).named_children()]
    return [_grid(name) for name in names if re.fullmatch(r"\d+(x\d+)*", name)]


def _grid(name: str) -> Grid:
    return tuple(map(int, name.split("x")))
