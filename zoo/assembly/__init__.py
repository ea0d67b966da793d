"""From a recipe to an assembly: read and checked with every problem, and built."""

from zoo.assembly.building import build, create_part, create_parts, dataset, dataset_of
from zoo.assembly.given import RecipeLike, as_recipe, backbone_in, recipe_of
from zoo.assembly.loading import (
    TRAINED,
    OtherParts,
    change_section,
    check_recorded,
    check_tree,
    check_versions,
    load_recipe,
)

__all__ = [
    "TRAINED",
    "OtherParts",
    "RecipeLike",
    "as_recipe",
    "backbone_in",
    "build",
    "change_section",
    "check_recorded",
    "check_tree",
    "check_versions",
    "create_part",
    "create_parts",
    "dataset",
    "dataset_of",
    "load_recipe",
    "recipe_of",
]
