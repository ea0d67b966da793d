"""Every test in a folder of its own, and recipes in files there."""

from pathlib import Path

import pytest

from zoo.errors import RecipeError
from zoo.recipe import draft_recipe, read_tree


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def load(registry):
    """Draft a recipe from files by name, the first of which is read."""

    def load(files, overrides=()):
        for name, text in files.items():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(text)
        return draft_recipe(read_tree(next(iter(files)), overrides), registry).recipe()

    return load


@pytest.fixture
def problems(load):
    def problems(files, overrides=()):
        with pytest.raises(RecipeError) as caught:
            load({"r.yaml": files} if isinstance(files, str) else files, overrides)
        return list(caught.value.problems)

    return problems
