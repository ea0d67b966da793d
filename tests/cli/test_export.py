"""``zoo export``: published layouts, diffusers and zoo's own file; what is imported again is the same, bit by bit."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import zoo as package
from tests.commands import content, done, refused_in_lines, zoo
from tests.weights.layouts import FORMATS
from zoo.assembly import build, load_recipe
from zoo.weights import write_weights
from zoo.weights.published.layout import Turn

SIZE = {"latent": {"channels": 3, "height": 8, "width": 16}, "num_classes": 5, "dim": 8, "depth": 3, "heads": 2}
SIT = SIZE | {
    "patch_schedule": {"type": "uniform", "patch": 2},
    "time_embedder": {"type": "sinusoidal", "clock": "data"},
    "head": {"type": "linear", "learn_sigma": True},
}
PPFLOW = SIT | {
    "patch_schedule": {
        "type": "by_timestep",
        "stages": [
            {"noise_above": 0.5, "patch": 4},
            {"noise_above": 0.25, "patch": [2, 4]},
            {"noise_above": 0.0, "patch": 2},
        ],
        "ties": "noisier",
    },
    "position": {"type": "sincos", "coordinates": "finest"},
    "stage_embedder": "learned",
}
MPDIT = SIZE | {
    "patch_schedule": {"type": "by_depth", "levels": [{"patch": 4, "blocks": 2}, {"patch": 2, "blocks": 1}]},
    "time_embedder": "fno",
    "class_conditioner": {"type": "class_tokens", "tokens": 2},
    "modulation": "shared_adaln",
    "upsampler": "linear_linear",
}
LEVELS = [{"patch": patch, "blocks": 1} for patch in (8, 4, 2)]
BACKBONES = {
    "sit": SIT,
    "dit": SIT | {"time_embedder": {"type": "sinusoidal", "scale": 1000.0}, "prediction": "noise"},
    "ppflow": PPFLOW,
    "mpdit": MPDIT,
    "mpditv2": MPDIT | {"patch_schedule": {"type": "by_depth", "levels": LEVELS}},
    "plain": SIZE | {"patch_schedule": {"type": "uniform", "patch": 2}, "latent": {"channels": 3, "height": 8,
                                                                                    "width": 8}},
}  # fmt: skip


def tensors_of(recipe, registry):
    """Random weights, and the tables that the parts make."""
    generator = torch.Generator().manual_seed(0)
    backbone = build(recipe, registry=registry, device="cpu")
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return backbone.state_dict()


def values_of(layout, name):
    return {"name": name, "backbone": BACKBONES[layout], "objective": {"path": "vp" if layout == "dit" else "linear"}}


@pytest.fixture
def weights(tmp_path, monkeypatch, registry):
    """A weight file of a backbone, by name."""
    monkeypatch.chdir(tmp_path)

    def do(name):
        recipe = load_recipe(values_of(name, name), registry=registry)
        write_weights(Path(f"{name}.safetensors"), tensors_of(recipe, registry), recipe)
        return f"{name}.safetensors"

    return do


def exported(source, to, out):
    return zoo("export", source, "--to", to, "--out", out)


def refused(exit_code, *arguments) -> list[str]:
    """The lines of an error on stderr; stdout is empty, and no file or folder came, went or changed."""
    before, names = content(), sorted(Path().rglob("*"))
    lines = refused_in_lines(exported(*arguments), exit_code)
    assert (content(), sorted(Path().rglob("*"))) == (before, names)
    return lines


def same(one, other):
    return one.keys() == other.keys() and all(
        one[key].dtype == other[key].dtype and torch.equal(one[key], other[key]) for key in one
    )


def assert_comes_back_the_same(weights, to, suffix):
    source = weights(to)
    result = exported(source, to, f"out{suffix}")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"wrote out{suffix}\n")
    back = zoo("import", f"out{suffix}", "--format", to, "--set", "backbone.heads=2", "--out", "back.safetensors")
    assert back.exit_code == 0, back.stderr
    assert same(load_file("back.safetensors"), load_file(source))
    with safe_open("back.safetensors", "pt") as file:
        recipe = json.loads(file.metadata()["recipe"])
    expected = load_recipe(values_of(to, "back")).resolved()
    assert recipe["backbone"] == expected["backbone"]


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("to", FORMATS)
def test_what_is_imported_again_is_the_same(to, suffix, weights):
    assert_comes_back_the_same(weights, to, suffix)


@pytest.mark.parametrize("to", ["sit", "ppflow"])
def test_a_sign_that_is_lost_is_noticed(to, weights, monkeypatch):
    monkeypatch.setattr(Turn, "to_published", lambda turn, tensor: abs(turn._turned(tensor, turn.own, turn.published)))
    with pytest.raises(AssertionError):
        assert_comes_back_the_same(weights, to, ".pt")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".safetensors"])
def test_a_plain_state_dict_of_the_published_keys(suffix, weights, registry):
    assert exported(weights("sit"), "sit", f"out{suffix}").exit_code == 0
    own = package.load("sit.safetensors").state_dict()
    out = f"out{suffix}"
    content = load_file(out) if suffix == ".safetensors" else torch.load(out, weights_only=True)
    assert type(content) is dict
    assert all(type(tensor) is torch.Tensor for tensor in content.values())
    assert content["x_embedder.proj.weight"].shape == (8, 3, 2, 2)
    assert torch.equal(content["final_layer.linear.weight"], -own["heads.2x2.proj.weight"])
    assert len(content) == len(own)


def test_another_clock_is_turned_and_noted_and_comes_back_under_a_recipe_of_any_name(weights):
    source = weights("plain")
    result = exported(source, "sit", "out.pt")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.splitlines() == [
        "note: time_embedder is turned to sit's clock, data: equal up to rounding",
        "wrote out.pt",
    ]
    Path("my_dit.yaml").write_text(json.dumps({"backbone": BACKBONES["plain"]}))
    done("import", "out.pt", "--recipe", "my_dit.yaml", "--out", "back.safetensors")
    assert exported("back.safetensors", "sit", "again.pt").exit_code == 0
    assert same(torch.load("again.pt"), torch.load("out.pt"))
    one, other = package.load(source), package.load("back.safetensors")
    t = torch.tensor([0.0, 0.3, 1.0])
    with torch.no_grad():
        embedded, expected = other.time_embedder(t), one.time_embedder(t)
    assert other.time_embedder.clock == "data"
    assert (embedded - expected).abs().max() < 1e-4 * expected.abs().max()


def test_zoos_own_file_has_the_same_weights_and_recipe(weights):
    source = weights("ppflow")
    result = exported(source, "zoo", "copy.safetensors")
    assert (result.exit_code, result.stderr) == (0, "wrote copy.safetensors\n")
    one, other = package.load(source).state_dict(), package.load("copy.safetensors").state_dict()
    assert same(one, other)
    recipes = []
    for name in (source, "copy.safetensors"):
        with safe_open(name, "pt") as file:
            recipes.append(file.metadata()["recipe"])
    assert recipes[0] == recipes[1]


def test_a_folder_for_diffusers(weights):
    assert exported(weights("plain"), "diffusers", "folder").exit_code == 0
    assert sorted(path.name for path in Path("folder").iterdir()) == [
        "config.json",
        "diffusion_pytorch_model.safetensors",
    ]
    assert not list(Path().glob(".*"))


# -- failures ---------------------------------------------------------------------------------------------------------


def test_a_backbone_that_a_format_cannot_hold_has_a_line_for_every_reason(weights):
    lines = refused(3, weights("ppflow"), "mpdit", "out.pt")
    assert [line for line in lines if not line.startswith("note: ")] == [
        "error: ppflow: mpdit cannot hold it, and --to ppflow can:",
        "  backbone.class_conditioner: mpdit has class_tokens, the recipe embedding",
        "  backbone.modulation: mpdit has shared_adaln, the recipe adaln_zero",
        "  backbone.stage_embedder: mpdit has none, the recipe learned",
        "  backbone.patch_schedule: mpdit has the same patches at every noise level",
    ]
    assert refused(3, weights("plain"), "dit", "out.pt")[0] == "error: plain: dit cannot hold it, and --to sit can:"
    lines = refused(3, "ppflow.safetensors", "diffusers", "folder")
    assert lines[0] == "error: ppflow: DiTTransformer2DModel cannot express it:"
    assert len(lines) > 2


@pytest.mark.parametrize(
    ("to", "out", "endings"),
    [("sit", "out", ".pt or .pth or .bin or .safetensors"), ("sit", "out.ckpt", ".pt or .pth or .bin or .safetensors"),
     ("zoo", "out.pt", ".safetensors")],
)  # fmt: skip
def test_a_wrong_suffix(to, out, endings, weights):
    (line,) = refused(2, weights("sit"), to, out)
    assert line == f"error: --out {out}: let the name end in {endings}"


@pytest.mark.parametrize(("to", "out"), [("sit", "out.pt"), ("zoo", "out.safetensors")])
def test_a_file_that_exists_is_left_as_it_is(to, out, weights):
    source = weights("sit")
    Path(out).write_text("precious")
    (line,) = refused(2, source, to, out)
    assert line == f"error: {out}: exists already, and is left as it is; choose another name, or remove it first"


def test_a_folder_that_exists_is_left_as_it_is(weights):
    source = weights("plain")
    Path("folder").mkdir()
    (line,) = refused(2, source, "diffusers", "folder")
    assert line.startswith("error: folder: exists already, and is left as it is")


@pytest.mark.parametrize(("name", "to", "out"), [("sit", "sit", "out.pt"), ("plain", "sit", "out.pt"),
                                                 ("sit", "zoo", "out.safetensors"),
                                                 ("plain", "diffusers", "out")])  # fmt: skip
def test_weights_that_someone_changed_and_that_do_not_fit_their_recipe(name, to, out, weights):
    path = weights(name)
    with safe_open(path, "pt") as file:
        metadata = {key: value for key, value in file.metadata().items() if key != "sha256"}
    tensors = {key: tensor for key, tensor in load_file(path).items() if key != "time_embedder.layers.0.weight"}
    save_file(tensors | {"modulation.head.bias": torch.ones(3)}, path, metadata=metadata)
    assert refused(3, path, to, out) == [
        f"error: {path}: does not fit its own recipe, {name}:",
        "  time_embedder.layers.0.weight is missing",
        "  modulation.head.bias has shape [3] in place of [16]",
    ]


@pytest.mark.parametrize("out", ["out.pt", "out.safetensors"])
def test_a_disk_that_is_full(out, weights, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")
        yield b""

    path = weights("sit")
    monkeypatch.setattr("zoo.tensor_bytes.pieces", full)
    monkeypatch.setattr(torch, "save", lambda *given: next(full(*given)))
    (line,) = refused(3, path, "sit", out)
    assert line == f"error: {out}: cannot be written: No space left on device"
