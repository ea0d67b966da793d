"""What the package gives, and what importing it must not cost."""

import subprocess
import sys

import zoo.data
from zoo.registry import MARK


def test_the_parts():
    assert [getattr(cls, MARK) for cls in zoo.data.zoo_parts()] == [
        ("dataset", "digits"),
        ("dataset", "images"),
        ("dataset", "latents"),
        ("dataset", "webdataset"),
        ("dataset", "huggingface"),
        ("dataset", "npy"),
        ("normalize", "none"),
        ("normalize", "scale"),
        ("normalize", "per_channel"),
    ]


def test_importing_it_imports_no_heavy_library():
    heavy = {"sklearn", "PIL", "datasets", "diffusers", "pyarrow"}
    code = f"import sys, zoo.data; print(*sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.split() == []
