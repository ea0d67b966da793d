"""What README and manual show: their blocks, and what stands between marks."""

from functools import partial
from importlib import import_module
from pathlib import Path

import pages
import pytest

ROOT = Path(__file__).parents[1]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in pages.PAGES}
"""The pages, by their places in the repository."""

WHOLE = "\n".join(TEXTS.values())
blocks = partial(pages.blocks, WHOLE)
"""All blocks in one language."""

FILES = {"my_parts.py": "class RepeatUpsampler", "my_mlp.py": "class SquaredReLU"}
"""Files of parts that commands take, by what their blocks have."""


def block_with(language: str, text: str) -> str:
    """The only fenced block in that language that has ``text``."""
    (found,) = (block for block in blocks(language) if text in block)
    return found


def between(mark: str) -> str:
    """What stands between two marks."""
    assert WHOLE.count(f"<!-- {mark} -->") == 1
    return WHOLE.partition(f"<!-- {mark} -->\n")[2].partition(f"\n<!-- /{mark} -->")[0]


def lightning_block(monkeypatch: pytest.MonkeyPatch) -> type:
    """The block of the package in plugins/, which need not be installed."""
    monkeypatch.syspath_prepend(ROOT / "plugins" / "zoo-lightning")
    return import_module("zoo_lightning.block").LightningBlock
