"""Samples that cannot be read, or are left out: a run says so, goes on without them, and is still the same training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.train.small import ALONE, small
from zoo.registry import Registry
from zoo.train.run_folder import RunFolder
from zoo.train.session import Session, Silent


class Listening(Silent):
    """Remembers what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Sixteen pictures of two classes."""
    folder = tmp_path / "pictures"
    for index in range(16):
        path = folder / "ab"[index % 2] / f"{index:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return folder


def train(run: Path, *overrides: str, resume: bool = False, stop_at: int | None = None) -> list[str]:
    """Train, and give what was said."""
    listening, registry = Listening(), Registry()
    recipe = small("train.sample_every=null", *overrides, registry=registry)
    Session(recipe, RunFolder(run), registry, ALONE, listening).run(resume=resume, stop_at=stop_at)
    return listening.said


def test_what_is_left_out_for_its_ending_is_told_when_training_starts(tmp_path: Path, pictures: Path) -> None:
    (pictures / "a" / "notes.txt").write_text("")
    said = train(tmp_path / "run", f"data.dataset={{type: images, folder: {pictures}}}")
    assert f"note: {pictures}: left out 1 file that is no picture: 1 .txt" in said
