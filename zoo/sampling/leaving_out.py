"""What a run leaves out of its data stays with the run, whatever becomes of the file that has listed it."""

from __future__ import annotations

import json

from zoo.data.left_out import ids_in
from zoo.distributed.distributed import Distributed
from zoo.errors import DataError
from zoo.recipe import Recipe

MOST_BYTES = 96 * 1024
"""Of ids, which go where recipes do: into recipe.yaml, every checkpoint and the metadata of weight files."""


def with_ids(recipe: Recipe, world: Distributed) -> Recipe:
    """A recipe whose ``data.leave_out`` holds the ids themselves, as the main process reads them; all take part.

    Raises:
        DataError: the file that it names cannot be read, or lists more than a recipe is for.
    """
    given = recipe.data.leave_out
    if not isinstance(given, str):
        return recipe
    ids = world.first(lambda: ids_in(given, piped=True))
    if len(json.dumps(ids)) > MOST_BYTES:
        raise DataError(
            f"{given}: lists {len(ids)} ids, and data.leave_out is for {MOST_BYTES // 1024} KiB of them, which a run"
            " keeps with its recipe; move so many files away, or write latents anew, and begin another run"
        )
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"leave_out": ids or None})})
