"""Every test has a folder of its own."""

from pathlib import Path

import pytest

from tests.assembly.base import problems_of


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def problems(registry):
    """What is wrong with the text of a recipe, ``r.yaml``."""

    def problems(text, overrides=(), registry=registry):
        Path("r.yaml").write_text(text)
        return problems_of("r.yaml", registry, overrides)

    return problems
