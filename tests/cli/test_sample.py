"""``zoo sample``: options to images; and every refusal as one line with the right exit code."""

import json
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from typer.testing import Result

from tests import commands
from tests.commands import done, zoo
from tests.forked import run_zoo
from tests.train.small import VALUES
from zoo.distributed import distributed
from zoo.distributed.distributed import Distributed
from zoo.errors import ZooError
from zoo.pictures import read_png
from zoo.sampling import images as sampling


def trained(folder, *overrides):
    words = [word for each in ("sample.steps=1", "train.checkpoint_every=100", *overrides) for word in ("--set", each)]
    recipe = folder.parent / "small.yaml"
    recipe.write_text(json.dumps(VALUES))
    done("train", "--recipe", recipe, *words, "--run-dir", folder)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    trained(folder / "run")
    trained(folder / "unconditional", "backbone.num_classes=0", "backbone.class_conditioner=none", "train.steps=1")
    return folder


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch, runs):
    monkeypatch.chdir(tmp_path)
    for name in ("run", "unconditional"):
        Path(name).symlink_to(runs / name)


def sample(*arguments: object, run: str = "run") -> Result:
    return zoo("sample", "--run", run, "--out", "out", *arguments)


def refused(result: Result, exit_code: int = 2) -> str:
    assert not Path("out").exists()
    return commands.refused(result, exit_code)


def record():
    return json.loads(Path("out/samples.json").read_text())


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ("ema:0.5", "run: keeps no average ema:0.5, only ema:0.9999, as its train.ema says; take one of these"),
        ("w.safetensors", "weights: says which of a run's; give the file itself by --run w.safetensors"),
        ("last", "weights: ema, raw, or one of several averages, such as ema:0.9999 or ema:std=0.1, not 'last'"),
    ],
)
def test_weights_that_there_are_not(weights, said):
    assert refused(sample("--weights", weights)) == said


def test_draws_what_the_run_s_recipe_says():
    result = sample()
    assert (result.exit_code, result.stdout) == (0, "")
    *progress, last = result.stderr.splitlines()
    assert last == "wrote 64 images and grid.png to out"
    assert progress == []  # of so short a work
    assert len(list(Path("out").glob("0*.png"))) == 64
    assert record()["labels"] == [index % 10 for index in range(64)]
    assert record()["weights"] == "ema"
    assert (record()["sample"]["steps"], record()["sample"]["solver"]) == (1, {"type": "euler", "shift": 1.0})


def test_every_option_arrives():
    options = ["--weights", "raw", "--labels", "3,5", "--count", "5", "--steps", "2", "--solver", "heun"]
    result = sample(
        *options, "--guidance", "1.0,3.0", "--seed", "7", "--npz", "--set", "sample.batch=3", "--device", "cpu"
    )
    assert result.exit_code == 0
    told = record()
    assert (told["weights"], told["labels"], told["count"], told["seed"]) == ("raw", [3, 5, 3, 5, 3], 5, 7)
    assert told["sample"]["steps"] == 2
    assert told["sample"]["solver"]["type"] == "heun"
    assert told["sample"]["guidance"]["scale"] == [1.0, 3.0]
    assert told["sample"]["batch"] == 3
    assert Path("out/samples.npz").exists()


def test_an_option_and_what_is_set_of_the_same_part_go_together():
    result = sample(
        "--count", 1, "--solver", "euler_maruyama", "--set", "sample.solver.diffusion=sigma",
        "--guidance", 2, "--set", "sample.guidance=cfg_zero", "--set", "sample.steps=3",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    told = record()["sample"]
    assert (told["solver"]["type"], told["solver"]["diffusion"]) == ("euler_maruyama", "sigma")
    assert (told["guidance"]["type"], told["guidance"]["scale"]) == ("cfg_zero", 2.0)


@pytest.mark.parametrize("override", ["sample.guidance.scale=3", "sample.guidance=3", "sample={guidance: 3, steps: 9}"])
def test_an_option_holds_over_what_is_set(override):
    assert sample("--count", 1, "--guidance", 2, "--steps", 1, "--set", override).exit_code == 0
    assert (record()["sample"]["guidance"]["scale"], record()["sample"]["steps"]) == (2.0, 1)


def test_a_shift_is_the_solver_s_own():
    line = refused(sample("--count", 1, "--set", "sample.solver={type: dopri5, shift: 3}"))
    assert line.endswith("sample.solver.shift: unknown option; there are: rtol, atol, type")
    assert sample("--count", 1, "--steps", 2, "--set", "sample.solver.shift=3").exit_code == 0
    assert record()["sample"]["solver"] == {"type": "euler", "shift": 3.0}


def test_two_solvers_are_refused():
    line = refused(sample("--solver", "heun", "--set", "sample.solver=dopri5"))
    assert line == "--solver heun: a --set says which solver, too; leave one of them out"


@pytest.mark.parametrize(
    ("options", "count"), [(["--labels", "3"], 1), (["--labels", "3,5,3"], 3), (["--labels", "3,5", "--count", "1"], 1)]
)
def test_one_image_a_label_unless_told_otherwise(options, count):
    assert sample(*options).exit_code == 0
    assert record()["count"] == count
    assert len(list(Path("out").glob("0*.png"))) == count


@pytest.mark.parametrize(("given", "scales"), [("2", 2.0), ("1.5", 1.5), ("1,3", [1.0, 3.0]), ("1.0, 3e0", [1.0, 3.0])])
def test_guidance_is_one_scale_or_one_for_every_stage(given, scales):
    assert sample("--guidance", given, "--count", 1).exit_code == 0
    assert record()["sample"]["guidance"]["scale"] == scales


@pytest.mark.parametrize(
    "given", ["1,2,3", "-1", "-1,2", "much", "nan", ".nan", "inf", ".inf", "1,,2", "[1,2]", "true", ""]
)
def test_guidance_that_is_none(given):
    line = refused(sample(f"--guidance={given}", "--count", 1))
    if given == "1,2,3":
        assert "sample.guidance.scale: 3 scales for 2 stages; give one for every stage" in line
    else:
        assert line == (
            f"--guidance {given}: write a scale of at least 0, or one for every stage with commas between them, such as"
            " 1.0,3.0; another kind of guidance is --set 'sample.guidance={type: cfg_zero, scale: 2.0}'"
        )


@pytest.mark.parametrize(
    "overrides", [["sample.steps=3"], ["sample={steps: 3, batch: 2}"], ["data.workers=2", "sample.steps=3"]]
)
def test_sample_and_data_may_be_other_than_in_training(overrides):
    assert sample("--count", 1, *[word for each in overrides for word in ("--set", each)]).exit_code == 0
    assert record()["sample"]["steps"] == 3


@pytest.mark.parametrize(
    "override", ["train.seed=3", "backbone.dim=32", "backbone={dim: 3}", "name=x", "samples.steps=3"]
)
def test_nothing_else_may(override):
    message = f"--set {override}: only `sample` and `data` may be other than in training"
    assert refused(sample("--set", override)) == message


@pytest.mark.parametrize("override", ["sample", "sample.steps", "=3", "sample.=3"])
def test_an_override_of_no_such_form(override):
    assert "write it as key.path=value" in refused(sample("--set", override))


def test_an_option_that_there_is_not():
    assert "sample.stepz: unknown option; did you mean 'steps'?" in refused(sample("--set", "sample.stepz=3"))
    assert "there is no solver 'eulr'; did you mean 'euler'?" in refused(sample("--solver", "eulr"))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("three", "--labels three: no class is called 'three'"),
        ("3,,5", "--labels 3,,5: a class is missing"),
        ("", "--labels '': a class is missing"),
        ("3 5", "--labels '3 5': no class is called '3 5'"),
        ("1.5", "--labels 1.5: no class is called '1.5'"),
        ("²", "--labels '²': no class is called '²'"),
    ],
)
def test_labels_that_are_no_class(labels, message):
    assert refused(sample("--labels", labels)).startswith(message)


@pytest.mark.parametrize("label", [-1, 10, 1000])
def test_a_label_that_is_no_class(label):
    assert refused(sample("--labels", f"3,{label}")) == f"--labels: {label} is no class; they go from 0 to 9"


def test_labels_are_given_in_one_way():
    message = refused(sample("--labels", "3", "--labels-file", "own.npy"))
    assert message == "zoo sample: --labels and --labels-file both say what images are of; leave one of them out"


class Second(Distributed):
    """A process that another one tells what to raise."""

    def first(self, work):
        raise ZooError("as the first process says")


def test_the_first_process_alone_reads_the_file_of_labels(monkeypatch):
    monkeypatch.setattr(distributed, "join_processes", lambda device: nullcontext(Second(1, 2, torch.device("cpu"))))
    assert refused(sample("--labels-file", "of_another_machine.npy")) == "as the first process says"


def test_an_unconditional_backbone():
    message = refused(sample("--labels", "3", run="unconditional"))
    assert message.startswith("--labels: this backbone is unconditional")
    assert sample("--count", 3, run="unconditional").exit_code == 0


def test_images_of_a_weight_file_are_those_of_its_run():
    done("export", "run", "--to", "zoo", "--out", "w.safetensors")
    for run, out in (("w.safetensors", "a"), ("run", "b")):
        done("sample", "--run", run, "--count", 3, "--out", out)
    assert (Path("a") / "000002.png").read_bytes() == (Path("b") / "000002.png").read_bytes()
    of_file, of_run = (json.loads((Path(name) / "samples.json").read_text()) for name in "ab")
    assert of_file["source"] == {key: of_run[key] for key in ("run", "checkpoint", "weights", "weights_sha256")}


def test_an_unsound_checkpoint():
    shutil.copytree("run", "broken")
    (file,) = Path("broken/checkpoints").glob("*/ema.safetensors")
    file.write_bytes(file.read_bytes()[:-1])
    line = refused(sample(run="broken"), 3)
    assert line.startswith(f"broken: there is no sound checkpoint: {file.parent}: ema.safetensors has ")


def test_a_file_is_no_folder():
    Path("out").touch()
    result = sample()
    assert result.exit_code == 2
    assert "is a file" in " ".join(result.stderr.split())


@pytest.mark.parametrize("option", [["--count", "0"], ["--steps", "0"], ["--seed", "-1"], ["--procs", "0"]])
def test_options_out_of_range(option):
    result = sample(*option)
    assert result.exit_code == 2
    assert f"invalid value for '{option[0]}'" in " ".join(result.stderr.split())
    assert not Path("out").exists()


def test_a_device_that_is_not_there():
    assert refused(sample("--device", "tpu9")).startswith("device tpu9: cannot be used: ")


def test_a_plain_mistake_is_told_before_torch_is_imported(runs, tmp_path):
    for arguments in (["--labels", "x"], ["--set", "train.seed=3"]):
        words = ["sample", "--run", str(runs / "run"), "--out", "out", *arguments]
        code = f"import sys; from zoo.cli import app\ntry: app({words})\nfinally: sys.exit('torch' in sys.modules)"
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
        assert result.returncode == 0, result.stderr
        assert result.stderr.startswith("error: --")


def test_another_process_draws_the_same(runs, tmp_path):
    assert sample("--count", 5).exit_code == 0
    result = run_zoo("sample", "--run", str(runs / "run"), "--out", "again", "--count", "3", folder=tmp_path)
    assert (result.returncode, result.stderr) == (0, "wrote 3 images and grid.png to again\n")
    for index in range(3):
        name = f"{index:06d}.png"
        assert (read_png(Path("again") / name) == read_png(Path("out") / name)).all()


def test_samples_that_are_there_already():
    for told in ("wrote 3 images and grid.png to out\n", "out: holds all 3 images already\n"):
        result = sample("--count", 3, *(["--resume"] if Path("out").exists() else []))
        assert (result.exit_code, result.stdout, result.stderr) == (0, "", told)
    for removed in (["samples.json"], []):
        for name in ("000001.png", *removed):
            Path("out", name).unlink()
        assert sample("--count", 3, "--resume").stderr == "wrote 1 image to out, which holds all 3 now\n"
    Path("out/grid.png").unlink()
    assert sample("--count", 3, "--resume").stderr == "out: holds all 3 images already\n"
    assert Path("out/grid.png").exists()


@pytest.mark.parametrize("begun", [False, True])
def test_an_interrupted_call_says_that_it_can_be_gone_on_with_where_it_has_begun(begun, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(sampling, "write_png" if begun else "prepare_sampler", stop)
    result = sample("--count", 3)
    told = "what has been done is kept; go on with: zoo sample --run run --out out --count 3 --resume\n"
    assert (result.exit_code, result.stderr) == (130, f"{told if begun else ''}interrupted\n")
