"""Parts of strangers keep the laws of the kit."""

import ast
from pathlib import Path

import pytest

from tests.strangers import convolutions, cross, depthwise, dic, extras, maskdit, moving, narrow, uvit
from zoo.testing import check_part

MODULES = (dic, uvit, depthwise, cross, narrow, moving)
PUBLIC = {"zoo", "zoo.callbacks", "zoo.flow", "zoo.optim", "zoo.parts", "zoo.weights"}
PARTS = dict.fromkeys(part for module in MODULES for part in module.PARTS)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_parts_keep_the_laws(part):
    check_part(part, examples=8)


@pytest.mark.parametrize("module", [convolutions, maskdit, extras, *MODULES], ids=lambda module: module.__name__)
def test_strangers_import_public_names_alone(module):
    imported = set()
    for node in ast.walk(ast.parse(Path(module.__file__).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module)
    of_zoo = {name for name in imported if name.split(".")[0] == "zoo"}
    assert {"zoo"} < of_zoo <= PUBLIC
