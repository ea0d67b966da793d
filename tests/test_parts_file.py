"""Parts in a file that is in no package."""

from __future__ import annotations

import pickle
import sys
from hashlib import sha256
from pathlib import Path

import pytest

import zoo
from zoo.data.packed import Told
from zoo.errors import PluginError
from zoo.parts_file import kept_copy, read_parts_file
from zoo.plugins import Plugin

HEAD = "import zoo\nfrom zoo.parts.blocks import DiTBlock\n"
BLOCK = f'{HEAD}\n@zoo.part("block", "mine")\nclass Mine(DiTBlock):\n    """As DiT\'s."""\n'
HOOK = "\n@zoo.hookimpl\ndef zoo_parts():\n    return [{}]\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(source: str, name: str = "my_parts.py") -> str:
    Path(name).write_text(source)
    return name


def test_a_class_of_a_file_is_said_to_be_of_it_also_where_it_is_given_itself():
    own = zoo.Registry().with_parts(write(BLOCK)).get("block", "mine")
    registry = zoo.Registry().with_parts([own.cls])
    assert registry.get("block", "mine").plugin == own.plugin
    assert registry.with_parts("my_parts.py").get("block", "mine").cls is own.cls


def test_a_file_gives_the_parts_that_it_marks():
    source = f"{BLOCK}class Plain(DiTBlock): ...\n"
    registry = zoo.Registry().with_parts(write(source))
    entry = registry.get("block", "mine")
    digest = sha256(source.encode()).hexdigest()[:16]
    assert (entry.plugin.name, entry.plugin.version) == ("my_parts.py", f"sha256:{digest}")
    assert len(registry.entries()) == len(zoo.Registry().entries()) + 1


@pytest.mark.parametrize("collection", ["[made()]", "(made(),)", "{'mine': made()}", "{made()}"])
def test_a_part_may_stand_in_a_collection(collection):
    source = "".join(f"    {line}\n" for line in BLOCK.removeprefix(HEAD).splitlines())
    registry = zoo.Registry().with_parts(write(f"{HEAD}def made():\n{source}    return Mine\nparts = {collection}\n"))
    assert registry.get("block", "mine").plugin.is_file


def test_none_is_no_parts_and_what_is_neither_is_told():
    assert zoo.Registry().with_parts(None).entries() == zoo.Registry().entries()
    with pytest.raises(PluginError) as caught:
        zoo.Registry().with_parts(3)
    assert str(caught.value) == "parts=3: give classes marked by @zoo.part, or paths of files with such"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (BLOCK.replace("class Mine(DiTBlock)", "class Mine"), "Mine is marked as a block, but does not derive"),
        (BLOCK + "    needs = {'rotory'}\n", "Mine has needs = {'rotory'}; "),
        (BLOCK + "    def __init__(self, dim: int, *, width): ...\n", "Mine: option 'width' has no type; annotate it"),
    ],
)
def test_what_is_wrong_with_a_part_is_told_of_its_file_and_class(source, told):
    with pytest.raises(PluginError) as caught:
        zoo.Registry().with_parts(write(source))
    assert str(caught.value).startswith(f"my_parts.py: {told}")


def test_the_hook_of_a_file_decides():
    source = BLOCK + '@zoo.part("block", "other")\nclass Other(DiTBlock): ...\n' + HOOK.format("Other")
    registry = zoo.Registry().with_parts(write(source)).with_parts(["my_parts.py"])
    assert [entry.name for entry in registry.entries("block")] == ["dit", "other"]


def test_the_hook_that_a_file_imports_is_not_its_own():
    registry = zoo.Registry().with_parts(write(f"from zoo.parts import *\n{BLOCK}"))
    assert registry.get("block", "mine").plugin.is_file


def test_a_hook_that_is_not_written_in_the_file_is_its_own():
    source = BLOCK + '@zoo.part("block", "other")\nclass Other(DiTBlock): ...\n'
    made = "def made(cls):\n    hook = zoo.hookimpl(lambda: [cls])\n    hook.__module__ = 'hooks'\n    return hook\n"
    registry = zoo.Registry().with_parts(write(f"{source}{made}zoo_parts = made(Other)\n"))
    assert [entry.name for entry in registry.entries("block")] == ["dit", "other"]


def test_equal_files_are_one_and_a_changed_one_is_another():
    path = write(BLOCK)
    (one,) = zoo.Registry().with_parts(path).entries("block")[1:]
    Path("copy").mkdir()
    both = zoo.Registry().with_parts([path, Path(write(BLOCK, "copy/my_parts.py"))])
    assert both.get("block", "mine").cls is one.cls
    other = zoo.Registry().with_parts(write(f"{BLOCK}# changed\n")).get("block", "mine")
    assert other.cls is not one.cls
    assert other.plugin.version != one.plugin.version


def test_two_files_of_one_name_are_refused():
    Path("copy").mkdir()
    one, other = write(BLOCK), write(BLOCK.replace("mine", "other"), "copy/my_parts.py")
    registry = zoo.Registry().with_parts(one)
    for call in (lambda: zoo.Registry().with_parts([one, other]), lambda: registry.with_parts(other)):
        with pytest.raises(PluginError, match=r"two files of parts are called my_parts\.py; rename one of them"):
            call()


def test_a_name_on_record_that_no_run_wrote_is_no_copy(tmp_path):
    Path("parts").mkdir()
    version = read_parts_file(write(BLOCK)).version
    for name in ("../../my_parts.py", str(tmp_path / "my_parts.py"), "../../../x.py", "x" * 300 + ".py", "\0.py", ""):
        assert kept_copy(Path(), Plugin(name, version)) is None
    assert kept_copy(Path(), Plugin("my_parts.py", "sha256:..")) is None


def test_what_is_run_is_what_was_read_and_leaves_nothing_beside_it(capsys):
    file = read_parts_file(write(BLOCK + "print('loaded')\n"))
    write("raise RuntimeError")
    assert "Mine" in vars(file.load())
    assert sorted(Path().iterdir()) == [Path("my_parts.py")]
    assert capsys.readouterr() == ("", "loaded\n")  # JSON on stdout stays whole


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = 1\ndef f(:\n", "my_parts.py:2: SyntaxError: invalid syntax"),
        ("import zoo\n\nimport nowhere\n", "my_parts.py:3: ModuleNotFoundError: No module named 'nowhere'"),
        ("def f():\n    raise OSError('a\\nb')\nf()\n", "my_parts.py:2: OSError: a b"),
        ("import zoo\nzoo.part('blok', 'x')\n", "my_parts.py:2: PluginError: there is no kind 'blok'; did you mean"),
        ("\nimport sys\nsys.exit(0)\n", "my_parts.py:3: ends the process, by sys.exit or its like; leave that out"),
        ("x = '\0'\n", "my_parts.py: "),
        (HEAD, "my_parts.py: has no parts; put @zoo.part(kind, name) above a class"),
        (BLOCK.replace("(DiTBlock)", ""), "my_parts.py: Mine "),
        (BLOCK + "def zoo_parts():\n    return [Mine]\n", "my_parts.py gives no part: mark its zoo_parts() with"),
        (
            f"{BLOCK}from functools import partial\nzoo_parts = zoo.hookimpl(partial(list, [Mine]))\n",
            "my_parts.py gives no part: mark its zoo_parts() with @zoo.hookimpl; a plain function",
        ),
        (f"{BLOCK}zoo_parts = [Mine]\n", "my_parts.py gives no part: mark its zoo_parts() with @zoo.hookimpl"),
        (BLOCK + HOOK.format("DiTBlock, 3"), "my_parts.py: ?.3 is not marked; put @zoo.part(kind, name) above"),
        (
            BLOCK + BLOCK.replace("class Mine", "class Too"),
            "two parts claim block 'mine': my_parts.py (Mine) and my_parts.py (Too",
        ),
        (BLOCK + HOOK.format("1 / 0"), "my_parts.py:10: ZeroDivisionError: division by zero"),
        (BLOCK + HOOK.format("quit()"), "my_parts.py:10: ends the process, by sys.exit or its like"),
        (BLOCK + HOOK.format("").replace("[]", "None"), "my_parts.py: zoo_parts() returns None; let it return a list"),
        (BLOCK.replace("mine", "dit"), "two parts claim block 'dit': zoo "),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_a_line(source, expected):
    with pytest.raises(PluginError) as caught:
        zoo.Registry().with_parts(write(source))
    (line,) = str(caught.value).splitlines()
    assert line.startswith(expected)


def test_a_file_is_told_from_what_is_none(folder):
    write(BLOCK, "parts.txt")
    Path("folder").mkdir()
    write(BLOCK, "folder/own.py")
    Path("folder.py").mkdir()
    for name, expected in {
        "nowhere.py": "nowhere.py: there is no such file of parts",
        "parts.txt": "parts.txt: parts are in a Python file; let its name end in .py",
        "folder": "^folder: is a folder; give each file of it by itself, such as --parts folder/own.py$",
        "folder.py": "^folder.py: is a folder; give each file of it by itself, such as --parts folder.py/my_parts.py$",
    }.items():
        with pytest.raises(PluginError, match=expected):
            zoo.Registry().with_parts(name)


def test_a_file_of_nearly_that_name_is_meant(folder):
    write(BLOCK, "own.py")
    Path("onw.txt").touch()
    with pytest.raises(PluginError, match=r"^onw.py: there is no such file of parts; did you mean 'own.py'\?$"):
        zoo.Registry().with_parts("onw.py")


def test_a_neighbour_is_not_found_even_in_the_working_folder(monkeypatch):
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    write("", "helper.py")
    before = list(sys.path)
    with pytest.raises(PluginError) as caught:
        zoo.Registry().with_parts(write("import helper\n"))
    assert str(caught.value) == (
        "my_parts.py:1: ModuleNotFoundError: No module named 'helper'; a file of parts stands alone, since a run keeps"
        " a copy of it: put what it needs of helper into it"
    )
    assert sys.path == before


def test_a_failed_file_is_read_anew_once_it_is_mended():
    with pytest.raises(PluginError):
        zoo.Registry().with_parts(write(f"{BLOCK}1 / 0\n"))
    assert zoo.Registry().with_parts(write(BLOCK)).get("block", "mine").summary == "As DiT's."


def test_a_spawned_data_worker_has_its_classes():
    module = read_parts_file(
        write(f"import torch\n{BLOCK}class Data(torch.utils.data.Dataset):\n    rows = (3,)\n")
    ).load()
    sent = pickle.dumps(Told(module.Data()))
    del sys.modules[module.__name__]  # as in a process of its own
    assert pickle.loads(sent).dataset.rows == (3,)


def test_python_takes_a_path_wherever_it_takes_classes():
    path = write(BLOCK)
    recipe = {
        "name": "r",
        "backbone": {"latent": {"channels": 1, "height": 8, "width": 8}, "num_classes": 2, "dim": 16},
    }
    recipe["backbone"] |= {"depth": 1, "heads": 2, "patch_schedule": {"type": "uniform", "patch": 4}}
    backbone = zoo.build(recipe, {"backbone.block": "mine"}, parts=path)
    zoo.save(backbone, "w.safetensors")
    with pytest.raises(PluginError) as caught:
        zoo.load("w.safetensors")
    version = backbone.recipe.plugins()["my_parts.py"]
    assert str(caught.value) == (
        f"w.safetensors: block 'mine' comes from my_parts.py ({version}), in no package, which zoo does not run by"
        " itself; give --parts my_parts.py (in Python, parts=)"
    )
    assert type(zoo.load("w.safetensors", parts=[Path(path)]).blocks[0]) is type(backbone.blocks[0])
    write(f"{BLOCK}# changed\n")
    with pytest.warns(UserWarning, match=f"made with my_parts.py {version}; here are my_parts.py sha256:"):
        zoo.load("w.safetensors", parts=path)
    Path(path).rename("other.py")
    with pytest.warns(UserWarning, match="made with block 'mine' of my_parts.py; here are block 'mine' of other.py"):
        zoo.load("w.safetensors", parts="other.py")
