"""What runs a stranger's code is refused by the linter, which is part of CI."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = (
    "import pickle",
    "from pickle import loads",
    "import cloudpickle",
    "import dill",
    "import joblib",
    "import marshal",
    "import shelve",
    "import torch; torch.load('a')",
    "import torch; torch.load('a', weights_only=False)",
    "from torch import load",
    "import torch; torch.save({}, 'a')",
    "from torch.distributed.checkpoint import save",
    "import torch.distributed.checkpoint as dcp; dcp.load({})",
    "import numpy as np; np.load('a', allow_pickle=True)",
    "import yaml; yaml.load('a', yaml.Loader)",
    "import yaml; yaml.unsafe_load('a')",
    "import yaml; yaml.full_load('a')",
    "eval('1')",
    "exec('1')",
    "import subprocess; subprocess.run('ls', shell=True)",
    "import os; os.system('ls')",
    "import os; os.popen('ls')",
    "import tarfile; tarfile.open('a').extractall()",
)


@pytest.mark.parametrize("name", ["zoo/broken.py", "tools/broken.py", "plugins/zoo-lightning/zoo_lightning/broken.py"])
def test_code_that_can_run_what_a_file_holds_is_refused(name: str) -> None:
    options = ["--no-cache", "--output-format", "json", "--stdin-filename", name, "-"]
    ruff = [sys.executable, "-m", "ruff", "check", *options]
    found = subprocess.run(ruff, input="\n".join(FORBIDDEN), cwd=ROOT, capture_output=True, text=True, check=False)
    rows = {
        problem["location"]["row"]
        for problem in json.loads(found.stdout)
        if re.fullmatch(r"S\d+|TID251", problem["code"])
    }
    missed = [line for row, line in enumerate(FORBIDDEN, start=1) if row not in rows]
    assert not missed


def test_checkpoints_of_others_alone_are_excepted() -> None:
    """Which are pickles: written by ``torch.save``, and read as weights only; and what walks an object to no file."""
    lines = [
        f"{path.name}: {line.partition(' #')[0].strip()}"
        for path in sorted((ROOT / "zoo").rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"noqa:.*TID251", line)
    ]
    assert lines == [
        "assemblies.py: from pickle import Pickler",
        "conversion.py: pickled = partial(torch.save, dict(tensors))",
        "pickles.py: from pickle import UnpicklingError",
        'pickles.py: return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)',
    ]
