"""What a recipe is, once it has been validated: frozen, with every option of every part filled in."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from zoo.errors import KeyPath
from zoo.kinds import key_of, kinds_of
from zoo.recipe.options import (
    BackboneOptions,
    DataOptions,
    EvaluateOptions,
    ObjectiveOptions,
    RecipeOptions,
    SampleOptions,
    TrainOptions,
)
from zoo.recipe.parts import AnyPart, BlockRun, Listed, PartSpec, Term
from zoo.recipe.versions import Versions
from zoo.signature import Options


class Section(BaseModel):
    """What the sections of a recipe have in common: options, and a part of every kind that stands in them.

    Attributes:
        unfit: keys of parts that were filled in, and do not go with the backbone, such as the digits with a latent of
            three axes; it is built and counted without, and who trains it names another.
    """

    model_config = ConfigDict(frozen=True)

    section: ClassVar[str]

    unfit: Annotated[frozenset[str], Field(exclude=True, repr=False)] = frozenset()

    def of(self, kind: str) -> tuple[AnyPart, ...]:
        """The part of a kind, or all of them where there are several: of blocks one for each."""
        found = getattr(self, key_of(kind))
        if not isinstance(found, tuple):
            return (found,)
        return tuple(each.part if isinstance(each, Listed) else each for each in found)

    def parts(self) -> Iterator[tuple[str, AnyPart]]:
        """Every kind of the section with its part; one of which there are several comes several times."""
        for kind in kinds_of(self.section):
            for spec in self.of(kind):
                yield kind, spec

    def resolved(self) -> dict[str, Any]:
        """The section as a recipe would write it in full, but for what is unfit."""
        parts = {key_of(kind): getattr(self, key_of(kind)) for kind in kinds_of(self.section)}
        own = self.model_dump(mode="json", exclude=set(parts))
        return {**own, **{key: _plain(found) for key, found in parts.items() if key not in self.unfit}}


def _plain(found: AnyPart | tuple[AnyPart | Listed, ...]) -> Any:
    """What stands under a kind's key, as plain values: a single run of blocks is all of them."""
    if not isinstance(found, tuple):
        return found.resolved()
    if len(found) == 1 and isinstance(found[0], BlockRun):
        return found[0].part.resolved()
    return [each.resolved() for each in found]


class BackboneRecipe(BackboneOptions, Section):
    """A backbone, with a part of every kind."""

    section = "backbone"

    @property
    def block_specs(self) -> tuple[AnyPart, ...]:
        """The part that each of the ``depth`` blocks is, in order."""
        return tuple(run.part for run in self.block for _ in range(run.blocks))

    def of(self, kind: str) -> tuple[AnyPart, ...]:
        """The part of a kind; of blocks one for each."""
        return self.block_specs if kind == "block" else super().of(kind)

    def spec(self, kind: str, key: Any = None) -> PartSpec:
        """The part of a kind that stands under a key of the backbone."""
        specs: Any = self.of(kind)
        return specs[key if len(specs) > 1 else 0]

    def path(self, kind: str, key: Any = None) -> KeyPath:
        """Where it is written."""
        found = getattr(self, kind)
        if not isinstance(found, tuple) or len(found) == 1:
            return self.section, kind
        return self.section, kind, bisect_right(list(accumulate(run.blocks for run in found)), key)

    @property
    def words(self) -> str:
        """``latent 4 x 32 x 32, 1000 classes, width 768, 12 blocks, 12 heads``."""
        latent = f"latent {' x '.join(map(str, (self.latent.channels, *self.latent.size)))}"
        size = f"width {self.dim}, {self.depth} blocks, {self.heads} heads"
        predicts = "" if self.prediction == "velocity" else f"; predicts {self.prediction}"
        return f"{latent}, {self.label_words}, {size}{predicts}"

    @property
    def label_words(self) -> str:
        """``1000 classes``; of a conditioner that asks for no number of classes, whose its labels are."""
        conditioner = self.class_conditioner
        if isinstance(conditioner, PartSpec):
            if getattr(conditioner.entry.cls, "uses_labels", True) is False:
                return "unconditional"
            if "num_classes" not in conditioner.entry.signature.supplied:
                return f"labels of {conditioner.type}"
        return f"{self.num_classes} classes" if self.num_classes else "unconditional"

    patch_schedule: AnyPart
    patch_embedder: AnyPart
    position: AnyPart
    time_embedder: AnyPart
    class_conditioner: AnyPart
    modulation: AnyPart
    block: Annotated[tuple[BlockRun, ...], Field(min_length=1)]
    upsampler: AnyPart
    downsampler: AnyPart
    skip: AnyPart
    stage_embedder: AnyPart
    head: AnyPart
    router: AnyPart


class ObjectiveRecipe(ObjectiveOptions, Section):
    """What training minimises, and with the path what the weights' predictions mean."""

    section = "objective"

    path: AnyPart
    noise_sampler: AnyPart
    weighting: AnyPart
    losses: tuple[Term, ...]


class DataRecipe(DataOptions, Section):
    """What training reads."""

    section = "data"

    dataset: AnyPart
    normalize: AnyPart


class TrainRecipe(TrainOptions, Section):
    """How training runs."""

    section = "train"

    optimizer: AnyPart
    schedule: AnyPart
    callbacks: tuple[AnyPart, ...]


class SampleRecipe(SampleOptions, Section):
    """How samples are drawn."""

    section = "sample"

    solver: AnyPart
    guidance: AnyPart


class EvaluateRecipe(EvaluateOptions, Section):
    """How samples are judged."""

    section = "evaluate"

    features: AnyPart
    metrics: tuple[AnyPart, ...]


class Recipe(RecipeOptions):
    """A validated recipe. Frozen: building never changes it."""

    backbone: BackboneRecipe
    objective: ObjectiveRecipe
    data: DataRecipe
    train: TrainRecipe
    sample: SampleRecipe
    evaluate: EvaluateRecipe

    def sections(self) -> Iterator[Section]:
        """Every section, in the order of a recipe."""
        for name in SECTIONS:
            yield getattr(self, name)

    def parts(self) -> Iterator[tuple[str, AnyPart]]:
        """Every kind with its part."""
        for section in self.sections():
            yield from section.parts()

    def plugins(self) -> dict[str, str]:
        """The version of every plug-in that it has a part of, by the plug-in's name."""
        return _plugins_of([spec for _, spec in self.parts()])

    def versions(self, sections: Collection[str] | None = None) -> Versions:
        """What it is trained, drawn or judged with here; parts that are kept as written are as they were recorded.

        Args:
            sections: whose parts are meant; all of them if left out.
        """
        wanted = SECTIONS if sections is None else sections
        used = [spec for section in self.sections() if section.section in wanted for _, spec in section.parts()]
        return Versions.here(_plugins_of(used), tuple(each for spec in used for each in spec.versions))

    def resolved(self) -> dict[str, Any]:
        """The recipe in full, without ``extends`` and with every default written out that suits it, as plain values."""
        return {"name": self.name, **{section.section: section.resolved() for section in self.sections()}}


def _plugins_of(parts: Sequence[AnyPart]) -> dict[str, str]:
    """The version of every plug-in of parts: that of here, where one of them is here."""
    kept_first = sorted(parts, key=lambda spec: isinstance(spec, PartSpec))
    return {name: version for spec in kept_first for name, version in spec.plugins.items()}


SECTIONS: dict[str, tuple[type[Options], type[Section]]] = {
    "backbone": (BackboneOptions, BackboneRecipe),
    "objective": (ObjectiveOptions, ObjectiveRecipe),
    "data": (DataOptions, DataRecipe),
    "train": (TrainOptions, TrainRecipe),
    "sample": (SampleOptions, SampleRecipe),
    "evaluate": (EvaluateOptions, EvaluateRecipe),
}
"""Every section: its options without parts, and with them."""
