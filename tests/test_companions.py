"""The packages beside zoo: what the table says of them, and what is said where one is not installed."""

import tomllib

import pytest

from zoo import companions
from zoo.companions import CLONE, COMPANIONS, UNKNOWN, companion, hint_of_recipe, pip_install
from zoo.errors import PluginError, RecipeError
from zoo.plugins import Plugin, plugin_packages, unknown_plugins
from zoo.recipe.find import find_recipe
from zoo.registry import Registry
from zoo.testing.conformance import parts_of_package

LINEAR = Plugin("diffusion-zoo-linear", "0.1.0")


@pytest.mark.parametrize("each", COMPANIONS, ids=lambda each: each.name)
def test_the_table_says_what_is_in_the_packages(each):
    project = tomllib.loads((CLONE / each.folder / "pyproject.toml").read_text("utf-8"))["project"]
    assert each.name == project["name"]
    assert each.parts == set(project["entry-points"]["zoo.parts"])
    recipes = [path.stem for path in (CLONE / each.folder).rglob("recipes/*.yaml")]
    told = [each.recipes & set(name.split("_")) for name in recipes]
    assert all(told)
    assert each.recipes == set().union(*told)


def test_a_recipe_of_zoo_with_something_more_is_of_the_package_that_has_that():
    assert "; diffusion-zoo-routing has the recipes of tread: pip install" in hint_of_recipe("sit_b_tread", [])
    assert hint_of_recipe("sit_b", []) == ""


def test_all_packages_are_in_the_table():
    assert {each.folder for each in COMPANIONS} == {
        path.parent.relative_to(CLONE) for path in CLONE.glob("plugins/*/pyproject.toml")
    }


def test_no_index_is_said_to_have_them(monkeypatch, tmp_path):
    monkeypatch.chdir(CLONE)
    extra = Plugin("zoo-extra", "0.0.1")
    assert pip_install(LINEAR, extra) == "pip install ./plugins/zoo-linear zoo-extra==0.0.1"
    older = Plugin(LINEAR.name, "0.0.9")
    assert (
        pip_install(older) == "pip install ./plugins/zoo-linear in a clone of zoo that has diffusion-zoo-linear 0.0.9"
    )
    monkeypatch.chdir(tmp_path)
    assert pip_install(LINEAR) == f"pip install {CLONE}/plugins/zoo-linear"
    monkeypatch.setattr(companions, "CLONE", tmp_path / "site-packages")
    assert pip_install(LINEAR) == "pip install ./plugins/zoo-linear in a clone of zoo"
    assert pip_install(extra) == "pip install zoo-extra==0.0.1"


@pytest.mark.parametrize("name", ["zoo-conv", "diffusion-zoo-conv", "Zoo_Conv", "diffusion_zoo.conv"])
def test_a_package_is_known_by_both_of_its_names(name):
    found = companion(name)
    assert found is not None
    assert found.name == "diffusion-zoo-conv"
    assert companion("conv") is companion("zoo") is companion("diffusion-zoo") is None


@pytest.fixture
def none_installed(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for module in ("zoo.recipe.find", "zoo.registry"):
        monkeypatch.setattr(f"{module}.plugin_packages", list)


@pytest.mark.usefixtures("none_installed")
def test_what_is_of_a_package_that_is_not_installed_is_said_to_be():
    linear = f"pip install {CLONE}/plugins/zoo-linear"
    with pytest.raises(RecipeError) as caught:
        find_recipe("lit_b")
    assert str(caught.value) == f"lit_b: there is no such recipe; diffusion-zoo-linear has the recipes of lit: {linear}"
    with pytest.raises(PluginError) as caught:
        Registry.installed().get("attention", "sana")
    assert str(caught.value).startswith(f"there is no attention 'sana'; diffusion-zoo-linear has it: {linear} (")
    with pytest.raises(PluginError, match=rf"^no package zoo-linear with parts is installed \(.*\); {linear}$"):
        parts_of_package("zoo-linear")


@pytest.mark.usefixtures("none_installed")
def test_what_no_package_has_is_answered_with_the_nearest():
    with pytest.raises(RecipeError, match=r"mpdit_c: there is no such recipe; did you mean 'mpdit_l'\?$"):
        find_recipe("mpdit_c")
    with pytest.raises(PluginError, match=r"there is no attention 'softmx'; did you mean 'softmax'\?"):
        Registry.installed().get("attention", "softmx")


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """The metadata of the package, with a recipe folder that is nowhere."""
    folder = tmp_path / "diffusion_zoo_conv-0.1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: diffusion-zoo-conv\nVersion: 0.1.0\n")
    (folder / "entry_points.txt").write_text("[zoo.recipes]\nconv = zoo_conv.recipes\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", ["zoo-conv", "diffusion-zoo-conv", "zoo_conv"])
def test_zoo_plugins_takes_both_names(monkeypatch, name):
    monkeypatch.setenv("ZOO_PLUGINS", name)
    (package,) = (each for each in plugin_packages() if each.plugin.name == "diffusion-zoo-conv")
    assert not package.is_disabled
    assert unknown_plugins([package]) == []
    monkeypatch.setenv("ZOO_PLUGINS", "zoo-con")
    (package,) = (each for each in plugin_packages() if each.plugin.name == "diffusion-zoo-conv")
    assert package.is_disabled
    (line,) = unknown_plugins([package])
    assert line == "ZOO_PLUGINS: there is no plug-in 'zoo-con' here; did you mean 'diffusion-zoo-conv'?"


@pytest.mark.usefixtures("installed")
def test_a_question_is_no_end_that_takes_a_full_stop(monkeypatch):
    monkeypatch.setenv("ZOO_PLUGINS", "none")
    with pytest.raises(RecipeError) as caught:
        find_recipe("dit_c")
    assert str(caught.value).endswith("? diffusion-zoo-conv may hold it, which ZOO_PLUGINS=none leaves out")
    with pytest.raises(RecipeError, match=r"lists those that have a name\. diffusion-zoo-conv may hold it"):
        find_recipe("nothing_like_it_at_all")
    with pytest.raises(RecipeError) as caught:
        find_recipe("dico_b")
    assert "pip install" not in str(caught.value)


def test_an_unknown_version_is_none():
    assert pip_install(Plugin("zoo-extra", UNKNOWN)) == "pip install zoo-extra"
