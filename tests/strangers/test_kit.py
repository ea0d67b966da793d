"""Parts of strangers keep the laws of the kit, and those and the packages in plugins/ import public names alone."""

import ast
from pathlib import Path

import pytest

from tests.strangers import cross, extras, maskdit, moving, narrow
from zoo.testing import check_part

ROOT = Path(__file__).parents[2]
MODULES = (cross, narrow, moving)
PUBLIC = {
    "zoo",
    *(f"zoo.{name}" for name in ("callbacks", "data", "errors", "evaluate", "flow", "optim", "parts", "weights")),
}
FILES = [Path(module.__file__) for module in (maskdit, extras, *MODULES)]
FILES += sorted(each for each in ROOT.glob("plugins/*/zoo_*/*.py") if "import zoo\n" in each.read_text("utf-8"))
PARTS = dict.fromkeys(part for module in MODULES for part in module.PARTS)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_parts_keep_the_laws(part):
    check_part(part, examples=8)


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}.{file.stem}")
def test_strangers_import_public_names_alone(file):
    imported = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module)
    of_zoo = {name for name in imported if name.split(".")[0] == "zoo"}
    assert {"zoo"} < of_zoo <= PUBLIC
