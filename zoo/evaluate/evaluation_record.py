"""What stands on record of an evaluation: what was asked, what with, and what its figures lack."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any, get_args

from zoo.classes import renamed
from zoo.data import Dataset, Split
from zoo.data.fingerprint import Fingerprint, digest
from zoo.data.left_out import open_kept
from zoo.errors import MissingSplitError, listed
from zoo.evaluate import Features
from zoo.evaluate.elsewhere import digest_at
from zoo.evaluate.reference import reference_path
from zoo.recipe import Recipe
from zoo.recipe.options import REFERENCES
from zoo.recipe.parts import AnyPart
from zoo.weights import Weights

IMAGES_PER_FEATURE = 10
"""Below which a covariance of the features is mostly chance."""

LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn", "pillow", "diffusers")


def asked(recipe: Recipe, features: Features, real_data: str, seed: int, second: Weights | None) -> dict[str, Any]:
    """What was asked, and beside which real images, as plain values."""
    return {
        "sample": recipe.sample.resolved(),
        "evaluate": recipe.evaluate.resolved(),
        "data": recipe.data.resolved(),
        "real_data": real_data,
        "features": features.record(),
        "seed": seed,
        **({} if second is None else {"second_weights": second.source}),
    }


def digest_of_real(dataset: Dataset, recipe: Recipe) -> str:
    """A digest that tells the samples of all splits, as far as they are not left out, and the reference, from others.

    It is the same for a copy of a dataset's files, which need not keep their times.

    Raises:
        DataError: the data, the reference, or the list of what is left out, cannot be read.
    """
    leave_out, reference = recipe.data.leave_out, recipe.evaluate.reference

    def parts() -> Iterator[bytes]:
        for split in get_args(Split):
            with suppress(MissingSplitError):
                source, left_out = open_kept(dataset, split, leave_out)
                yield f"{split} {source.fingerprint().contents()}".encode()
                yield left_out.mask.tobytes()
        if reference not in REFERENCES:
            yield digest_at(reference_path(recipe)).encode()

    return digest(parts())


def libraries() -> dict[str, str]:
    """The versions of those that have a say in figures."""
    found = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):  # diffusers is there only where latents are decoded
            found[name] = version(name)
    return found


def origin(spec: AnyPart) -> str:
    """The plug-in that a part is of, with its version, to stand behind what it says; nothing of zoo's own parts."""
    plugins = [f"{name} {version}" for name, version in spec.plugins.items() if name != "zoo"]
    return f" ({', '.join(plugins)})" if plugins else ""


def other_data(weights: Weights, judged_by: Fingerprint) -> Iterator[str]:
    """A line where the real images are not what weights were trained on, so that their figures are doubtful.

    Args:
        weights: that are judged.
        judged_by: the data of the real images.
    """
    trained_on = weights.classes.names
    other = renamed(trained_on, judged_by.classes) if trained_on and judged_by.classes else None
    changes = None if weights.data is None else judged_by.changes_since(weights.data)
    if other is not None:
        yield f"the classes are not those of training: {other}; figures by class compare what is not alike"
    elif changes is not None and changes.moved:
        yield f"the data is not what was trained on: {listed(changes.moved)}"
    elif changes is not None and changes.replaced:
        yield f"the data is not what was trained on: files of {listed(changes.replaced)} are of other sizes"


def doubts_of(
    generated: int,
    real: int | None,
    held_out: int | None,
    features: int,
    no_floor: str | None = None,
    *,
    are_drawn: bool = True,
) -> Iterator[str]:
    """A line for each reason to trust figures less than their digits look, and for a floor that is missing.

    Args:
        generated: images that were drawn.
        real: images that they are compared with; None where there are moments of such alone.
        held_out: images that the floor is of; None where there is no floor.
        features: numbers of an image, of which metrics estimate the covariance.
        no_floor: why there are no held-out images, if there are none.
        are_drawn: whether more of the generated ones could be drawn.
    """
    if no_floor is not None:
        yield f"no floor, figures of real images that training has not seen: {no_floor}"
    enough = IMAGES_PER_FEATURE * features
    counts = ((generated, "drawn" if are_drawn else "given"), (enough if real is None else real, "real"))
    few = [f"{count} {name}" for count, name in counts if count < enough]
    if few:
        more = f"evaluate.count={enough}" if are_drawn else "more of them"
        where = [more] * (generated < enough) + ["more data"] * (real is not None and real < enough)
        yield (
            f"figures of {' and '.join(few)} images are rough, and Frechet distances come out too large: {features}"
            f" features ask for {enough} images or more; take {' and '.join(where)}"
        )
    if held_out is not None and held_out < generated:
        yield (
            f"the floor is of {held_out} held-out images, all that there are in that mix of classes, and {generated}"
            " were drawn: a Frechet distance of fewer images comes out larger"
        )
