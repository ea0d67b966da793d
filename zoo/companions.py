"""The packages beside zoo, in ``plugins/`` of its repository: what is in each, and how to install it.

They are on no index. What names a part or a recipe of one that is not installed hears of it, and not of a name alike.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from zoo.plugins import DISTRIBUTION, Plugin, spellings
from zoo.shell import command

UNKNOWN = "unknown"
"""In place of a version that cannot be told."""

CLONE = Path(__file__).parents[1]
"""Of the repository, where zoo runs from one."""


@dataclass(frozen=True)
class Companion:
    """A package beside zoo.

    Attributes:
        name: of the distribution.
        parts: kinds and names.
        recipes: words of which the name of each of its recipes has one.
    """

    name: str
    parts: frozenset[str]
    recipes: frozenset[str] = frozenset()

    @property
    def folder(self) -> Path:
        """In a clone."""
        return Path("plugins", self.name.removeprefix("diffusion-"))

    def version_in_clone(self) -> str | None:
        """Of the package in the clone that zoo runs from; None where it runs from none."""
        with suppress(OSError, ValueError, LookupError):
            return str(tomllib.loads((CLONE / self.folder / "pyproject.toml").read_text("utf-8"))["project"]["version"])
        return None


COMPANIONS = (
    Companion(
        "diffusion-zoo-conv",
        frozenset(
            {
                "block/dic",
                "block/dico",
                "downsampler/conv_unshuffle",
                "head/dic",
                "upsampler/conv_merge",
                "upsampler/conv_shuffle",
            }
        ),
        frozenset({"dic", "dico"}),
    ),
    Companion("diffusion-zoo-lightning", frozenset({"block/lightning"}), frozenset({"lightning"})),
    Companion(
        "diffusion-zoo-linear",
        frozenset({"attention/lit", "attention/sana", "block/dig", "mlp/mix_ffn"}),
        frozenset({"dig", "lit", "sana"}),
    ),
    Companion("diffusion-zoo-pyramid", frozenset({"patch_schedule/pyramid", "path/pyramid"}), frozenset({"pyramid"})),
    Companion("diffusion-zoo-repa", frozenset({"dataset/with_features", "loss/repa"}), frozenset({"repa"})),
    Companion(
        "diffusion-zoo-routing",
        frozenset(
            {
                "block/maskdit_bridge",
                "class_conditioner/zero_null",
                "loss/kept_squared_error",
                "loss/masked_reconstruction",
                "router/maskdit",
                "router/sprint",
            }
        ),
        frozenset({"maskdit", "sprint", "tread"}),
    ),
    Companion("diffusion-zoo-trackers", frozenset({"callback/mlflow", "callback/wandb"})),
    Companion("diffusion-zoo-uvit", frozenset({"block/uvit", "head/uvit"}), frozenset({"uvit"})),
)


def companion(name: str) -> Companion | None:
    """The package of that name, as pip knows it or as its folder is called."""
    wanted = spellings(name)
    return next((each for each in COMPANIONS if wanted & spellings(each.name)), None)


def hint_of_part(kind: str, name: str, here: Iterable[str]) -> str:
    """``; diffusion-zoo-conv has it: pip install ...`` of a part; nothing where none has it that is not here.

    Args:
        kind: of the part.
        name: of the part.
        here: the packages that are installed.
    """
    found = next((each for each in COMPANIONS if f"{kind}/{name}" in each.parts), None)
    return _hint(found, "has it", here)


def hint_of_recipe(name: str, here: Iterable[str]) -> str:
    """The same of a recipe."""
    known = ((word, each) for word in name.split("_") for each in COMPANIONS if word in each.recipes)
    word, found = next(known, ("", None))
    return _hint(found, f"has the recipes of {word}", here)


def pip_install(*packages: Plugin) -> str:
    """The command that installs packages in their versions, and where to run it."""
    words, places = [], []
    for package in packages:
        beside = companion(package.name)
        if beside is None:
            name = DISTRIBUTION if package.name == "zoo" else package.name
            words.append(name if package.version == UNKNOWN else f"{name}=={package.version}")
            continue
        words.append(f"./{beside.folder}")
        in_clone = beside.version_in_clone()
        if in_clone is None:
            places.append("a clone of zoo")
        elif package.version not in (UNKNOWN, in_clone):
            places.append(f"a clone of zoo that has {package}")
        elif CLONE.resolve() != Path.cwd():
            words[-1] = str(CLONE / beside.folder)
    where = f" in {' and '.join(dict.fromkeys(places))}" if places else ""
    return f"pip install {command(*words)}{where}"


def _hint(found: Companion | None, has: str, here: Iterable[str]) -> str:
    if found is None or any(spellings(found.name) & spellings(name) for name in here):
        return ""
    return f"; {found.name} {has}: {pip_install(Plugin(found.name, UNKNOWN))}"
