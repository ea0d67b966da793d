"""What is written must not come to lie among the samples that it is made of: it would be taken for more of them."""

from __future__ import annotations

from pathlib import Path

from zoo.errors import ZooError, printable
from zoo.recipe import Recipe
from zoo.signature import places_of


def refuse_inside_data(path: Path, recipe: Recipe, mend: str) -> None:
    """Refuse a folder for what is about to be made that lies where the recipe's data is.

    Args:
        path: the folder, which may not be there yet.
        recipe: that the data is of.
        mend: what to do about it.

    Raises:
        ZooError: it does.
    """
    options = recipe.data.dataset.options
    for name, place in places_of(type(options)).items():
        folder = getattr(options, name)
        if place.or_name or not isinstance(folder, str):
            continue
        data = Path(folder).expanduser()
        if data.is_dir() and path.resolve().is_relative_to(data.resolve()):
            where = printable(f"{path}: lies in {data}, the data.dataset.{name}")
            raise ZooError(f"{where}, and would be taken for a part of the data; {mend}")
