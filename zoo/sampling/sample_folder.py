"""The folder of ``zoo sample``: pictures, what was asked, and at last how they were made.

request.json      what was asked, and of which weights: written first, so that an interrupted call can be gone on with
000000.png        and so on: image i is a function of the request and of i
grid.png          the first of them
samples.json      how they were made: written last
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from zoo.errors import RunError, ZooError
from zoo.files import write_whole
from zoo.json_files import read_json
from zoo.recipe import all_differences
from zoo.runs import checkpoint as checkpoints
from zoo.runs.run_lock import NAME as LOCK
from zoo.runs.run_lock import RunLock
from zoo.unfinished import UNFINISHED, remove

ASKED = ("weights", "labels", "label_file", "count", "seed", "npz", "sample", "data")
"""What may not differ when images are drawn that others are to stand beside."""


class SampleFolder:
    """Where images go.

    Args:
        path: the folder, which may not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.request = path / "request.json"
        self.record = path / "samples.json"
        self.grid = path / "grid.png"
        self.array = path / "samples.npz"

    def image(self, index: int) -> Path:
        """The picture of one image."""
        return self.path / f"{index:06d}.png"

    def is_done(self, count: int, *, npz: bool) -> bool:
        """Whether all that was asked for is there, by its name: somebody may have removed some of it.

        Args:
            count: images.
            npz: whether the array is asked for.
        """
        rest = (self.record, self.grid, *([self.array] if npz else []))
        return all(each.exists() for each in (*rest, *map(self.image, range(count))))

    def begun(self, *, resume: bool) -> dict[str, Any] | None:
        """What was asked of images that are to be gone on with; None where all are to be drawn.

        Raises:
            ZooError: the folder is not empty, and is not to be gone on with, or cannot be.
            RunError: its request cannot be read.
        """
        if self.path.is_file():
            raise ZooError(f"{self.path}: is a file; choose a folder")
        if not self.path.exists() or all(_is_unfinished(each) or each.name == LOCK for each in self.path.iterdir()):
            return None
        if not self.request.exists():
            raise ZooError(f"{self.path}: is not empty; choose another folder, or remove it first")
        if not resume:
            raise ZooError(f"{self.path}: holds samples already; go on with them by --resume, or choose another folder")
        try:
            return dict(read_json(self.request))
        except (OSError, ValueError, TypeError) as error:
            raise RunError(f"{self.request}: is not what zoo wrote: {error}; choose another folder") from error

    @contextmanager
    def begin(self, request: Mapping[str, Any], *, resume: bool) -> Iterator[None]:
        """Have the folder alone; make it and keep what is asked, or clear away what an interruption has half-written.

        Args:
            request: what is asked.
            resume: something has been begun that is gone on with.

        Raises:
            RunError: the folder cannot be made, or another process draws into it or has done so.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self.path}: cannot be made: {error.strerror}") from error
        lock = RunLock(self.path, "drawing")
        if lock.warning is not None:
            warnings.warn(lock.warning, stacklevel=3)
        try:
            if self.request.exists() != resume:
                raise RunError(f"{self.path}: another process has drawn into it by now; choose another folder")
            for each in self.path.iterdir():
                if _is_unfinished(each):
                    remove(each)
            if not resume:
                write_whole(self.request, checkpoints.to_json(request), RunError)
            yield
        finally:
            lock.remove()

    def has(self, index: int) -> bool:
        """Whether the picture of an image is there, and whole: a cut in the power may leave one that is not."""
        try:
            with Image.open(self.image(index)) as picture:
                picture.verify()
            with Image.open(self.image(index)) as picture:
                picture.load()
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            return False
        return True


def refuse_another(folder: SampleFolder, begun: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse to draw the rest of images otherwise than the first of them.

    Raises:
        ZooError: something that is asked differs; the message says what.
    """
    other = all_differences(*({key: each.get(key) for key in ASKED} for each in (begun, asked)))
    if other:
        raise ZooError(
            f"{folder.path}: other samples were asked for (these values first): {'; '.join(other)}; ask for the same,"
            " or choose another folder"
        )


def _is_unfinished(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(UNFINISHED)
