"""Of a file that is not there, whoever asks for it tells the one beside it that is meant, and what else to do."""

from pathlib import Path

import pytest

from zoo.data.left_out import ids_in
from zoo.errors import ZooError
from zoo.evaluate.inception import InceptionFeatures
from zoo.plan import load_device
from zoo.recipe.of_run import no_run
from zoo.runs.weights import find_weights
from zoo.sampling.label_files import read_labels
from zoo.train.run import _no_start
from zoo.weights.files import recorded_recipe
from zoo.weights.foreign import read_checkpoint


def no_run_or_file(path):
    raise no_run(path, or_file=True)


def no_start(path):
    raise ZooError(_no_start(str(path), "mine"))


FILES = {
    "weights": ("own.safetensors", find_weights, ""),
    "weights, by a command": ("own.safetensors", no_run_or_file, "there is no such weight file or run"),
    "a weight file's recipe": ("own.safetensors", recorded_recipe, ""),
    "train.init": ("own.safetensors", no_start, "; published weights become it by `zoo import CHECKPOINT "),
    "zoo import": ("own.pt", read_checkpoint, ""),
    "--labels-file": ("own.npy", read_labels, "--labels-file "),
    "--labels-file, by name": ("own.safetensors", read_labels, "--labels-file "),
    "--gpu": ("own.json", lambda path: load_device(str(path)), "; `zoo plan --measure` writes one"),
    "data.leave_out": ("own.txt", lambda path: ids_in(str(path)), "; write it anew, or set that to null"),
    "inception": ("own.pt", lambda path: InceptionFeatures(file=str(path)).check(), "; NVIDIA's is at https://"),
}
"""By who asks for a file: what is there, how it is opened, and what is told as well."""


@pytest.fixture
def told(tmp_path):
    def told(who, stem):
        name, open_it, _ = FILES[who]
        (tmp_path / name).touch()
        (tmp_path / "onw.zip").touch()  # nearer still, and of another kind
        missing = tmp_path / f"{stem}{Path(name).suffix}"
        with pytest.raises(ZooError) as caught:
            open_it(missing)
        assert str(missing) in str(caught.value)
        return str(caught.value)

    return told


@pytest.mark.parametrize("who", FILES)
def test_the_file_that_is_meant_is_told_and_what_else_to_do(told, who, tmp_path):
    name, _, remedy = FILES[who]
    said = told(who, "onw")
    assert f"; did you mean {str(tmp_path / name)!r}?" in said
    assert remedy in said


@pytest.mark.parametrize("who", FILES)
def test_a_file_of_quite_another_name_is_not_meant(told, who):
    assert "did you mean" not in told(who, "photographs")
