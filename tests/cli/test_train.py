"""``zoo train``: runs that start, stop, go on and end; and every refusal as one line with the right exit code."""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from typer.testing import Result

from tests import commands
from tests.commands import content, done, zoo
from tests.train.small import VALUES
from zoo.cli import progress
from zoo.runs import checkpoint as checkpoints

RECIPE = json.dumps(
    {**VALUES, "train": {**VALUES["train"], "checkpoint_every": 100}, "sample": {"steps": 1, "batch": 4}}
)


def sets(*overrides: str) -> list[str]:
    return [word for each in overrides for word in ("--set", each)]


def train(*arguments: object) -> Result:
    return zoo("train", "--recipe", "small.yaml", "--run-dir", "run", *arguments)


def resume(*arguments: object) -> Result:
    return zoo("train", "--resume", "--run-dir", "run", *arguments)


refused = partial(commands.refused, told=True)


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Counting takes as long as all the rest.
    monkeypatch.setattr(progress.Progress, "_macs_per_image", lambda *_: 10**6)
    Path("small.yaml").write_text(RECIPE)


@pytest.fixture(scope="module")
def three_steps(tmp_path_factory):
    """A finished run, and what was told of it; made once."""
    folder = tmp_path_factory.mktemp("runs")
    before = Path.cwd()
    os.chdir(folder)
    Path("small.yaml").write_text(RECIPE)
    try:
        result = train()
    finally:
        os.chdir(before)
    return folder / "run", result


@pytest.fixture
def finished(three_steps):
    """A copy of the finished run, as ``run`` in the working folder."""
    return shutil.copytree(three_steps[0], "run")


def steps_of(folder="run"):
    return [json.loads(line)["step"] for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]


def test_a_run_from_start_to_end(three_steps):
    folder, result = three_steps
    assert (result.exit_code, result.stdout) == (0, "")
    lines = result.stderr.splitlines()
    assert lines[0].startswith("small: 0.0")
    assert lines[0].endswith("M parameters on cpu, one process; 1198 samples, batch 8, to step 3")
    assert lines[-3].startswith("step 3/3  loss ")
    assert " images/s  " in lines[-3]
    assert lines[-2] == "wrote run: checkpoints, recipe.yaml, metrics.jsonl, loss.png"
    assert lines[-1] == "samples: run/samples/step_00000003.png"
    assert all(line == line.rstrip() for line in lines)
    assert {path.name for path in folder.iterdir() if path.name != ".lock"} == {
        "recipe.yaml", "run.json", "metrics.jsonl", "checkpoints", "samples", "loss.png",
    }  # fmt: skip
    assert steps_of(folder) == [1, 2, 3]
    assert checkpoints.latest(folder / "checkpoints")[0].step == 3


def test_the_folder_is_named_after_the_recipe():
    done("train", "--recipe", "small.yaml", *sets("train.steps=1", "name=mine"))
    assert Path("runs/mine/recipe.yaml").exists()


@pytest.mark.parametrize("name", ['"../outside"', '"a/b"', '".."', '"."', '"/tmp/x"', r'"a\0b"', r'"a\nb"'])
def test_a_name_that_is_no_folder_s(name):
    result = zoo("train", "--recipe", "small.yaml", *sets(f"name={name}"))
    line = refused(result, 2)
    assert line.startswith("name: ")
    assert line.endswith(" cannot be a folder's; give --run-dir D")
    assert [path.name for path in Path().iterdir()] == ["small.yaml"]


def test_a_folder_with_a_run_is_refused_and_left_as_it_is(finished):
    before = content("run")
    assert refused(train(), 2) == "run: holds a run already; go on with it by --resume, or choose another --run-dir"
    assert content("run") == before


def test_a_run_that_is_being_trained_is_refused(finished):
    from zoo.runs.run_folder import RunFolder

    folder = RunFolder(Path("run"))
    folder.lock()
    before = content("run")
    owner = f"process {os.getpid()} on {platform.node()}"
    message = f"run: {owner} is training in this folder; wait for it, or stop it"
    assert refused(resume(*sets("train.steps=4")), 3) == message
    assert content("run") == before
    folder.unlock()
    assert resume(*sets("train.steps=4")).exit_code == 0


def test_no_recipe():
    message = "zoo train: give --recipe R, or --resume with --run-dir D; `zoo recipes` lists recipes"
    for arguments in ([], ["--resume"], ["--run-dir", "run"]):
        assert refused(zoo("train", *arguments), 2) == message


@pytest.mark.parametrize("made", [False, True])
def test_no_run_to_go_on_with(made):
    if made:
        Path("run").mkdir()
    told = "holds no run (no recipe.yaml, and no checkpoint); give the folder that `zoo train` made"
    assert refused(resume(), 3) == f"run: {told if made else 'there is no such run'}"


def test_resume_with_a_recipe_starts_where_there_is_no_run():
    """One command for a scheduler that may start it several times."""
    assert train("--resume").exit_code == 0
    result = train("--resume", *sets("train.steps=4"))
    assert (result.exit_code, steps_of()) == (0, [1, 2, 3, 4])


def test_a_finished_run_says_so(finished):
    before = {name: data for name, data in content("run").items() if name.split("/")[0] != "run.json"}
    result = resume()
    assert result.exit_code == 0
    assert "run: has trained its 3 steps; set train.steps higher to go on" in result.stderr.splitlines()
    assert before.items() <= content("run").items()


def test_a_run_goes_on_to_more_steps(finished):
    result = resume(*sets("train.steps=5", "train.keep_last=9"))
    assert result.exit_code == 0
    assert "from step 3 to step 5" in result.stderr
    assert steps_of() == [1, 2, 3, 4, 5]
    assert checkpoints.latest(Path("run/checkpoints"))[0].step == 5
    assert len(json.loads(Path("run/run.json").read_text())) == 2
    assert "has trained its 5 steps" in resume().stderr  # the folder's recipe has the new number


def test_a_run_that_went_on_is_the_run_that_never_stopped(finished):
    assert resume(*sets("train.steps=5")).exit_code == 0
    done("train", "--recipe", "small.yaml", "--run-dir", "whole", *sets("train.steps=5"))
    folders = [Path(each) / "checkpoints" / "step_00000005" for each in ("run", "whole")]
    for name in ("model.safetensors", "ema.safetensors", "optimizer.safetensors"):
        assert len({(folder / name).read_bytes() for folder in folders}) == 1
    one, other = (json.loads((folder / "state.json").read_text()) for folder in folders)
    assert one.pop("run") != other.pop("run")
    assert one == other


def test_another_recipe_is_refused_with_what_differs(finished):
    before = content("run")
    Path("small.yaml").write_text(RECIPE.replace('"learning_rate": 0.01', '"learning_rate": 0.5'))
    line = refused(train("--resume", *sets("backbone.dim=32")), 2)
    assert line == (
        "run: was trained by another recipe (its values first): backbone.dim: 16 and 32; train.learning_rate: 0.01 and"
        " 0.5; train.learning_rate may change where `--set` asks for it; backbone may not change, since its weights are"
        " of that backbone; leave out --recipe and --set to go on,"
        " or choose another --run-dir"
    )
    assert content("run") == before


def test_overrides_of_a_run_s_own_recipe_are_checked_too(finished):
    assert "train.seed: 0 and 7" in refused(resume(*sets("train.seed=7")), 2)


def test_a_checkpoint_of_another_recipe_is_refused(finished):
    """recipe.yaml was edited: what it says is no longer what was trained."""
    text = Path("run/recipe.yaml").read_text()
    assert "weight_decay: 0.0" in text
    Path("run/recipe.yaml").write_text(text.replace("weight_decay: 0.0", "weight_decay: 0.5"))
    line = refused(resume(*sets("train.steps=5")), 2)
    assert line == (
        "run/checkpoints/step_00000003: was trained by another recipe (its values first):"
        " train.optimizer.weight_decay: 0.0 and 0.5; train.optimizer may not change, since its moments are of that"
        " optimizer; put the run's recipe.yaml"
        " back as it was, or choose another --run-dir"
    )


def test_a_broken_recipe_of_a_run_is_told_with_its_line(finished):
    text = Path("run/recipe.yaml").read_text()
    Path("run/recipe.yaml").write_text(text.replace("  dim: 16", "  dim: many"))
    assert "run/recipe.yaml:6: backbone.dim: should be" in refused(resume(), 2)


def test_an_unsound_checkpoint_is_passed_over_with_its_reason(finished):
    assert resume(*sets("train.steps=5")).exit_code == 0
    (Path("run/checkpoints/step_00000005") / "model.safetensors").write_bytes(b"short")
    result = resume()
    assert result.exit_code == 0
    assert "warning: run/checkpoints/step_00000005: model.safetensors has 5 bytes in place of" in result.stderr
    assert "from step 3 to step 5" in result.stderr
    assert steps_of() == [1, 2, 3, 4, 5]
    found, problems = checkpoints.latest(Path("run/checkpoints"))
    assert (found.step, problems) == (5, [])
    assert Path("run/checkpoints/step_00000005.unsound").is_dir()


def test_no_sound_checkpoint_is_not_a_new_start(finished):
    (Path("run/checkpoints/step_00000003") / "model.safetensors").write_bytes(b"short")
    before = {name: data for name, data in content("run").items() if name not in ("run.json", "recipe.yaml")}
    line = refused(resume(), 3)
    assert line.startswith("run/checkpoints: no checkpoint is sound: run/checkpoints/step_00000003: model.safetensors")
    assert before.items() <= content("run").items()


@pytest.mark.parametrize(
    ("words", "exit_code", "message"),
    [
        (sets("data.dataset={type: latents, folder: nowhere}"), 3, "nowhere"),
        (sets("train.batch=7"), 2, "train.batch 7 is no multiple of 2"),
        *[(["--device", name], 2, f"device {name}: cannot be used: ") for name in ("tpu9", "cuda:77", "meta", "")],
    ],
)
def test_what_cannot_be_trained_makes_no_folder(words, exit_code, message):
    assert message in refused(train(*words), exit_code)
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("recipe", "variables", "message"),
    [
        ("nonsense", {}, "nonsense: "),
        (
            "digits_dit",
            {"WORLD_SIZE": "2"},
            "WORLD_SIZE is set and RANK is not: to run one process, unset WORLD_SIZE; ",
        ),
        ("digits_dit", {"RANK": "one", "WORLD_SIZE": "2"}, "RANK='one' is no whole number from 0 on; "),
        ("digits_dit", {"RANK": "0", "WORLD_SIZE": "1"}, "--procs starts processes itself, and RANK and WORLD_SIZE"),
    ],
)
def test_what_cannot_begin_is_refused_before_torch_is_imported(recipe, variables, message):
    command = f"app(['train', '-r', {recipe!r}, '--procs', '2'])"
    code = f"import sys; from zoo.cli import app\ntry: {command}\nfinally: sys.exit('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], env=os.environ | variables, capture_output=True, text=True)
    assert result.returncode == 0
    assert result.stderr.startswith(f"error: {message}")
    assert result.stderr.count("\n") == 1


def test_the_loss_is_not_finite(finished):
    """Nothing of the step that failed is kept, and nothing of those before is lost."""
    line = refused(
        zoo("train", "--recipe", "small.yaml", "--run-dir", "other", *sets(
            "train.steps=9", "train.learning_rate=1e30", "train.clip=null", "train.checkpoint_every=1",
        )), 5,
    )  # fmt: skip
    assert line.startswith("step ")
    newest = checkpoints.latest(Path("other/checkpoints"))[0]
    assert (
        f": the loss of all 8 samples is not finite; the last checkpoint is {newest.path}; its weights are no good any"
        " more: begin another run, "
    ) in line
    assert newest.step == int(line.split()[1].rstrip(":")) - 1


def test_samples_may_come_before_the_first_line_of_metrics():
    assert train(*sets("train.log_every=100", "train.callbacks=[{type: pictures, every: 1}]")).exit_code == 0
    assert len(list(Path("run/samples").glob("*.png"))) == 3


def test_asked_to_stop_it_saves_and_ends_with_75(monkeypatch):
    """As soon as it says that a step is done."""
    with monkeypatch.context() as patch:
        patch.setattr(progress.Progress, "step", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        result = train(*sets("train.steps=100000"))
    assert result.exit_code == 75
    newest = checkpoints.latest(Path("run/checkpoints"))[0]
    assert result.stderr.splitlines()[-1] == (
        f"stopped: run: asked to stop, and saved after step {newest.step} of 100000;"
        " go on with: zoo train --resume --run-dir run"
    )
    result = resume(*sets(f"train.steps={newest.step + 1}"))
    assert result.exit_code == 0
    assert f"from step {newest.step} to step {newest.step + 1}" in result.stderr
    assert steps_of() == list(range(1, newest.step + 2))


def test_tensorboard_is_written_where_it_is_wanted():
    pytest.importorskip("tensorboard")
    assert train(*sets("train.callbacks=[pictures,tensorboard]")).exit_code == 0
    assert list(Path("run").rglob("events.out.tfevents.*"))
