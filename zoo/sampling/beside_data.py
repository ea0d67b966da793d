"""What is written must not come to lie among the samples that it is made of: it would be taken for more of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel

from zoo.assembly import create_part
from zoo.data import Dataset
from zoo.errors import ZooError, printable
from zoo.recipe import Recipe
from zoo.signature import places_of


def refuse_inside_data(path: Path, recipe: Recipe, mend: str) -> None:
    """Refuse a folder for what is about to be made where the recipe's dataset would take it for samples.

    Args:
        path: the folder, which may not be there yet.
        recipe: that the data is of.
        mend: what to do about it.

    Raises:
        ZooError: it would.
        DataError: the data cannot be looked at.
    """
    refuse_inside(path, recipe.data.dataset.options, lambda: create_part(recipe, "dataset"), mend)


def refuse_inside(path: Path, options: BaseModel, make: Callable[[], Dataset], mend: str) -> None:
    """The same of a dataset by itself.

    Args:
        path: the folder, which may not be there yet.
        options: of the dataset.
        make: gives it.
        mend: what to do about it.

    Raises:
        ZooError: it would.
        DataError: the data cannot be looked at.
    """
    for name, place in places_of(type(options)).items():
        folder = getattr(options, name)
        if place.or_name or not isinstance(folder, str):
            continue
        data = Path(folder).expanduser()
        if not data.is_dir() or not path.resolve().is_relative_to(data.resolve()):
            continue
        if make().takes(path):
            where = printable(f"{path}: lies in {data}, the data.dataset.{name}")
            raise ZooError(f"{where}, and would be taken for a part of the data; {mend}")
