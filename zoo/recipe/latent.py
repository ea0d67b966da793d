"""The size of latents as recipes write it: height and width of two axes, or the lengths of one to three."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from zoo.signature import Options

PLANE = ("height", "width")
"""The keys of the form of two axes; ``size`` is that of the other one."""


class PlaneRecipe(Options):
    """Size of latents of two axes, such as pictures have."""

    channels: Annotated[int, Field(ge=1, le=4096, description="latent channels C")]
    height: Annotated[int, Field(ge=1, le=65536, description="latent height H")]
    width: Annotated[int, Field(ge=1, le=65536, description="latent width W")]

    @property
    def size(self) -> tuple[int, ...]:
        """Height and width."""
        return self.height, self.width


class SizeRecipe(Options):
    """Size of latents of any number of axes that there are parts for."""

    channels: Annotated[int, Field(ge=1, le=4096, description="latent channels C")]
    size: Annotated[
        tuple[Annotated[int, Field(ge=1, le=65536)], ...],
        Field(min_length=1, max_length=3, strict=False, description="length of each axis: 1 to 3 whole numbers"),
    ]

    @model_validator(mode="before")
    @classmethod
    def _one_form(cls, given: Any) -> Any:
        if isinstance(given, dict) and ("size" not in given or not given.keys().isdisjoint(PLANE)):
            raise ValueError("give either height and width, or size, such as [8, 32, 32]")
        return given


def _form_of(latent: Any) -> str:
    """Which of the two forms is meant, in words that are no key; what is of neither is told so by the second one."""
    if isinstance(latent, dict):
        return "any axes" if "size" in latent or latent.keys().isdisjoint(PLANE) else "two axes"
    return "any axes" if isinstance(latent, SizeRecipe) else "two axes"


def _in_plane(latent: PlaneRecipe | SizeRecipe) -> PlaneRecipe | SizeRecipe:
    """Two axes as height and width, so that the same latents are written in one way."""
    if isinstance(latent, PlaneRecipe) or len(latent.size) != 2:
        return latent
    return PlaneRecipe(channels=latent.channels, height=latent.size[0], width=latent.size[1])


LatentRecipe = Annotated[
    Annotated[PlaneRecipe, Tag("two axes")] | Annotated[SizeRecipe, Tag("any axes")],
    Discriminator(_form_of),
    AfterValidator(_in_plane),
]
"""Size of the latents: ``channels``, and ``size`` as a tuple."""
