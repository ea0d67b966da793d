"""What tests that are about something else are spared: audits of the same recipe again, and drawings of the loss."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo import audit
from zoo.backbone import Backbone
from zoo.pictures import write_png
from zoo.recipe import PartSpec, Recipe
from zoo.train import records

ROOMS = {
    *("cli", "evaluate", "faults", "plan", "report", "runs", "tools", "train"),
    *("test_library.py", "test_pages.py", "test_shown_commands.py", "test_tour.py"),
}
"""Of such tests, or files of them."""


class Once:
    """A function of a backbone and of the recipe that it was built from, called once for equal recipes.

    Attributes:
        is_on: whether what was found before is given again.
    """

    is_on = False

    def __init__(self, function: Callable[[Backbone, Recipe], Any]) -> None:
        self.function = function
        self.found: dict[tuple[Any, ...], Any] = {}

    def __call__(self, backbone: Backbone, recipe: Recipe) -> Any:
        """What the function gives."""
        if not Once.is_on:
            return self.function(backbone, recipe)
        # Parts of different tests have names in common, and not their classes, which the key keeps alive.
        specs = [each for _, spec in recipe.parts() if isinstance(spec, PartSpec) for each in spec.whole()]
        key = (json.dumps(recipe.resolved(), sort_keys=True), *(spec.entry.cls for spec in specs))
        if key not in self.found:
            self.found[key] = self.function(backbone, recipe)
        return self.found[key]


@contextmanager
def made_once() -> Iterator[None]:
    """Have the audits and estimates of all of zoo go through it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("audit_backbone", "activation_memory"):
            plain = getattr(audit, name)
            once = Once(plain)
            for module in [each for key, each in sys.modules.items() if key.partition(".")[0] == "zoo"]:
                if vars(module).get(name) is plain:
                    patch.setattr(module, name, once)
        yield


def draw_no_curve() -> None:
    """Let runs of this process write an empty picture for the curve of the loss, which takes 0.3 s to draw."""
    records.write_loss_curve = undrawn


def undrawn(steps: Sequence[int], losses: Sequence[float], path: Path) -> None:
    """In place of ``write_loss_curve``."""
    assert len(steps) == len(losses)
    write_png(np.zeros((32, 32, 3), np.uint8), path)
