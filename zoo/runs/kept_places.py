"""Where evaluations keep what they have drawn until they are done, by their checkpoint. Free of torch."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from zoo.checkpoint_folders import PREFIX
from zoo.unfinished import UNFINISHED, remove


def place_of(place: Path, name: str, checkpoint: str) -> Path:
    """The folder of an evaluation.

    Args:
        place: a folder that evaluations share.
        name: of this one, of letters and digits.
        checkpoint: that its weights are of, as they say; what is no checkpoint's name, such as a stranger's, is none.
    """
    of = f"{checkpoint}-" if re.fullmatch(rf"{PREFIX}\d+", checkpoint) else ""
    return place / f".{of}{name}{UNFINISHED}"


def forget_others(place: Path, checkpoints: Collection[str]) -> None:
    """Remove what is kept of evaluations that nobody can go on with, since their checkpoints are gone.

    Args:
        place: a folder that evaluations of a run share; one that is elsewhere stays as it is.
        checkpoints: the names of those that there are.

    Raises:
        OSError: the disk refuses.
    """
    for path in () if place.is_symlink() else place.glob(f".{PREFIX}*{UNFINISHED}"):
        kept = re.fullmatch(rf"\.({PREFIX}\d+)-\w+{re.escape(UNFINISHED)}", path.name)  # and no file being written
        if kept and kept[1] not in checkpoints:
            remove(path)
