"""How much memory ``zoo import`` takes, in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.weights.layouts import EXAMPLES, published_of

MEASURED = """
import resource, sys
from zoo.cli import main
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""
COPYING = """
from zoo.weights.published.layout import Turn
to_own = Turn.to_own
Turn.to_own = lambda *given: to_own(*given).clone()
"""


def peak_of_an_import(checkpoint, out, code=MEASURED):
    """Its memory in bytes."""
    arguments = [sys.executable, "-c", code, "import", checkpoint, "--out", out, "--set", "backbone.heads=2"]
    # By way of a shell, since a process starts with the peak of the one that it was forked from.
    result = subprocess.run(["sh", "-c", '"$@"; exit $?', "sh", *arguments], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return int(result.stdout)


def large():
    """A checkpoint of some 400 MB."""
    _, shapes = published_of("sit", EXAMPLES["sit"] | {"dim": 768, "depth": 9}, device="meta")
    return {key: torch.full(tensor.shape, 0.01) for key, tensor in shapes.items()}


@pytest.fixture
def emptied(tmp_path):
    """Since pytest keeps the folders of its last runs."""
    yield
    for path in tmp_path.iterdir():
        path.unlink()


@pytest.mark.slow
@pytest.mark.usefixtures("emptied")
def test_an_import_takes_little_more_memory_than_its_checkpoint():
    torch.save(published_of("sit")[1], "SiT.pt")
    base = peak_of_an_import("SiT.pt", "tiny.safetensors")
    for write, name in ((torch.save, "sit.pt"), (save_file, "sit.st")):
        write(large(), name)
        size = Path(name).stat().st_size
        assert 3.5e8 < size < 4.5e8
        assert peak_of_an_import(name, f"{name}.safetensors") - base < 1.15 * size
    assert peak_of_an_import(name, "copied.safetensors", COPYING + MEASURED) - base > 1.5 * size
