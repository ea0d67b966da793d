"""``zoo import``: weights and the recipe that shapes tell; every failure as one clear message, and nothing written."""

import argparse
import json
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import zoo as package
from tests.commands import content, done, refused_in_lines, zoo
from tests.weights.layouts import EXAMPLES, published_of
from zoo.assembly import load_recipe
from zoo.recipe import absolute, read_tree
from zoo.weights import read_weights

EITHER = "note: the keys of DiT and SiT are the same; read as sit, by the name SiT"

BACKBONE = {**EXAMPLES["sit"], "latent": {"channels": 4, "height": 8, "width": 16}}


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(published_of("sit", BACKBONE)[1], "SiT.pt")
    Path("small.yaml").write_text(json.dumps({"backbone": BACKBONE}))


def imported(*arguments, checkpoint="SiT.pt", out="w.safetensors"):
    return zoo("import", checkpoint, "--out", out, *arguments)


HEADS = ("--set", "backbone.heads=2")


def refused(exit_code, *arguments, **how) -> list[str]:
    """The lines of an error on stderr; stdout is empty, and no file came, went or changed."""
    before = content()
    lines = refused_in_lines(imported(*arguments, **how), exit_code)
    assert content() == before
    return lines


def test_weights_and_the_recipe_that_shapes_tell(registry):
    result = imported(*HEADS)
    assert (result.exit_code, result.stdout) == (0, "")
    size = Path("w.safetensors").stat().st_size / 1e6
    assert result.stderr.splitlines() == [
        EITHER,
        f"wrote w.safetensors (sit's only weights, 32 tensors, {size:.1f} MB)",
        "wrote w.yaml, the recipe",
    ]
    assert set(content()) == {"SiT.pt", "small.yaml", "w.safetensors", "w.yaml"}
    assert Path("w.yaml").read_text().startswith("# SiT.pt, as its shapes tell.   zoo build --recipe w.yaml --flops\n")
    recipe = read_weights(Path("w.safetensors"), registry).recipe
    assert load_recipe("w.yaml", registry=registry) == absolute(recipe)
    assert recipe.name == "w"
    assert recipe.backbone.resolved() == load_recipe("small.yaml", registry=registry).backbone.resolved()
    assert recipe.data.normalize.resolved()["factor"] == 0.18215


def test_build_takes_the_inferred_recipe_and_load_the_weights(registry):
    imported(*HEADS)
    report = json.loads(zoo("build", "--recipe", "w.yaml", "--json").stdout)
    with safe_open("w.safetensors", "pt") as file:
        assert report["params"]["total"] == sum(file.get_tensor(key).numel() for key in file.keys())  # noqa: SIM118
    for backbone in (package.load("w.safetensors"), package.load("w.safetensors", "w.yaml")):
        given = backbone.state_dict()["patch_embedders.2x4.proj.weight"]
        assert torch.equal(given, torch.load("SiT.pt")["x_embedder.proj.weight"].flatten(1))


@pytest.mark.parametrize("name", ["1e3", "null", "on", "a b", "größe", "#1", "a: b", "it's", "-x", "0x1F", "12:30"])
def test_any_name_of_the_weights_is_the_recipes(name):
    assert imported(*HEADS, out=f"./{name}.safetensors").exit_code == 0
    assert read_tree(f"./{name}.yaml").plain()["name"] == name
    done("build", "--recipe", f"./{name}.yaml")


def test_any_name_of_the_checkpoint_leaves_a_recipe():
    Path("SiT.pt").rename("a\nb: sit.pt")
    assert imported(*HEADS, checkpoint="a\nb: sit.pt").exit_code == 0
    done("build", "--recipe", "w.yaml")


def test_with_a_recipe_no_recipe_is_written():
    result = imported("--recipe", "small.yaml")
    assert result.exit_code == 0
    assert [line.split(" (")[0] for line in result.stderr.splitlines()] == ["wrote w.safetensors"]
    assert set(content()) == {"SiT.pt", "small.yaml", "w.safetensors"}
    Path("other.yaml").write_text("mine")
    assert imported("--recipe", "small", out="other.safetensors").exit_code == 0
    assert Path("other.yaml").read_text() == "mine"


def test_a_recipe_is_overridden(registry):
    assert imported("--recipe", "small.yaml", "--set", "backbone.heads=4", "--set", "name=mine").exit_code == 0
    recipe = read_weights(Path("w.safetensors"), registry).recipe
    assert (recipe.backbone.heads, recipe.name) == (4, "mine")


def test_the_same_checkpoint_gives_the_same_bytes():
    for out in ("a.safetensors", "b.safetensors"):
        assert imported("--recipe", "small.yaml", out=out).exit_code == 0
    assert Path("a.safetensors").read_bytes() == Path("b.safetensors").read_bytes()


def test_averaged_weights_or_the_last(registry):
    averaged = torch.load("SiT.pt")
    last = {key: tensor * 2 for key, tensor in averaged.items()}
    torch.save({"model": last, "ema": averaged, "opt": {}, "args": argparse.Namespace(lr=1e-4)}, "training.pt")
    for arguments, name, factor in (((), "ema", 1), (("--weights", "raw"), "model", 2)):
        out = f"{name}.safetensors"
        result = imported("--recipe", "small.yaml", *arguments, checkpoint="training.pt", out=out)
        assert f"wrote {out} (sit's {name} weights, 32 tensors, " in result.stderr
        got = load_file(out)["class_conditioner.embedding.weight"]
        assert torch.equal(got, averaged["y_embedder.embedding_table.weight"] * factor)
        with safe_open(out, "pt") as file:
            source = json.loads(file.metadata()["source"])
        assert {"file": "training.pt", "format": "sit", "weights": name}.items() <= source.items()


def test_notes_come_before_what_was_written():
    result = imported(*HEADS, "--format", "dit", "--set", "backbone.time_embedder.scale=1.0")
    assert result.stderr.splitlines()[0] == "note: backbone.time_embedder.scale is 1000.0, as dit has it"
    assert read_tree("w.yaml").plain()["backbone"]["prediction"] == "noise"


# -- failures ---------------------------------------------------------------------------------------------------------


def break_model(change):
    torch.save(change(torch.load("SiT.pt", weights_only=True)), "SiT.pt")


def of_nan(tensors):
    return tensors | {key: torch.full_like(tensors[key], float("nan")) for key in list(tensors)[-2:]}


class NeedsCode:
    def __reduce__(self):
        return open, ("made", "w")


def test_a_checkpoint_that_is_not_finite():
    break_model(of_nan)
    for arguments in (HEADS, ("--recipe", "small.yaml")):
        lines = refused(5, *arguments)
        assert lines[-1].startswith("error: SiT.pt: 2 of 32 tensors hold values that are not finite: final_layer.")
        assert sum(line.startswith("error") for line in lines) == 1


BAD = {
    "page": (lambda: Path("SiT.pt").write_text("<html>"), "is a web page, no checkpoint; download the file itself"),
    "code": (lambda: break_model(lambda it: {"ema": it, "args": NeedsCode()}), "needs the code of io.open to be"),
    "no block": (
        lambda: break_model(lambda it: {key: it[key] for key in it if "mlp" not in key}),
        "no recipe can be told from its shapes: blocks.0.mlp.fc1.weight is missing; give --recipe R",
    ),
}


@pytest.mark.parametrize(("spoil", "expected"), BAD.values(), ids=list(BAD))
def test_one_clear_line_for_a_bad_checkpoint(spoil, expected):
    spoil()
    (line,) = refused(3, *HEADS)
    assert line.startswith(f"error: SiT.pt: {expected}")


def test_all_keys_that_do_not_fit_have_a_line_each():
    break_model(
        lambda it: (
            {key: it[key] for key in it if key != "pos_embed.x" and "fc2.bias" not in key} | {"new": it["pos_embed"]}
        )
    )
    lines = refused(3, "--recipe", "small.yaml")
    assert lines[0] == "error: SiT.pt: does not fit small, read as sit:"
    assert sorted(lines[1:]) == [
        "  blocks.0.mlp.fc2.bias is missing",
        "  blocks.1.mlp.fc2.bias is missing",
        "  new is unexpected",
    ]


@pytest.mark.parametrize("there", ["w.safetensors", "w.yaml"])
def test_a_file_that_exists_is_left_as_it_is(there):
    Path(there).write_text("precious")
    (line,) = refused(2, *HEADS)
    assert line == f"error: {there}: exists already, and is left as it is; choose another name, or remove it first"


@pytest.mark.parametrize("out", ["w", "w.pt", "w.yaml", "w.safetensors.pt"])
def test_weights_are_safetensors(out):
    (line,) = refused(2, *HEADS, out=out)
    assert line == f"error: --out {out}: zoo writes safetensors; let the name end in .safetensors"


@pytest.mark.parametrize("arguments", [("--recipe", "nope"), (*HEADS, "--recipe", "small", "--set", "backbone.x=3"),
                                       (*HEADS, "--set", "backbone.x=3"), ("--set", "backbone.heads=3"),
                                       (*HEADS, "--set", "nonsense")])  # fmt: skip
def test_bad_recipes_and_overrides(arguments):
    lines = refused(2, *arguments)
    assert sum(line.startswith("error: ") for line in lines) == 1


def test_a_disk_that_is_full(monkeypatch):
    def full(*_):
        yield b"half"
        raise OSError("No space left on device")

    monkeypatch.setattr("zoo.tensor_bytes.pieces", full)
    lines = refused(3, *HEADS)
    assert lines[-1] == "error: w.safetensors: cannot be written: No space left on device"


def test_a_disk_that_is_full_after_the_weights(monkeypatch):
    sound = Path.replace

    def full(path, target):
        if path.name == "w.yaml":
            raise OSError("No space left on device")
        return sound(path, target)

    monkeypatch.setattr(Path, "replace", full)
    lines = refused(3, *HEADS)
    assert lines[-1] == "error: w.yaml: cannot be written: No space left on device"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_while_weights_are_written_leaves_nothing(number, monkeypatch):
    before = content()

    def stopped(*_):
        yield b"half"
        os.kill(os.getpid(), number)

    monkeypatch.setattr("zoo.tensor_bytes.pieces", stopped)
    handler = signal.getsignal(number)
    result = imported(*HEADS)
    assert result.exit_code == 128 + number
    assert content() == before
    assert signal.getsignal(number) == handler
