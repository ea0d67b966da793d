"""The laws of weight formats: what is exported comes back, and keys and shapes tell what they are said to tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from zoo.assembly import build, load_recipe
from zoo.errors import PluginError
from zoo.format_entries import FormatEntry, format_entry
from zoo.hookspecs import hookimpl
from zoo.loose_parts import PartsLike
from zoo.parts_file import name_of
from zoo.plugins import Plugin
from zoo.recipe import Recipe, differences
from zoo.registry import Registry
from zoo.testing.check import hold
from zoo.testing.failure import told
from zoo.testing.law import Law, law
from zoo.weights import WeightFormat, Weights, from_published, read_checkpoint, to_published, write_published
from zoo.weights.foreign import ForeignCheckpoint

SMALL: Mapping[str, Any] = {
    "name": "small",
    "backbone": {
        "latent": {"channels": 4, "height": 8, "width": 16},
        "num_classes": 5,
        "dim": 16,
        "depth": 2,
        "heads": 2,
        "patch_schedule": {"type": "uniform", "patch": 2},
        "head": {"type": "linear", "learn_sigma": True},
    },
}
"""A DiT that is twice as wide as high: what a format is tried with where no recipe is given."""


@dataclass(frozen=True)
class FormatCase:
    """A weight format, and a backbone that it can hold.

    Attributes:
        entry: the format.
        recipe: of the backbone.
        registry: the parts and formats to choose from.
    """

    entry: FormatEntry
    recipe: Recipe
    registry: Registry

    def simpler(self) -> Iterator[FormatCase]:
        """Nothing is."""
        return iter(())

    def weights(self, *, tables: bool) -> Weights:
        """Random ones; the position tables are random too, or as their parts make them."""
        backbone, generator = build(self.recipe, device="cpu"), torch.Generator().manual_seed(0)
        kept = {name for name, _ in backbone.named_buffers()} if tables else set()
        own = {
            name: tensor if name in kept else torch.randn(tensor.shape, generator=generator).to(tensor.dtype)
            for name, tensor in backbone.state_dict().items()
        }
        return Weights(self.recipe, own, {})

    def published(self, weights: Weights) -> dict[str, Tensor]:
        """Weights as the format has them."""
        return to_published(weights, self.entry.name, self.registry)

    def imported(self, checkpoint: ForeignCheckpoint, recipe: Recipe | None) -> Weights:
        """A checkpoint as weights of zoo's."""
        heads = [] if recipe is not None else [f"backbone.heads={self.recipe.backbone.heads}"]
        how: dict[str, Any] = {"format": self.entry.name, "name": self.recipe.name, "overrides": heads}
        return from_published(checkpoint, recipe, self.registry, **how).weights


@law(
    "Name each tensor of `backbone.state_dict()` in one entry, or in all shares of one, and each name of the checkpoint"
    " once; a turn of your own must turn back what it turns."
)
def comes_back_the_same(case: FormatCase) -> None:
    """What is exported and imported again, by way of a file, is the same, bit by bit; and goes out again as it did."""
    weights = case.weights(tables=False)
    published = case.published(weights)
    with TemporaryDirectory() as folder:
        for name in ("x.pt", "x.safetensors"):
            path = Path(folder) / name
            write_published(path, published, pickle=path.suffix == ".pt")
            back = case.imported(read_checkpoint(path), case.recipe)
            _refuse_others(back.tensors, weights.tensors)
            _refuse_others(case.published(back), published)


@law(
    "Let `recognises` ask for a key that `entries` names and nobody else would; or leave it out, for --format to tell."
)
def knows_its_own_keys(case: FormatCase) -> None:
    """The keys of its own checkpoints are recognised, and neither those of zoo's own weights nor none at all."""
    if not case.entry.tells_by_keys:
        return
    weights = case.weights(tables=False)
    published = case.published(weights)
    assert case.entry.recognises(published.keys()), f"does not recognise its own keys, such as {next(iter(published))}"
    assert not case.entry.recognises(()), "recognises a checkpoint that has no keys"
    if published.keys() != weights.tensors.keys():
        assert not case.entry.recognises(weights.tensors.keys()), "recognises the keys of zoo's own weights"


@law("Read the backbone off the shapes, or raise `tensors.problem(...)`; or leave `infer` out, for --recipe to tell.")
def shapes_tell_the_recipe(case: FormatCase) -> None:
    """The backbone that shapes tell is that of the weights, but for heads, which an import is told."""
    if type(case.entry.format).infer is WeightFormat.infer:
        return
    published = case.published(case.weights(tables=True))
    found = case.imported(ForeignCheckpoint(Path("x.pt"), published, ""), None)
    told_by, given = (recipe.backbone.resolved() for recipe in (found.recipe, case.recipe))
    assert told_by == given, f"tells another backbone: {'; '.join(differences(told_by, given))}"


FORMAT_LAWS: tuple[Law[FormatCase], ...] = (comes_back_the_same, knows_its_own_keys, shapes_tell_the_recipe)


def check_format(
    cls: type[WeightFormat],
    *recipes: str | Path | Mapping[str, Any],
    parts: PartsLike = (),
    traceback: bool = False,
) -> None:
    """Check that a weight format keeps its laws: all that holds whatever code its checkpoints are of.

    Whether names and axes are those of that code, only outputs of that code can tell: hold a backbone with imported
    weights against some.

    Args:
        cls: the format.
        recipes: of backbones that it can hold: names, paths or plain values; a small DiT if left out.
        parts: of these recipes, where they are in no package.
        traceback: whether to let through what comes out of a law as it is, with its traceback.

    Raises:
        AssertionError: a law is broken, or the format fails: a few lines that say for what recipe, and what to do.
        PluginError: the class breaks the rules, or its name is another's.
        RecipeError: a recipe cannot be built.
        TypeError: the format cannot hold a recipe, so that nothing would be checked.
    """
    __tracebackhide__ = True
    registry = Registry().with_parts(parts)
    entry = _registered(cls, registry)
    cases = [FormatCase(entry, load_recipe(each, registry=registry), registry) for each in recipes or (SMALL,)]
    for case in cases:
        misfits = entry.ask("misfits", case.recipe, build(case.recipe, device="meta"))
        if misfits:
            lines = "; ".join(misfits)
            raise TypeError(f"{entry.name} cannot hold {case.recipe.name}: {lines}; give a recipe that it can hold")
    for each in FORMAT_LAWS:
        hold(each, cases, None if traceback else _failure)


def _registered(cls: type[WeightFormat], registry: Registry) -> FormatEntry:
    entry = format_entry(cls, Plugin("under test", "0"))
    if entry.name not in registry.formats:
        registry.register(SimpleNamespace(zoo_weight_formats=hookimpl(lambda: [cls])), entry.plugin)
    found = registry.get_format(entry.name)
    if type(found.format) is not cls:
        raise PluginError(f"weight format {entry.name!r} is {found.origin}'s; give {name_of(cls)} another name")
    return replace(found, plugin=entry.plugin)  # so that its faults are told as those of a format under test


def _failure(broken: Law[FormatCase], case: FormatCase, error: Exception) -> str:
    cls = type(case.entry.format)
    subject, roots = f"weight format {case.entry.name} ({name_of(cls)})", {cls.__module__.split(".")[0]}
    again = f"check_format({cls.__qualname__}, traceback=True)"
    return told(broken, subject, error, roots, f"recipe: {case.recipe.name}", again)


def _refuse_others(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    assert found.keys() == wanted.keys(), f"has other tensors: {', '.join(sorted(found.keys() ^ wanted.keys()))}"
    for name, tensor in wanted.items():
        same = found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)
        assert same, f"{name} comes back with other numbers"
