"""What a recipe is, once it has been validated: frozen, with every option of every part filled in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny

from zoo.registry import KINDS
from zoo.signature import Options


class PartSpec(BaseModel):
    """A part by name, with all of its options."""

    model_config = ConfigDict(frozen=True)

    type: str
    options: SerializeAsAny[BaseModel]

    def resolved(self) -> dict[str, Any]:
        """The part as a recipe would write it in full."""
        return {"type": self.type, **self.options.model_dump(mode="json")}


Count = Annotated[int, Field(ge=1)]
Part = Any  # a bare name or a mapping with `type`; validated by the registry, which knows the kinds


class LatentRecipe(Options):
    """Size of the latents."""

    channels: Annotated[int, Field(ge=1, le=4096, description="latent channels C")]
    height: Annotated[int, Field(ge=1, le=65536, description="latent height H")]
    width: Annotated[int, Field(ge=1, le=65536, description="latent width W")]


class BackboneOptions(Options):
    """What a backbone is made of, parts aside."""

    latent: LatentRecipe
    num_classes: Annotated[
        int, Field(ge=0, le=10_000_000, description="classes, the null class aside; 0 if unconditional")
    ] = 0
    dim: Annotated[int, Field(ge=1, le=65536, description="width D of the tokens")]
    depth: Annotated[int, Field(ge=1, le=1024, description="blocks in all")]
    heads: Annotated[int, Field(ge=1, le=4096, description="attention heads of a block")]
    skip: Annotated[Literal["linear", "none"], Field(description="how the fine patches join the upsampled tokens")] = (
        "linear"
    )
    prediction: Annotated[Literal["velocity", "epsilon"], Field(description="what the weights predict")] = "velocity"


class RecipeOptions(Options):
    """A recipe, the backbone aside."""

    name: Annotated[str, Field(min_length=1, max_length=200, description="defaults to the file's name")]


DEFAULT_PARTS: dict[str, str] = {
    "patch_embedder": "linear",
    "position": "sincos",
    "time_embedder": "sinusoidal",
    "class_conditioner": "embedding",
    "modulation": "adaln_zero",
    "block": "dit",
    "upsampler": "linear_linear",
    "stage_embedder": "none",
    "head": "linear",
}
"""The part of each kind that a recipe leaves out: DiT's, and MPDiT's upsampler. A patch schedule has no default."""


class BackboneRecipe(BackboneOptions):
    """A backbone, with a part of every kind."""

    patch_schedule: PartSpec
    patch_embedder: PartSpec
    position: PartSpec
    time_embedder: PartSpec
    class_conditioner: PartSpec
    modulation: PartSpec
    block: PartSpec
    upsampler: PartSpec
    stage_embedder: PartSpec
    head: PartSpec

    def parts(self) -> Iterator[tuple[str, PartSpec]]:
        """Every kind with its part."""
        for kind in KINDS:
            yield kind, getattr(self, kind)

    def resolved(self) -> dict[str, Any]:
        """The backbone as a recipe would write it in full."""
        own = {name: getattr(self, name) for name in BackboneOptions.model_fields if name != "latent"}
        return {"latent": self.latent.model_dump(), **own, **{kind: spec.resolved() for kind, spec in self.parts()}}


class Recipe(RecipeOptions):
    """A validated recipe. Frozen: building never changes it."""

    backbone: BackboneRecipe

    def resolved(self) -> dict[str, Any]:
        """The recipe in full, without ``extends`` and with every default written out, as plain values."""
        return {"name": self.name, "backbone": self.backbone.resolved()}
