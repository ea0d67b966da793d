"""A weight format in a file, ``--parts FILE``: what does not fit is told as of the built-in ones."""

import json
import re
from pathlib import Path
from textwrap import dedent

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from tests.plugins.site import layout
from tests.weights.small import random_weights, small
from zoo.cli import app
from zoo.errors import PluginError
from zoo.registry import Registry
from zoo.weights import from_published, write_weights
from zoo.weights.foreign import ForeignCheckpoint


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, registry):
    """Weights of a small backbone, its recipe, and a file with the format ``lab``."""
    monkeypatch.chdir(tmp_path)
    recipe = small(registry)
    write_weights(Path("small.safetensors"), random_weights(recipe, registry).tensors, recipe)
    Path("small.yaml").write_text(json.dumps({"backbone": recipe.backbone.resolved()}))
    Path("lab.py").write_text(dedent(layout("lab")))


def zoo(*words):
    done = CliRunner().invoke(app, [*words, "--parts", "lab.py"])
    assert "Traceback" not in done.stderr
    return done


def exported(name="out.safetensors"):
    assert zoo("export", "small.safetensors", "--to", "lab", "--out", name).exit_code == 0
    return load_file(name)


def imported(*words, checkpoint="out.safetensors"):
    return zoo("import", checkpoint, "--out", "back.safetensors", *words)


def refused(exit_code, *words, **how):
    done = imported(*words, **how)
    assert (done.exit_code, Path("back.safetensors").exists()) == (exit_code, False)
    return done.stderr.splitlines()


@pytest.mark.parametrize("words", [["--format", "lab"], []], ids=["asked for", "recognised"])
def test_what_is_exported_comes_back_the_same(words):
    exported()
    assert imported("--recipe", "small.yaml", *words).exit_code == 0
    own, back = load_file("small.safetensors"), load_file("back.safetensors")
    assert own.keys() == back.keys()
    assert all(back[name].equal(tensor) for name, tensor in own.items())


def test_every_key_that_does_not_fit_is_told_at_once():
    tensors = exported()
    del tensors["lab.blocks.0.mlp.fc1.bias"]
    tensors |= {"lab.modulation.head.bias": torch.zeros(3), "lab.more": torch.zeros(1)}
    save_file(tensors, "x.safetensors")
    assert refused(3, "--recipe", "small.yaml", "--format", "lab", checkpoint="x.safetensors") == [
        "error: x.safetensors: does not fit small, read as lab:",
        "  lab.modulation.head.bias has shape [3] in place of [32]",
        "  lab.blocks.0.mlp.fc1.bias is missing",
        "  lab.more is unexpected",
    ]


def test_a_format_that_tells_no_recipe_says_what_to_give():
    exported()
    assert refused(3, "--format", "lab") == [
        "error: out.safetensors: no recipe can be told from its shapes: lab tells none; give --recipe R"
    ]


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("infer(self, tensors): pass", "fails in infer(): TypeError: it returns None; let it return a mapping by key"),
        ("settled(self, recipe): return ['x']", "fails in settled(): TypeError: it returns ['x']; let it return a map"),
        (
            "misfits(self, recipe, backbone): return 'no heads'",
            "fails in misfits(): TypeError: it returns 'no heads'; let it yield lines, or return a list of them",
        ),
        ("misfits(self, recipe, backbone): yield 3", "fails in misfits(): TypeError: it returns [3]; let it yield"),
        ("settled(self, recipe): return {'x.y': 1}", "sets what small cannot have: "),
        ("family(self, backbone): return ['dit_xl']", "fails in family(): TypeError: it returns ['dit_xl']; let it"),
        (
            "family(self, backbone): return 'dit_xxl'",
            "is wrong: family() names 'dit_xxl', no recipe that zoo ships; did you mean 'dit_xl'?",
        ),
    ],
    ids=["infer", "settled", "misfits", "misfits yields", "unknown", "family", "no recipe"],
)
def test_a_method_that_returns_what_it_must_not_is_told(method, said):
    exported()
    of_family = "    def infer(self, tensors): return {'heads': 2, 'latent': {'channels': 4}}\n" * method.startswith(
        "family"
    )
    more = f"    def {method}\n\n{of_family}    name ="
    Path("lab.py").write_text(Path("lab.py").read_text().replace("    name =", more, 1))
    recipe = ["--recipe", "small.yaml"] if method.startswith(("settled", "misfits")) else []
    assert f"weight format 'lab' of lab.py (Fake) {said}" in refused(2, "--format", "lab", *recipe)[-1]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("share=3", "is wrong: lab.x has share = 3; let it be (index, count), such as (0, 3)"),
        ("share=(0, '3')", "is wrong: lab.x has share = (0, '3'); let it be (index, count), such as (0, 3)"),
        ("turn='i o'", "has turn = 'i o'; let it be a zoo.weights.Turn"),
        ("turn=Turn", "has turn = Turn itself; let it be a zoo.weights.Turn"),
        ("own=None", "has own = None; let it be a text"),
        ("turn=Turn('i o', 'o i', 2)", "is wrong: lab.x cannot be made of heads.2x2.proj.weight ["),
        ("turn=Turn('i o')", "fails in entries(): ValueError: a Turn has axes on one side alone; let it have both, or"),
        ("turn=Turn(sign=2)", "fails in entries(): ValueError: a Turn has sign = 2; let it be 1 or -1"),
        ("turn=Loses()", "is wrong: as its turns bring them, heads.2x2.proj.weight has shape ["),
        ("turn=Fails()", "fails in to_own() of a Turn: KeyError: 'x'; --debug shows where"),
    ],
)
def test_an_entry_that_is_none_is_told(fields, said, registry):
    others = '(Entry(f"lab.{own}", own) for own in backbone.state_dict() if own != HEAD)'
    source = layout("lab", entries=f'[*{others}, Entry("lab.x", HEAD)._replace({fields})]')
    Path("lab.py").write_text(dedent(source) + OWN_TURNS)
    chosen, recipe = Registry().with_parts("lab.py"), small(registry)
    tensors = {f"lab.{name}": each for name, each in random_weights(recipe, registry).tensors.items()}
    tensors["lab.x"] = tensors.pop("lab.heads.2x2.proj.weight")
    checkpoint = ForeignCheckpoint(Path("x.safetensors"), tensors, "")
    with pytest.raises(PluginError, match=re.escape(said)) as caught:
        from_published(checkpoint, recipe, chosen, format="lab")
    assert str(caught.value).startswith("weight format 'lab' of lab.py (Fake) ")
    assert "\n" not in str(caught.value)


OWN_TURNS = """
from zoo.weights import Turn

HEAD = "heads.2x2.proj.weight"

class Loses(Turn):
    def to_own(self, tensor):
        return tensor[1:]

class Fails(Turn):
    def to_own(self, tensor):
        raise KeyError("x")
"""
"""Behind a format, what the fields of its entry for the head's weight are made of."""


def test_an_inferred_backbone_without_latents_is_told():
    exported()
    infer = "    def infer(self, tensors): return {'heads': 2}\n    def family(self, backbone): return 'dit_xl'\n"
    Path("lab.py").write_text(Path("lab.py").read_text().replace("    name =", f"{infer}\n    name =", 1))
    lines = refused(3, "--format", "lab")
    assert lines[0].startswith("error: out.safetensors: its shapes do not go together")
    assert any("latent" in line for line in lines[1:])


def test_keys_of_another_are_told():
    exported()
    assert (
        refused(3, "--format", "sit")[0]
        == "error: out.safetensors: its keys are lab's, not sit's; leave --format out, or give theirs"
    )
    done = CliRunner().invoke(app, ["import", "out.safetensors", "--out", "back.safetensors"])
    assert (done.exit_code, "its keys are of none of dit, mpdit, mpditv2, ppflow, sit; they" in done.stderr) == (
        3,
        True,
    )


def test_what_it_fixes_is_set_by_an_import_and_asked_of_an_export():
    text = Path("lab.py").read_text().replace('name = "lab"', 'name = "lab"; prediction = "noise"; path = "vp"')
    tensors = exported()
    Path("lab.py").write_text(text)
    lines = zoo("export", "small.safetensors", "--to", "lab", "--out", "no.pt").stderr.splitlines()
    assert lines[-3:] == [
        "error: small: lab cannot hold it, and --to sit can:",
        "  objective.path: lab has vp, the recipe linear",
        "  backbone.prediction: lab has noise, the recipe velocity",
    ]
    save_file(tensors, "x.safetensors")
    done = imported("--recipe", "small.yaml", checkpoint="x.safetensors")
    assert done.exit_code == 0, done.stderr
    assert done.stderr.splitlines()[1:3] == [
        "note: backbone.prediction is noise, as lab has it",
        "note: objective.path is vp, as lab has it",
    ]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            layout("sit"),
            r"^two claim the weight format 'sit': zoo .*\(zoo\.weights\..*\.SiT\) and lab\.py \(Fake\); give",
        ),
        (layout("zoo"), r"^two claim the weight format 'zoo': zoo and lab\.py \(Fake\); give yours another name$"),
        (layout("lab", returned="[][0]"), r"lab\.py:16: IndexError: list index out of range$"),
        (layout("lab").replace("@zoo.hookimpl", ""), r"^lab\.py gives no format: mark its zoo_weight_formats\(\) with"),
    ],
    ids=["taken", "reserved", "raises", "not marked"],
)
def test_a_file_that_cannot_be_used_is_refused(source, said):
    Path("lab.py").write_text(dedent(source))
    with pytest.raises(PluginError, match=said):
        Registry().with_parts("lab.py").formats  # noqa: B018
    (line,) = zoo("import", "small.safetensors", "--format", "lab", "--out", "back.safetensors").stderr.splitlines()
    assert line.startswith("error: ")


def test_a_file_given_twice_is_one():
    assert Registry().with_parts(["lab.py", "lab.py"]).with_parts("lab.py").get_format("lab").name == "lab"
