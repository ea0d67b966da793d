"""``zoo build``: tables, one JSON object, weights; and every error as clear lines with exit code 2."""

import gc
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from safetensors import safe_open

from tests.commands import done, refused_in_lines, zoo

RECIPE = """\
backbone:
  latent: {channels: 4, height: 8, width: 16}
  num_classes: 10
  dim: 32
  depth: 2
  heads: 2
  patch_schedule:
    type: by_depth_and_timestep
    stages:
      - {noise_above: 0.25, levels: [{patch: 4, blocks: 2}]}
      - {noise_above: 0.0, levels: [{patch: 4, blocks: 1}, {patch: [2, 4], blocks: 1}]}
  class_conditioner: {type: class_tokens, tokens: 3}
"""


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(RECIPE)


def test_tells_what_an_assembly_is():
    result = done("build", "--recipe", "small.yaml")
    assert result.stderr == ""
    assert "small: latent 4 x 8 x 16, 10 classes, width 32, 2 blocks, 2 heads" in result.stdout
    for words in (
        "0.25 to 1",
        "0 to 0.25",
        "2x4",
        "3 + 16 = 19",
        "by_depth_and_timestep",
        "class_tokens",
        "parameters",
    ):
        assert words in result.stdout
    assert "multiply-adds  " not in result.stdout


def test_flops_tells_what_it_costs():
    result = done("build", "--recipe", "small", "--flops")
    for words in ("multiply-adds", "FLOPs", "mean over uniform noise levels", "share", "rest"):
        assert words in result.stdout


def test_against_tells_the_cost_relative_to_another():
    Path("large.yaml").write_text("extends: small.yaml\nbackbone: {dim: 64}\n")
    result = done("build", "--recipe", "small", "--against", "large.yaml")
    assert "of large" in result.stdout
    own, rival = (json.loads(zoo("build", "-r", name, "--json").stdout)["macs"] for name in ("small", "large"))
    report = json.loads(zoo("build", "--recipe", "small", "--against", "large", "--json").stdout)
    params = json.loads(zoo("build", "-r", "large", "--json").stdout)["params"]["total"]
    assert report["against"] == {"recipe": "large", "params": params, "macs": rival, "ratio": own / rival}
    assert f"{own / rival:.1%}" in result.stdout


def test_json_is_one_object_with_the_promised_keys():
    result = zoo("build", "--recipe", "small.yaml", "--json", "--flops")
    assert (result.exit_code, result.stderr) == (0, "")
    report = json.loads(result.stdout)

    def types(value):
        if isinstance(value, dict):
            return {key: types(below) for key, below in value.items()}
        return [types(each) for each in value] if isinstance(value, list) else type(value)

    level = {"patch": [int, int], "grid": [int, int], "tokens": int, "blocks": int, "macs": int}
    stage = {"noise": [float, float], "share": float, "macs": int}
    got = types(report)
    assert got["recipe"] is str
    assert got["params"] == {"total": int, "trainable": int, "fixed": int}
    assert (got["macs"], got["flops"], got["norm_ops"]) == (int, int, int)
    for each in got["stages"]:
        assert stage.items() <= each.items()
        assert all(level.items() <= below.items() for below in each["levels"])
    part = {"kind": str, "type": str, "plugin": str, "params": int, "macs": int, "count": int, "within": str}
    assert all({**each, "slots": []} == {**part, "slots": []} for each in got["parts"])
    (slots,) = (
        each["slots"] for each, own in zip(got["parts"], report["parts"], strict=True) if own["kind"] == "block"
    )
    assert slots
    assert all({**each, "slots": []} == {**part, "slots": []} for each in slots)
    assert report["paper_convention"] == {"macs": None}  # several stages
    assert types(json.loads(zoo("build", "-r", "dit_s", "--json").stdout)["paper_convention"]) == {"macs": int}


def test_json_adds_up():
    report = json.loads(zoo("build", "--recipe", "small.yaml", "--json").stdout)
    assert report["recipe"] == "small"
    assert report["flops"] == 2 * report["macs"]
    assert report["params"]["total"] == report["params"]["trainable"] + report["params"]["fixed"]
    assert report["params"]["total"] == sum(part["params"] for part in report["parts"])
    assert [stage["noise"] for stage in report["stages"]] == [[0.25, 1.0], [0.0, 0.25]]
    assert [stage["share"] for stage in report["stages"]] == [0.75, 0.25]
    assert report["macs"] == round(sum(stage["share"] * stage["macs"] for stage in report["stages"]))
    fine = report["stages"][1]["levels"][1]
    assert (fine["patch"], fine["grid"], fine["tokens"], fine["blocks"]) == ([2, 4], [4, 4], 3 + 16, 1)


def test_set_overrides():
    report = json.loads(zoo("build", "-r", "small", "--set", "name=mine", "--set", "backbone.dim=64", "--json").stdout)
    assert report["recipe"] == "mine"
    assert report["params"]["total"] > json.loads(zoo("build", "-r", "small", "--json").stdout)["params"]["total"]


# -- weights --------------------------------------------------------------------------------------------------------


def test_out_writes_weights_with_the_resolved_recipe():
    result = done("build", "--recipe", "small", "--json", "--out", "w.safetensors")
    assert result.stderr.startswith("wrote w.safetensors (")
    with safe_open("w.safetensors", "pt") as file:
        resolved = json.loads(file.metadata()["recipe"])
    Path("again.yaml").write_text(yaml.safe_dump(resolved))
    assert zoo("build", "--recipe", "again.yaml", "--json").stdout == result.stdout


def test_out_refuses_a_file_that_exists_before_any_work():
    Path("w.safetensors").write_text("precious")
    result = zoo("build", "--recipe", "small", "--flops", "--out", "w.safetensors")
    (line,) = refused_in_lines(result)
    assert result.stdout == ""
    assert line.startswith("error: w.safetensors: exists already, and is left as it is; choose another name")
    assert Path("w.safetensors").read_text() == "precious"


# -- errors ---------------------------------------------------------------------------------------------------------

BAD_FILES = {
    "unknown part": (
        RECIPE + "  head: lineer\n",
        "bad.yaml:13: backbone.head.type: there is no head 'lineer'; did you",
    ),
    "duplicate": (RECIPE + "  dim: 3\n", "bad.yaml:13: backbone.dim: written twice, first on line 4; remove one"),
    "does not fit": (
        RECIPE.replace("depth: 2", "depth: 3"),
        "bad.yaml:10: backbone.patch_schedule.stages.0.levels: block counts",
    ),
    "deep": ("[" * 100_000, "bad.yaml:1: nested deeper than 32 levels"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("text", "expected"), BAD_FILES.values(), ids=list(BAD_FILES))
@pytest.mark.parametrize("output", ["--flops", "--json"])
def test_one_clear_line_for_a_bad_recipe(text, expected, output):
    Path("bad.yaml").write_text(text)
    lines = refused_in_lines(zoo("build", "--recipe", "bad.yaml", output))
    assert len(lines) == 1 or text.startswith(RECIPE[:9])
    assert any(expected in line for line in lines)
    assert lines[0].startswith("error: ")


def test_a_bad_recipe_to_compare_with_is_refused_too():
    Path("bad.yaml").write_text("extends: small\nbackbone: {dim: 1.5}\n")
    (line,) = refused_in_lines(zoo("build", "--recipe", "small", "--against", "bad.yaml", "--json"))
    assert line == "error: bad.yaml:2: backbone.dim: should be a whole number, got 1.5"


def test_all_problems_have_a_line_each(tmp_path):
    Path("bad.yaml").write_text(
        RECIPE.replace("dim: 32", "dim: 34").replace("depth: 2", "depth: 3") + "  stage_embedder: learnt\n"
    )
    lines = refused_in_lines(zoo("build", "--recipe", str(tmp_path / "bad.yaml"), "--set", "backbone.skip=maybe"))
    assert lines[0] == "error: 5 problems"
    assert sorted(line.split(": ")[1] for line in lines[1:]) == [
        "backbone.patch_schedule.stages.0.levels",
        "backbone.patch_schedule.stages.1.levels",
        "backbone.position",
        "backbone.skip.type",
        "backbone.stage_embedder.type",
    ]
    assert all(line.startswith(("  bad.yaml:", "  --set ")) for line in lines[1:])


@pytest.mark.parametrize("recipe", ["nope", "", ".", "/", "x" * 5000, "no/such/file.yaml"])
def test_a_recipe_that_is_not_there(recipe):
    (line,) = refused_in_lines(zoo("build", "--recipe", recipe))
    assert line.startswith("error: ")


@pytest.mark.parametrize(
    "arguments", [["bild"], ["build"], ["build", "--recipe"], ["build", "-r", "small", "--sed", "a=b"],
                  ["build", "-r", "small", "--seed", "x"], ["build", "-r", "small", "--seed", "-1"]]
)  # fmt: skip
def test_usage_errors(arguments):
    result = zoo(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_debug_shows_the_traceback():
    result = zoo("build", "--recipe", "nope", "--debug")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: nope: there is no such recipe")


def test_the_command_itself():
    """As users meet it: one JSON object and no torch warning; and no traceback in a process of its own."""
    good = subprocess.run(
        [sys.executable, "-m", "zoo", "build", "-r", "small", "--json"], capture_output=True, text=True
    )
    assert (good.returncode, good.stderr) == (0, "")
    assert json.loads(good.stdout)["recipe"] == "small"
    bad = subprocess.run([sys.executable, "-m", "zoo", "build", "-r", "nope"], capture_output=True, text=True)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr == "error: nope: there is no such recipe; `zoo recipes` lists those that have a name\n"


def test_a_fault_of_zoo_is_one_line_too(monkeypatch):
    def fail(*arguments):
        raise KeyError("a fault")

    monkeypatch.setattr("zoo.assembly.check_tree", fail)
    result = zoo("build", "--recipe", "dit_s")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "error: KeyError: 'a fault' (a fault of zoo or of a plug-in; --debug shows where)" in result.stderr
    assert "Traceback" in zoo("build", "--recipe", "dit_s", "--debug").stderr


def test_a_part_that_ends_the_process_is_a_fault(monkeypatch):
    """Its exit code may be 0, as if all were done."""

    def leave(*arguments):
        raise SystemExit(0)

    monkeypatch.setattr("zoo.assembly.check_tree", leave)
    result = zoo("build", "--recipe", "dit_s")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "error: RuntimeError: a part ends the process, by sys.exit or its like (a fault of" in result.stderr
    assert "in leave" in zoo("build", "--recipe", "dit_s", "--debug").stderr


def test_figures_are_not_cut_on_a_terminal_of_80_columns(monkeypatch):
    monkeypatch.setattr("zoo.cli.common.WIDTH_WITHOUT_TERMINAL", 80)
    shown = zoo("build", "--recipe", "hybrid_xl", "--flops").stdout
    assert "…" not in shown
    assert max(map(len, shown.splitlines()[1:-1])) <= 80


def test_garbage_is_collected_again_afterwards():
    zoo("build", "--recipe", "nope")
    assert gc.isenabled()


BOMB = "a: &a [x, x]\n" + "".join(f"{name}: &{name} [*{old}, *{old}]\n" for old, name in pairwise("abcdefghijklmnop"))


@pytest.mark.parametrize("text", ["x" * 10_000_000, "[" * 100_000, BOMB], ids=["10_MB", "deep", "bomb"])
def test_what_is_no_recipe_is_refused_before_torch_is_imported(text):
    Path("no_recipe.yaml").write_text(text)
    code = (
        "import sys; from zoo.cli import main; sys.argv[1:] = ['build', '--recipe', 'no_recipe.yaml']\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    message, imported = result.stderr.splitlines()
    assert (result.returncode, imported) == (2, "False")
    assert message.startswith("error: no_recipe.yaml")
