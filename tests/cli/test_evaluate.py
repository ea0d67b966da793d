"""``zoo eval``: figures of a run, on a table and on record; and every refusal as one line."""

import json
import math
from pathlib import Path

import pytest

from tests.commands import done, refused, zoo
from tests.train.small import train
from zoo.errors import RunError
from zoo.runs.run_folder import RunFolder, step_of
from zoo.sampling.sampler import Sampler


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    train(folder / "run", "evaluate.count=40")
    return folder


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch, runs):
    monkeypatch.chdir(tmp_path)
    Path("run").symlink_to(runs / "run")


def test_figures_stand_beside_those_of_held_out_real_images():
    result = done("eval", "--run", "run", "--out", "found.json")
    found = json.loads(Path("found.json").read_text())
    assert set(found["figures"]) == {"generated", "held-out real"}
    for figures in found["figures"].values():
        assert {"accuracy", "fid_relative", "diversity", "precision", "recall", "novelty"} <= set(figures)
        assert all(map(math.isfinite, figures.values()))
    assert found["figures"]["generated"]["fid_relative"] > found["figures"]["held-out real"]["fid_relative"]
    for word in ("small", "Features pca, beside 1198 real images", "generated", "held-out real", "accuracy", "images"):
        assert word in result.stdout


def test_the_record_says_how_the_images_were_made():
    assert zoo("eval", "--run", "run", "--seed", 3, "--count", 12, "--set", "sample.solver=heun", "--out", "f.json")
    found = json.loads(Path("f.json").read_text())
    assert found["counts"] == {"real": 1198, "generated": 12, "held-out real": 12}
    assert (found["seed"], found["sample"]["steps"]) == (3, 2)
    assert found["sample"]["solver"] == {"type": "heun", "shift": 1.0}
    assert found["evaluate"]["features"] == {"type": "pca", "components": 32}
    assert len(found["weights_sha256"]) == 64
    assert {"torch", "numpy", "scipy", "scikit-learn"} <= set(found["libraries"])
    assert found["data"]["dataset"] == {"type": "digits"}
    assert found["classifier"] == "the features' own"
    assert (found["drawing"]["device"], found["drawing"]["processes"]) == ("cpu", 1)
    speed, seconds = found["drawing"]["images_per_second"], found["drawing"]["seconds"]
    assert speed * seconds == pytest.approx(12, abs=0.001 * speed)  # seconds are rounded to thousandths
    assert {"zoo", "plugins", "features", "checkpoint"} <= set(found)


def test_a_run_keeps_what_was_found_by_step():
    for step in (2, 3):
        done("eval", "--run", "run", "--count", 12, "--step", step)
    done("eval", "--run", "run", "--count", 12, "--weights", "raw")
    kept = [each for each in RunFolder(Path("run")).read_evaluations() if each["counts"]["generated"] == 12]
    of_step = {step_of(each): each["figures"]["generated"] for each in kept if each["seed"] == 0}
    assert set(of_step) >= {2, 3}
    assert of_step[2] != of_step[3]
    assert all(each["weights"] == "ema" for each in kept)
    files = [json.loads(path.read_text()) for path in Path("run/evaluations").iterdir()]
    assert "raw" in [each["weights"] for each in files]


def test_few_images_leave_figures_out_and_say_so():
    result = done("eval", "--run", "run", "--count", 3, "--set", "evaluate.labels=balanced", "--out", "f.json")
    found = json.loads(Path("f.json").read_text())
    sets = ("generated", "held-out real")
    assert set(found["left_out"]) == {
        f"{metric} of {each}" for metric in ("precision_recall", "diversity") for each in sets
    }
    assert "fid" in found["figures"]["generated"]
    assert "precision" not in found["figures"]["generated"]
    assert "no inception_score: it needs probabilities, which features pca do not give" in result.stdout
    assert found["unfed"] == {"inception_score": ["probabilities"], "sfid": ["spatial"]}
    warning = "warning: precision_recall of generated is left out: 3 neighbours need more than 3 images, not 3"
    assert warning in result.stderr.splitlines()


def test_figures_of_few_images_are_called_rough():
    result = zoo("eval", "--run", "run", "--count", 319, "--set", "evaluate.metrics=[fid]", "--out", "f.json")
    doubt = (
        "figures of 319 drawn images are rough, and Frechet distances come out too large: 32 features ask for 320"
        " images or more; take evaluate.count=320"
    )
    assert f"warning: {doubt}" in result.stderr.splitlines()
    assert json.loads(Path("f.json").read_text())["doubts"] == [doubt]
    assert "rough" not in zoo("eval", "--run", "run", "--count", 320, "--set", "evaluate.metrics=[fid]").stderr


def test_a_folder_that_cannot_be_written_to_loses_nothing(monkeypatch):
    def refuse(*_):
        raise RunError("run/evaluations: cannot be written to: Read-only file system")

    monkeypatch.setattr(RunFolder, "write_evaluation", refuse)
    result = done("eval", "--run", "run", "--count", 12, "--out", "f.json")
    assert json.loads(Path("f.json").read_text())["figures"]
    assert "warning: run/evaluations: cannot be written to: Read-only file system" in result.stderr


def test_real_images_may_be_fewer():
    done("eval", "--run", "run", "--count", 12, "--set", "evaluate.real=100", "--out", "f.json")
    assert json.loads(Path("f.json").read_text())["counts"] == {"real": 100, "generated": 12, "held-out real": 12}


def test_controls_are_judged_as_well():
    done("eval", "--run", "run", "--count", 12, "--controls", "--out", "f.json")
    figures = json.loads(Path("f.json").read_text())["figures"]
    assert list(figures) == ["generated", "held-out real", "noise", "class means", "shuffled labels", "copy"]


def test_a_weight_file_is_judged_as_its_run_is():
    done("export", "run", "--to", "zoo", "--out", "w.safetensors")
    for source, out in (("run", "a.json"), ("w.safetensors", "b.json")):
        done("eval", "--run", source, "--count", 12, "--out", out)
    one, other = (json.loads(Path(name).read_text())["figures"] for name in ("a.json", "b.json"))
    assert one == other


def test_metrics_are_those_asked_for():
    done("eval", "--run", "run", "--count", 12, "--set", "evaluate.metrics=[fid]", "--out", "f.json")
    assert set(json.loads(Path("f.json").read_text())["figures"]["generated"]) == {"fid", "fid_relative"}


def test_what_cannot_be_judged():
    assert (
        refused(zoo("eval", "--run", "nothing"), 3)
        == "nothing: there is no such weight file or run; runs beside it: run"
    )
    told = refused(zoo("eval", "--run", "run", "--set", "backbone.dim=3"))
    assert told == "--set backbone.dim=3: only `sample`, `data` and `evaluate` may be other than in training"
    told = refused(zoo("eval", "--run", "run", "--step", 1), 3)
    assert told == "run/checkpoints: there is no checkpoint of step 1; there are: 3, 2"
    told = refused(zoo("eval", "--run", "run", "--count", 8, "--set", "evaluate.metrics=[sfid]"), told=True)
    assert told == "small: evaluate.metrics: none of them can be told from pca; choose others"
    told = refused(zoo("eval", "--run", "run", "--set", "evaluate.metrics=[fed]"))
    assert "there is no metric 'fed'; did you mean 'fid'?" in told
    Path("found.json").write_text("mine")
    assert refused(zoo("eval", "--run", "run", "--out", "found.json")).startswith("found.json: exists already")


def test_features_that_lack_a_file_are_told_before_weights_are_read(monkeypatch):
    monkeypatch.setattr("zoo.runs.weights.find_weights", lambda *_, **__: pytest.fail("nothing is to be read"))
    told = refused(zoo("eval", "--run", "run", "--set", "evaluate.features=inception"), 3)
    assert "set evaluate.features.file to " in told


def test_what_was_found_is_kept_before_it_is_printed(monkeypatch):
    def closed(*_):
        raise BrokenPipeError

    monkeypatch.setattr("zoo.report.printing.print_figures", closed)
    zoo("eval", "--run", "run", "--count", 14, "--out", "f.json")
    assert json.loads(Path("f.json").read_text())["counts"]["generated"] == 14
    assert 14 in [each["counts"]["generated"] for each in RunFolder(Path("run")).read_evaluations()]


KEPT = "what has been done is kept; go on with: zoo "
DRAWS = "small: draws 12 images, and compares them with 1198 real ones"


@pytest.mark.parametrize(
    ("run", "options", "stops_in", "added"),
    [
        ("run", [], 1, " --resume --step 3"),  # a run that is trained further has a newer one
        ("run", ["--step", "3"], 1, " --resume"),
        ("run", ["--resume", "--step", "3", "--seed", "9"], 1, ""),
        ("w.safetensors", ["--out", "f.json"], 1, " --resume"),
        ("w.safetensors", [], 1, None),  # there is no place to keep it
        ("run", [], 0, None),  # nothing has been drawn
    ],
)
def test_an_interrupted_call_tells_of_what_is_kept_and_of_nothing_else(run, options, stops_in, added, monkeypatch):
    done("export", "run", "--to", "zoo", "--out", "w.safetensors")
    images = Sampler.images

    def stop(self, backbone, labels, batch, count):
        if batch == stops_in:
            raise KeyboardInterrupt
        return images(self, backbone, labels, batch, count)

    monkeypatch.setattr(Sampler, "images", stop)
    words = ["eval", "--run", run, "--count", "12", *options]
    result = zoo(*words)
    kept = [] if added is None else [f"{KEPT}{' '.join(words)}{added}"]
    assert result.exit_code == 130
    told = [line for line in result.stderr.splitlines() if not line.startswith("warning: no evaluation of these")]
    assert told == [DRAWS, *kept, "interrupted"]


def test_what_was_drawn_before_is_told_and_not_drawn_again(monkeypatch):
    images, drawn = Sampler.images, []

    def stop(self, backbone, labels, batch, count):
        drawn.append(batch)
        if len(drawn) == 2:
            raise KeyboardInterrupt
        return images(self, backbone, labels, batch, count)

    monkeypatch.setattr(Sampler, "images", stop)
    words = ("eval", "--run", "run", "--count", 12, "--step", 3, "--seed", 4)
    assert zoo(*words).exit_code == 130
    result = done(*words, "--resume")
    assert result.stderr.splitlines()[:2] == [DRAWS, f"1 of {len(drawn) - 1} batches have been drawn before"]
    assert drawn == [0, 1, *range(1, len(drawn) - 1)]
