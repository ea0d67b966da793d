"""`zoo latents` end to end: pictures in, whole shards out, the same after a stop and on any number of processes."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.commands import content, refused
from tests.distributed.ranks import run_ranks
from zoo.data import extraction
from zoo.data.autoencoder import Autoencoder
from zoo.data.extraction import Extraction, extract
from zoo.data.images import Images
from zoo.data.latent_index import read_index
from zoo.data.latents import Latents
from zoo.data.pictures import read_picture
from zoo.errors import DataError
from zoo.unfinished import workplace


@pytest.fixture
def whole(run, out):
    """The files of an extraction that was not interrupted, which are in ``out``."""
    assert run(out).exit_code == 0
    return content(out)


def test_the_index_says_what_there_is(run, tmp_path, vae):
    out = tmp_path / "deep" / "out"
    result = run(out)
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{out}: 10 latents of 3 classes\n", "")
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
        "variance": "stored",
        "vae": {
            "source": str(vae),
            "sha256": index["vae"]["sha256"],
            "scaling_factor": 0.18215,
            "shift_factor": 0.5,
        },
        "classes": ["a", "b", "c"],
        "num_classes": None,
    }


def test_statistics_are_those_of_all_that_is_stored(whole, out):
    stored = [load_file(path) for path in sorted(out.glob("*.safetensors"))]
    moments = torch.cat([shard[name] for shard in stored for name in ("moments", "moments_flipped")]).double()
    mean, logvar = moments.chunk(2, dim=1)
    variance = mean.var((0, 2, 3), unbiased=False) + logvar.exp().mean((0, 2, 3))
    statistics = read_index(out).statistics
    torch.testing.assert_close(torch.tensor(statistics.mean).double(), mean.mean((0, 2, 3)), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(torch.tensor(statistics.std).double(), variance.sqrt(), rtol=1e-5, atol=0)


def test_workers_give_the_same_files(run, tmp_path, whole):
    assert run(tmp_path / "again", "--workers", 2).exit_code == 0
    assert content(tmp_path / "again") == whole


class Silent:
    """Keeps how far it was told to be."""

    def __init__(self):
        self.told = []

    def note(self, text):
        self.told.append(text)

    def progress(self, done, total):
        self.told.append((done, total))


def on_ranks(world, pictures, out, vae, *, fails=None, **options):
    """What a rank is told."""
    if world.rank == fails:
        extraction.write_shard = fail
    told = Silent()
    asked = Extraction(Path(out), vae, (16, 24), batch=3, shard=4, **options)

    def make(channels, size, classes):
        return Images(channels, size, classes, folder=pictures)

    extract(asked, make, world, told)
    return told.told


def fail(*_):
    raise DataError("disk full")


@pytest.mark.parametrize("ranks", [2, 4])
def test_any_number_of_processes_gives_the_same_files(pictures, vae, whole, tmp_path, ranks):
    told = run_ranks(on_ranks, ranks, str(pictures), str(tmp_path / "ranks"), str(vae))
    assert content(tmp_path / "ranks") == whole
    assert told[0][0] == (0, 10)
    assert told[0] == sorted(told[0])
    assert told[0][-1] == (10, 10)


def test_an_error_of_one_process_ends_all_and_is_gone_on_from(run, pictures, vae, whole, tmp_path):
    out = tmp_path / "ranks"
    found = run_ranks(lambda world: on_ranks(world, str(pictures), str(out), str(vae), fails=1), 2)
    assert [str(each) for each in found] == ["disk full"] * 2
    assert os.listdir(out) == ["shard_00000.safetensors"]
    assert run(out, "--resume").exit_code == 0
    assert content(out) == whole


@pytest.mark.parametrize("shards", [0, 1, 2, 3])
def test_a_resumed_extraction_gives_the_same_files(run, tmp_path, whole, monkeypatch, shards):
    write, written = extraction.write_shard, []

    def interrupted(path, shard, settings):
        if len(written) == shards:
            raise KeyboardInterrupt
        write(path, shard, settings)
        written.append(path)

    out = tmp_path / "stopped"
    with monkeypatch.context() as patched:
        patched.setattr(extraction, "write_shard", interrupted)
        if shards == 3:  # all shards, but no index
            patched.setattr(extraction, "write_whole", lambda path, content, error: interrupted(path, None, None))
        result = run(out)
    assert result.exit_code == 130
    told = result.stderr.splitlines()
    assert told[-1] == "interrupted"
    assert [line.endswith("--resume") for line in told[:-1]] == [True] * (shards > 0)
    assert "index.json" not in os.listdir(out)
    with pytest.raises(DataError, match=r"index\.json: there is no such file"):
        Latents(4, (8, 12), 3, folder=str(out)).open()
    if shards:
        assert refused(run(out)) == f"{out}: is not empty; choose another folder, or go on in it with --resume"
    kept = {path: path.stat().st_mtime_ns for path in written}
    assert run(out, "--resume").exit_code == 0
    assert content(out) == whole
    assert {path: path.stat().st_mtime_ns for path in written} == kept


def test_resuming_what_is_complete_changes_nothing(run, out, whole):
    result = run(out, "--resume")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{out}: 10 latents of 3 classes\n", "")
    assert content(out) == whole


def test_resuming_where_nothing_was_begun(run, tmp_path, whole):
    assert run(tmp_path / "new", "--resume").exit_code == 0
    assert content(tmp_path / "new") == whole


def test_what_a_crash_left_is_made_again(run, out, whole, monkeypatch):
    shard = out / "shard_00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    with workplace(out / "shard_00002.safetensors") as left:
        pass
    left.write_bytes(b"half")
    (out / "shard_00002.safetensors").unlink()

    def crash(path, shard, settings):
        assert not (out / "index.json").exists()  # it would vouch for shards that are being made again
        fail()

    with monkeypatch.context() as patched:
        patched.setattr(extraction, "write_shard", crash)
        assert refused(run(out, "--resume"), 3) == "disk full"
    assert run(out, "--resume").exit_code == 0
    assert content(out) == whole


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--dtype", "float32"], "dtype float16"),
        (["--no-flip"], "flip stored"),
        (["--size", "16", "--no-flip"], "size 16 x 24, flip stored"),
    ],
)
def test_resuming_with_other_options(run, out, whole, options, said):
    assert refused(run(out, "--resume", *options), 3) == (
        f"{out}/shard_00000.safetensors: was extracted with {said}; resume with that, or choose another folder"
    )
    assert content(out) == whole


def test_resuming_with_other_pictures(run, tmp_path, pictures, out, whole):
    changed = shutil.copytree(pictures, tmp_path / "pictures")
    message = "holds other pictures than are to be there now: the data has changed, or --shard; choose another folder"
    assert refused(run(out, "--resume", "--shard", "5"), 3) == f"{out}/shard_00000.safetensors: {message}"
    (changed / "c" / "0.png").rename(changed / "c" / "00.png")
    assert refused(run(out, "--resume", images=changed), 3) == f"{out}/shard_00001.safetensors: {message}"
    assert content(out) == whole


def test_a_shard_with_other_bytes_than_were_recorded_is_refused(run, out, whole):
    shard, index = out / "shard_00001.safetensors", out / "index.json"
    content_of = bytearray(shard.read_bytes())
    content_of[len(content_of) // 2] ^= 1  # of a latent
    shard.write_bytes(content_of)
    (out / "shard_00002.safetensors").unlink()
    told = f"{shard}: differs from its hash in index.json; remove it, and --resume writes it again"
    for _ in range(2):  # the index goes on vouching for the others
        assert refused(run(out, "--resume"), 3) == told
        assert index.read_bytes() == whole["index.json"]
    shard.unlink()
    assert run(out, "--resume").exit_code == 0
    assert content(out) == whole


@pytest.mark.parametrize("shares", [(0.0, 0.4), (0.4, 0.0)])
def test_resuming_with_another_division(run, out, shares):
    first, then = (["--set", f"data.dataset.held_out={share}"] for share in shares)
    assert run(out, *first).exit_code == 0
    before = content(out)
    holds, goes = (out, f"{out}/train and {out}/held_out") if then[1].endswith("0.4") else (out / "train", str(out))
    assert refused(run(out, "--resume", *then), 3) == (
        f"{holds}: holds latents, and these go to {goes}: what is held out has changed; choose another folder"
    )
    assert content(out) == before


@pytest.mark.parametrize("metadata", [None, {"zoo latents": "[1]"}], ids=["other", "damaged"])
def test_a_file_that_something_else_wrote(run, out, metadata):
    path = out / "shard_00000.safetensors"
    out.mkdir()
    save_file({"x": torch.zeros(1)}, path, metadata)
    before = path.read_bytes()
    told = f"{path}: was not written by `zoo latents`; remove it, or choose another folder"
    assert refused(run(out, "--resume"), 3) == told
    assert path.read_bytes() == before


def test_an_autoencoder_without_a_posterior(run, dc, out, pictures):
    assert run(out, "--vae", dc, "--dtype", "float32").exit_code == 0
    index = read_index(out)
    assert (index.channels, index.height, index.width, index.variance) == (8, 4, 6, "none")
    assert (index.vae.scaling_factor, index.vae.shift_factor) == (0.41, None)
    stored = [load_file(path) for path in sorted(out.glob("*.safetensors"))]
    every = torch.cat([shard[name] for shard in stored for name in ("moments", "moments_flipped")]).double()
    assert every.shape == (20, 8, 4, 6)
    std = torch.tensor(index.statistics.std).double()
    torch.testing.assert_close(std, every.std((0, 2, 3), unbiased=False), rtol=1e-6, atol=0)
    autoencoder, latents = Autoencoder(str(dc)), Latents(8, (4, 6), 3, folder=str(out), flip=False, vae=str(dc))
    source = latents.open()
    found = source.read(np.arange(10), [np.random.default_rng(0)] * 10).latents
    for name, latent in zip(source.ids(), found, strict=True):
        pixels = torch.from_numpy(read_picture(pictures / name, 3, 16, 24).copy())
        torch.testing.assert_close(latent, autoencoder.encode(pixels[None])[0])
    assert torch.equal(latents.to_images(found), autoencoder.decode(found))
    assert len(source.check(np.arange(10)).sound) == 10


def test_a_damaged_picture(run, tmp_path, pictures, out):
    images = shutil.copytree(pictures, tmp_path / "images")
    path = images / "c" / "9.png"
    path.write_bytes(b"x")
    assert refused(run(out, images=images), 3) == f"{path}: is no picture, or one that is damaged; replace or remove it"
    assert sorted(os.listdir(out)) == ["shard_00000.safetensors", "shard_00001.safetensors"]  # which are whole


def test_latents_that_half_precision_cannot_hold(run, tmp_path, vae, out):
    loud = shutil.copytree(vae, tmp_path / "vae")
    weights = load_file(loud / "diffusion_pytorch_model.safetensors")
    weights["quant_conv.bias"][0] = 1e5
    save_file(weights, loud / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    assert refused(run(out, "--vae", loud), 3) == (
        "a/1.png: its latent is not finite in float16; take --dtype float32, or another VAE"
    )
    assert run(tmp_path / "single", "--vae", loud, "--dtype", "float32").exit_code == 0


def test_data_that_cannot_be_used(run, tmp_path, out):
    missing = tmp_path / "missing"
    assert refused(run(out, images=missing), 3) == f"{missing}: there is no such folder"
    assert refused(run(out, "--vae", missing), 3) == (
        f"VAE {str(missing)!r}: there is no such folder, and it is no hub id such as 'owner/name'"
    )
    assert not out.exists()


def test_a_folder_that_cannot_be_made(run, out, monkeypatch):
    def refuse(path, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert refused(run(out), 3) == f"{out}: cannot be made: Permission denied"


def test_running_out_of_memory(run, out, monkeypatch):
    def fill(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(extraction.Autoencoder, "encode", fill)
    assert refused(run(out), 3) == "out of memory; go on with --resume and a smaller --batch"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--size", "15x24"), "--size 15 x 24: a latent pixel of this VAE is 2 image pixels wide and high; give mult"),
        (("--size", "1x2x3"), "--size 1x2x3: write the side of pictures in pixels, or HEIGHTxWIDTH, such as 256"),
        (("--size", "0"), "--size 0: write the side of pictures in pixels, or HEIGHTxWIDTH, such as 256"),
        (("--batch", "x"), "zoo latents: invalid value for '--batch'"),
        (("--dtype", "int8"), "zoo latents: invalid value for '--dtype'"),
        (("--device", "abacus"), "device abacus: cannot be used"),
        (("--dataset", "imges"), "zoo latents: dataset.type: there is no dataset 'imges'; did you mean 'images'?"),
        (("--dataset", "{type: images, flop: 1}"), "zoo latents: dataset.flop: unknown option; did you mean 'flip'?"),
        (("--dataset", "{folder: a}"), "and data.dataset.folder both say where the pictures are; give one"),
        (("--set", "train.batch=2"), "--set train.batch=2: only options of the dataset can be set here, such as"),
        (("--dataset", "npy"), "zoo latents: this dataset gives no pictures to encode; choose another --dataset"),
    ],
)
def test_usage(run, out, options, told):
    assert told in refused(run(out, *options))
    assert not out.exists()


def test_a_file_or_the_data_in_the_place_of_the_folder(run, tmp_path, pictures):
    inside = pictures / "d"
    assert refused(run(inside)).endswith("and would be taken for a part of the data; choose another --out")
    file = tmp_path / "file"
    file.touch()
    assert "--out" in refused(run(file))
    assert not inside.exists()
