"""Where recipes are looked up: the path, the working folder, its recipes/, the package, plug-ins."""

import importlib
import os
from pathlib import Path

import pytest

from zoo.errors import RecipeError
from zoo.recipe.find import find_recipe, list_recipes, package_recipes


def write(path: str, text: str = "# A title.   zoo build\n") -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


@pytest.fixture
def plug_in(tmp_path, monkeypatch):
    """Install packages of recipes, by distribution name."""

    def distribution(name: str, package: str) -> None:
        write(f"site/{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        write(f"site/{name}-1.0.dist-info/entry_points.txt", f"[zoo.recipes]\n{name} = {package}\n")
        importlib.invalidate_caches()

    monkeypatch.syspath_prepend(tmp_path / "site")

    def install(name: str, *recipes: str) -> None:
        write(f"site/{name}_recipes/__init__.py", "")
        for recipe in recipes:
            write(f"site/{name}_recipes/{recipe}")
        distribution(name, f"{name}_recipes")

    install.broken = lambda name: distribution(name, "no.such.package")
    return install


@pytest.mark.parametrize("name", ["r.yaml", "r", "./r", "sub/../r.yaml"])
def test_a_path_needs_no_suffix(name):
    Path("sub").mkdir()
    file = write("r.yaml")
    assert find_recipe(name).resolve() == file.resolve()


def test_an_absolute_path_and_another_suffix(working_folder):
    file = write("r.yml")
    assert find_recipe(str(working_folder / "r")) == working_folder / file


def test_the_working_folder_goes_first_then_its_recipes_then_the_package():
    assert find_recipe("dit_b") == package_recipes() / "dit_b.yaml"
    below = write("recipes/own/dit_b.yaml")
    assert find_recipe("dit_b") == below
    assert find_recipe("dit_b.yaml") == below
    here = write("dit_b.yaml")
    assert find_recipe("dit_b") == here


def test_zoo_goes_before_plug_ins(plug_in):
    plug_in("strangers", "dit_b.yaml", "sub/own.yaml")
    assert find_recipe("dit_b") == package_recipes() / "dit_b.yaml"
    assert find_recipe("own").parts[-3:] == ("strangers_recipes", "sub", "own.yaml")


def test_two_plug_ins_with_one_name_are_told_apart_by_path(plug_in):
    plug_in("first", "own.yaml")
    plug_in("second", "own.yaml")
    with pytest.raises(RecipeError, match=r"own: several recipes have this name: .*first.*second.*; give the path of"):
        find_recipe("own")


def test_two_recipes_of_one_name_in_one_folder():
    write("recipes/a/r.yaml")
    write("recipes/b/r.yaml")
    with pytest.raises(RecipeError, match="several recipes have this name"):
        find_recipe("r")


def test_what_a_recipe_extends_is_looked_up_beside_it():
    above, beside = write("dit_b.yaml"), write("sub/dit_b.yaml")
    assert find_recipe("dit_b.yaml", beside=Path("sub/r.yaml")) == beside
    assert find_recipe("../dit_b", beside=Path("sub/r.yaml")).resolve() == above.resolve()
    assert find_recipe("dit_s", beside=Path("sub/r.yaml")) == package_recipes() / "dit_s.yaml"


@pytest.mark.parametrize("name", ["base.yaml", "../own/base.yaml"])
def test_what_a_link_extends_is_told_with_where_it_was_looked_for(name):
    write("base.yaml")
    linked = write("own/r.yaml")
    link = Path("links/r.yaml")
    link.parent.mkdir()
    link.symlink_to(linked.resolve())
    with pytest.raises(RecipeError, match=rf"there is no such recipe \(looked for {Path.cwd()}/\w+/base.yaml\)"):
        find_recipe(name, beside=link)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mpdit_bb", "mpdit_bb: there is no such recipe; did you mean 'mpdit_b'?"),
        ("mpditb.yaml", "mpditb.yaml: there is no such recipe; did you mean 'mpdit_b'?"),
        ("qqq", "qqq: there is no such recipe; `zoo recipes` lists those that have a name"),
        ("/no/../no/r.yaml", "/no/../no/r.yaml: there is no such recipe (looked for /no/r.yaml); `zoo recipes` lists"),
        ("recipes", "recipes: a folder, not a recipe; give a YAML file in it"),
        (".", ".: a folder, not a recipe; give a YAML file in it"),
        ("/", "/: a folder, not a recipe; give a YAML file in it"),
        ("", "the name of a recipe is empty; `zoo recipes` lists those that have a name"),
        ("x" * 5000, "x" * 5000 + ": cannot be read: File name too long"),
        ("~no_such_user/r", "~no_such_user/r: cannot be read: Could not determine home directory."),
        ("a\0b", r"a\x00b: there is no such recipe"),
    ],
)
def test_refuses_what_is_no_recipe(name, message):
    write("recipes/r.yaml")
    with pytest.raises(RecipeError) as caught:
        find_recipe(name)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("my_mixx.yaml", "my_mix.yaml"),
        ("my_mixx.yml", "my_mix.yaml"),
        ("my_mixx", "my_mix"),
        ("own/my_othr.yaml", "own/my_other.yml"),
        ("own/my_othr", "own/my_other.yml"),
        ("mpditb.yaml", "mpdit_b"),
    ],
)
def test_a_file_that_lies_beside_is_meant(name, meant):
    write("my_mix.yaml")
    write("own/my_other.yml")
    Path("my_mixx.txt").touch()
    with pytest.raises(RecipeError) as caught:
        find_recipe(name)
    assert str(caught.value).endswith(f"; did you mean {meant!r}?")


def test_what_extends_a_recipe_beside_it_does_not_mean_itself():
    mine = write("own/my_mix.yaml")
    with pytest.raises(RecipeError) as caught:
        find_recipe("my_mixx.yaml", beside=mine)
    assert "did you mean" not in str(caught.value)
    write("own/my_maxx.yaml")
    with pytest.raises(RecipeError, match=r"; did you mean 'my_maxx.yaml'\?$"):
        find_recipe("my_mixx.yaml", beside=mine)


def test_a_plug_in_without_recipes_is_named(plug_in):
    plug_in.broken("strangers")
    with pytest.raises(
        RecipeError, match=r"qqq: there is no such recipe.* Plug-in strangers failed: ModuleNotFoundErr"
    ):
        find_recipe("qqq")
    assert [problem.plugins[0].name for problem in list_recipes()[1]] == ["strangers"]


def test_every_recipe_is_listed_with_its_title_and_plug_in(plug_in):
    write("recipes/mine.yaml", "# Mine, with [brackets].   zoo build --recipe mine.yaml\n")
    write("recipes/untitled.yaml", "backbone: {}\n")
    plug_in("strangers", "own.yaml")
    found, problems = list_recipes()
    by_name = {recipe.name: (recipe.title, recipe.plugin and recipe.plugin.name) for recipe in found}
    assert by_name["mine"] == ("Mine, with [brackets].", None)
    assert by_name["untitled"] == ("", None)
    assert by_name["own"] == ("A title.", "strangers")
    assert by_name["mpdit_b"] == ("MPDiT-B, ImageNet 256 latents.", "zoo")
    assert problems == []


def test_in_a_checkout_the_working_folders_recipes_are_those_of_zoo(monkeypatch):
    monkeypatch.chdir(package_recipes().parent)
    found, _ = list_recipes()
    mpdit_b = [recipe for recipe in found if recipe.name == "mpdit_b"]
    assert [recipe.plugin.name for recipe in mpdit_b if recipe.plugin] == ["zoo"]


def test_a_recipe_without_the_right_to_read_it(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (tmp_path / "locked").mkdir(mode=0)
    with pytest.raises(RecipeError, match=r"locked/r: cannot be read: Permission denied"):
        find_recipe("locked/r")


def test_a_folder_does_not_hide_a_recipe_of_its_name():
    Path("dit_b").mkdir()
    assert find_recipe("dit_b") == package_recipes() / "dit_b.yaml"


def test_a_recipe_that_extends_its_own_name_means_the_next_of_that_name():
    here = write("dit_b.yaml")
    assert find_recipe("dit_b", beside=here) == package_recipes() / "dit_b.yaml"
    below = write("recipes/dit_b.yaml")
    assert find_recipe("dit_b", beside=here) == below
    assert find_recipe("dit_b", beside=below) == package_recipes() / "dit_b.yaml"
    lone = write("lone.yaml")
    assert find_recipe("lone", beside=lone) == lone  # a circle, which the reader of it refuses


def test_what_a_package_ships_means_the_same_in_every_working_folder(plug_in):
    plug_in("strangers", "own.yaml")
    write("recipes/dit_b.yaml")
    assert find_recipe("dit_b") == Path("recipes/dit_b.yaml")
    assert find_recipe("dit_b", beside=find_recipe("own")) == package_recipes() / "dit_b.yaml"


def test_a_pipe_is_a_recipe_too():
    os.mkfifo("piped")
    assert find_recipe("piped") == Path("piped")
