"""The tool end to end: pictures in, whole shards out, the same files after an interruption."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import extract_latents
import pytest
import torch
from safetensors.torch import load_file, save_file

from zoo.data.latent_index import read_index
from zoo.data.latents import Latents
from zoo.errors import DataError
from zoo.unfinished import workplace


@pytest.fixture
def run(pictures, vae, capsys):
    """Run the tool; gives its exit code, and what it printed on stdout and on stderr."""

    def main(out, *options, images=pictures):
        size = [] if "--size" in options else ["--size", "16", "24"]
        code = extract_latents.main(
            [str(images), "--vae", str(vae), "--out", str(out), "--shard", "4", "--batch", "3", *size, *options]
        )
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return main


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def whole(run, tmp_path):
    """The files of an extraction that was not interrupted."""
    assert run(tmp_path / "whole")[0] == 0
    return contents(tmp_path / "whole")


def test_the_index_says_what_there_is(run, tmp_path, vae):
    out = tmp_path / "deep" / "out"
    assert run(out) == (0, f"{out}: 10 latents of 3 classes\n", "")
    assert sorted(os.listdir(out)) == ["index.json", *(f"shard_{number:05}.safetensors" for number in range(3))]
    index = json.loads((out / "index.json").read_text())
    statistics = index.pop("statistics")
    assert statistics["of"] == "samples"
    shards = index.pop("shards")
    assert [shard["count"] for shard in shards] == [4, 4, 2]
    for shard in shards:
        assert shard["sha256"] == hashlib.sha256((out / shard["file"]).read_bytes()).hexdigest()
    assert index == {
        "format": "zoo latents",
        "version": 1,
        "channels": 4,
        "height": 8,
        "width": 12,
        "image_size": [16, 24],
        "dtype": "float16",
        "flip": "stored",
        "vae": {
            "source": str(vae),
            "sha256": index["vae"]["sha256"],
            "scaling_factor": 0.18215,
            "shift_factor": 0.5,
        },
        "classes": ["a", "b", "c"],
    }


def test_statistics_are_those_of_all_that_is_stored(run, tmp_path):
    run(tmp_path / "out")
    stored = [load_file(path) for path in sorted(tmp_path.glob("out/*.safetensors"))]
    moments = torch.cat([shard[name] for shard in stored for name in ("moments", "moments_flipped")]).double()
    mean, logvar = moments.chunk(2, dim=1)
    variance = mean.var((0, 2, 3), unbiased=False) + logvar.exp().mean((0, 2, 3))
    statistics = read_index(tmp_path / "out").statistics
    torch.testing.assert_close(torch.tensor(statistics.mean).double(), mean.mean((0, 2, 3)), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(torch.tensor(statistics.std).double(), variance.sqrt(), rtol=1e-5, atol=0)


def test_extraction_is_reproducible(run, tmp_path, whole):
    run(tmp_path / "again", "--workers", "1")
    assert contents(tmp_path / "again") == whole


@pytest.mark.parametrize("shards", [0, 1, 2, 3])
def test_a_resumed_extraction_gives_the_same_files(run, tmp_path, whole, monkeypatch, shards):
    write, written = extract_latents.write_shard, []

    def interrupted(path, shard, settings):
        if len(written) == shards:
            raise KeyboardInterrupt
        write(path, shard, settings)
        written.append(path)

    out = tmp_path / "out"
    monkeypatch.setattr(extract_latents, "write_shard", interrupted)
    if shards == 3:  # all shards, but no index
        monkeypatch.setattr(extract_latents, "write_whole", lambda path, content, error: interrupted(path, None, None))
    assert run(out) == (130, "", "interrupted; go on with --resume\n")
    monkeypatch.undo()
    assert "index.json" not in os.listdir(out)
    with pytest.raises(DataError, match=r"index\.json: there is no such file"):
        Latents(4, (8, 12), 3, folder=str(out)).open()
    if shards:
        assert run(out) == (
            2, "", f"error: {out}: is not empty; choose another folder, or go on in it with --resume\n"
        )  # fmt: skip
    kept = {path: path.stat().st_mtime_ns for path in written}
    assert run(out, "--resume")[0] == 0
    assert contents(out) == whole
    assert {path: path.stat().st_mtime_ns for path in written} == kept


def test_resuming_what_is_complete_changes_nothing(run, tmp_path, whole):
    out = tmp_path / "whole"
    assert run(out, "--resume") == (0, f"{out}: 10 latents of 3 classes\n", "")
    assert contents(out) == whole


def test_resuming_where_nothing_was_begun(run, tmp_path, whole):
    assert run(tmp_path / "out", "--resume")[0] == 0
    assert contents(tmp_path / "out") == whole


def test_what_a_crash_left_is_made_again(run, tmp_path, whole, monkeypatch):
    out = tmp_path / "whole"
    shard = out / "shard_00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    with workplace(out / "shard_00002.safetensors") as left:
        pass
    left.write_bytes(b"half")
    (out / "shard_00002.safetensors").unlink()

    def crash(path, shard, settings):
        assert not (out / "index.json").exists()  # it would vouch for shards that are being made again
        raise DataError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(extract_latents, "write_shard", crash)
        assert run(out, "--resume") == (3, "", "error: disk full\n")
    assert run(out, "--resume")[0] == 0
    assert contents(out) == whole


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--dtype", "float32"], "dtype float16"),
        (["--no-flip"], "flip stored"),
        (["--size", "16", "--no-flip"], "size 16 x 24, flip stored"),
    ],
)
def test_resuming_with_other_options(run, tmp_path, whole, options, said):
    out = tmp_path / "whole"
    assert run(out, "--resume", *options) == (
        3,
        "",
        f"error: {out}/shard_00000.safetensors: was extracted with {said}; resume with that,"
        " or choose another folder\n",
    )
    assert contents(out) == whole


def test_resuming_with_other_pictures(run, tmp_path, pictures, draw, whole):
    out, changed = tmp_path / "whole", shutil.copytree(pictures, tmp_path / "pictures")
    message = (
        "holds other pictures than are to be there now: the image folder has changed, or --shard; choose another folder"
    )
    assert run(out, "--resume", "--shard", "5") == (3, "", f"error: {out}/shard_00000.safetensors: {message}\n")
    (changed / "c" / "0.png").rename(changed / "c" / "00.png")
    assert run(out, "--resume", images=changed) == (3, "", f"error: {out}/shard_00001.safetensors: {message}\n")
    assert contents(out) == whole


def test_a_file_that_something_else_wrote(run, tmp_path):
    path = tmp_path / "out" / "shard_00000.safetensors"
    path.parent.mkdir()
    save_file({"x": torch.zeros(1)}, path)
    content = path.read_bytes()
    assert run(path.parent, "--resume") == (
        3, "", f"error: {path}: was not written by this tool; remove it, or choose another folder\n"
    )  # fmt: skip
    assert path.read_bytes() == content


def test_splits_go_into_folders_of_their_own(run, tmp_path, draw):
    images, out = tmp_path / "images", tmp_path / "out"
    for name in ("train/a/1.png", "train/b/2.png", "train/c/3.png", "val/c/4.png"):
        draw(images / name)
    code, said, _ = run(out, images=images)
    assert (code, said) == (0, f"{out}/train: 3 latents of 3 classes\n{out}/held_out: 1 latents of 3 classes\n")
    latents = Latents(4, (8, 12), 3, folder=str(out))
    assert [latents.open().id(index) for index in range(3)] == ["train/a/1.png", "train/b/2.png", "train/c/3.png"]
    held_out = latents.open("held_out")
    assert (held_out.id(0), held_out.check_labels(3)) == ("val/c/4.png", None)


def test_pictures_without_classes(run, tmp_path, draw):
    images, out = tmp_path / "images", tmp_path / "out"
    draw(images / "ü \n.png")
    assert run(out, images=images)[:2] == (0, f"{out}: 1 latents of no classes\n")
    assert Latents(4, (8, 12), 0, folder=str(out)).open().id(0) == "ü \\n.png"


def test_a_damaged_picture(run, tmp_path, pictures):
    images, out = shutil.copytree(pictures, tmp_path / "images"), tmp_path / "out"
    (images / "c" / "9.png").write_bytes(b"x")
    code, _, said = run(out, images=images)
    path = images / "c" / "9.png"
    assert (code, said) == (3, f"error: {path}: is no picture, or one that is damaged; replace or remove it\n")
    assert sorted(os.listdir(out)) == ["shard_00000.safetensors", "shard_00001.safetensors"]  # which are whole


def test_latents_that_half_precision_cannot_hold(run, tmp_path, vae, pictures):
    loud = shutil.copytree(vae, tmp_path / "vae")
    weights = load_file(loud / "diffusion_pytorch_model.safetensors")
    weights["quant_conv.bias"][0] = 1e5
    save_file(weights, loud / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    first = sorted(pictures.glob("a/*"))[0]
    assert run(tmp_path / "out", "--vae", str(loud)) == (
        3, "", f"error: {first}: its latent is not finite in float16; take --dtype float32, or another VAE\n"
    )  # fmt: skip
    assert run(tmp_path / "single", "--vae", str(loud), "--dtype", "float32")[0] == 0


def test_data_that_cannot_be_used(run, tmp_path):
    out = tmp_path / "out"
    missing = tmp_path / "missing"
    assert run(out, images=missing) == (3, "", f"error: {missing}: there is no such folder\n")
    assert run(out, "--vae", str(missing)) == (
        3, "", f"error: VAE {str(missing)!r}: there is no such folder, and it is no hub id such as 'owner/name'\n"
    )  # fmt: skip
    assert not out.exists()


def test_a_folder_that_cannot_be_made(run, tmp_path, monkeypatch):
    def refuse(path, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    out = tmp_path / "out"
    assert run(out) == (3, "", f"error: {out}: cannot be made: Permission denied\n")


def test_running_out_of_memory(run, tmp_path, monkeypatch):
    def fill(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(extract_latents, "extract", fill)
    assert run(tmp_path / "out") == (3, "", "error: out of memory; go on with --resume and a smaller --batch\n")


def test_usage(run, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(out, "--size", "15", "24") == (
        2,
        "",
        "error: --size 15 x 24: a latent pixel of this VAE is 2 image pixels wide and high; give multiples of 2\n",
    )
    file = tmp_path / "file"
    file.touch()
    assert run(file) == (2, "", f"error: {file}: is a file; choose another name for the folder\n")
    for options, reason in (
        (["--size", "1", "2", "3"], "argument --size: give one number, or height and width"),
        (["--size", "0"], "argument --size: '0' is not a whole number above 0"),
        (["--batch", "x"], "argument --batch: 'x' is not a whole number above 0"),
        (["--device", "abacus"], "argument --device: 'abacus' is not a device that works here"),
        (["--dtype", "int8"], "argument --dtype: invalid choice"),
    ):
        with pytest.raises(SystemExit) as stopped:
            run(out, *options)
        assert stopped.value.code == 2
        assert reason in capsys.readouterr().err
    assert not out.exists()
