"""Features beside samples, from what was extracted."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

import zoo
import zoo_repa.extract
from zoo.errors import DataError, MissingSplitError
from zoo.testing.dataset_laws import tells_its_data
from zoo_repa.extract import main

SIDE = 8
LATENT = {"channels": 3, "height": SIDE, "width": SIDE}
BACKBONE = {"latent": LATENT, "num_classes": 2, "dim": 8, "depth": 1, "heads": 1}


class Means(nn.Module):
    """Of each quarter of a picture its colour, and a number of its left half: no two mirror images are alike."""

    def forward(self, pictures: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(pictures, (2, 2))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(Means(), tmp_path_factory.mktemp("encoder") / "means.pt")


def saved(module: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(module).save(str(path))
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    drawn = np.random.default_rng(0)
    for split, count in (("train", 5), ("held_out", 2)):
        for index in range(count):
            path = tmp_path / "pictures" / split / "ab"[index % 2] / f"{split}{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(drawn.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(path)
    return tmp_path / "pictures"


def recipe(dataset: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "r",
        "backbone": {**BACKBONE, "patch_schedule": {"type": "uniform", "patch": 2}},
        "data": {"dataset": dataset},
    }


@pytest.fixture
def extract(pictures: Path, encoder: Path, tmp_path: Path):
    """Exit code of an extraction of those pictures."""
    file = tmp_path / "images.yaml"
    file.write_text(
        "backbone: {latent: {channels: 3, height: 8, width: 8}, num_classes: 2, dim: 8, depth: 1, heads: 1,"
        f" patch_schedule: {{type: uniform, patch: 2}}}}\ndata: {{dataset: {{type: images, folder: {pictures}}}}}\n"
    )

    def run(out: str, *more: str) -> int:
        given = ["--recipe", str(file), "--encoder", str(encoder), "--out", str(tmp_path / out), "--side", str(SIDE)]
        return main([*given, "--mean", "0", "0", "0", "--std", "1", "1", "1", "--dtype", "float32", *more])

    return run


def dataset(pictures: Path, features: Path, **options: Any) -> Any:
    of = {"type": "images", "folder": str(pictures)}
    return zoo.dataset(recipe({"type": "with_features", "of": of, "features": str(features), **options}))


def read(source: Any, indices: np.ndarray, seed: int = 0) -> Any:
    return source.read(indices, [np.random.default_rng((seed, n)) for n in range(len(indices))])


def test_features_are_those_of_their_pictures_and_mirrored_with_them(extract, pictures, tmp_path):
    assert extract("features", "--shard", "2") == 0
    source = dataset(pictures, tmp_path / "features").open()
    indices = np.random.default_rng(1).integers(0, 5, 60)
    found = read(source, indices)
    assert 15 < int(found.flipped.sum()) < 45
    expected = nn.functional.adaptive_avg_pool2d((found.latents + 1) / 2, (2, 2))
    torch.testing.assert_close(found.extra["features"], expected, atol=1e-5, rtol=0)
    assert not torch.allclose(found.extra["features"].flip(-1), expected, atol=1e-2)


def test_the_dataset_tells_its_data(extract, pictures, tmp_path):
    assert extract("features", "--shard", "2") == 0
    made = dataset(pictures, tmp_path / "features")
    tells_its_data(made.open)
    assert (made.extra, made.maps, made.makes_images) == (("features",), ("features",), True)
    source = made.open()
    again = pickle.loads(pickle.dumps(source))
    indices = np.arange(5)
    assert torch.equal(read(again, indices).extra["features"], read(source, indices).extra["features"])
    assert {path.name for path in source.recorded()} == {f"features_0000{n}.safetensors" for n in range(3)}
    assert source.check(indices).sound.tolist() == [0, 1, 2, 3, 4]


def test_other_features_are_told_by_the_fingerprint(extract, pictures, tmp_path):
    assert extract("features", "--shard", "2") == 0
    assert extract("others", "--shard", "2", "--side", "4") == 0
    one, other = (dataset(pictures, tmp_path / name).open().fingerprint() for name in ("features", "others"))
    assert one != other


def test_held_out_samples_have_features_of_their_own(extract, pictures, tmp_path):
    assert extract("features") == 0
    with pytest.raises(MissingSplitError, match="has no features of held-out samples"):
        dataset(pictures, tmp_path / "features").open("held_out")
    assert extract("held_out", "--split", "held_out") == 0
    made = dataset(pictures, tmp_path / "features", held_out=str(tmp_path / "held_out"))
    assert len(made.open("held_out")) == 2
    with pytest.raises(DataError, match="holds features of 2 samples, and the dataset has 5"):
        dataset(pictures, tmp_path / "held_out").open()


def test_samples_of_other_names_are_refused(extract, pictures, tmp_path):
    assert extract("features") == 0
    (pictures / "train/a/train0.png").rename(pictures / "train/a/other.png")
    with pytest.raises(DataError, match="of other names, or in another order"):
        dataset(pictures, tmp_path / "features").open()


def test_pictures_are_found_by_the_names_of_samples(extract, pictures, tmp_path, capsys):
    assert extract("features") == 0
    assert extract("by_name", "--pictures", str(pictures / "train"), "--size", str(SIDE)) == 3
    assert "has no picture 'train/a/train0.png', which is a sample's name" in capsys.readouterr().err
    assert extract("by_name", "--pictures", str(pictures), "--size", str(SIDE)) == 0
    one, other = (read(dataset(pictures, tmp_path / name).open(), np.arange(5)) for name in ("features", "by_name"))
    assert torch.equal(one.extra["features"], other.extra["features"])


def test_pictures_of_held_out_samples_are_found_too(extract, pictures, tmp_path):
    given = ["--split", "held_out", "--size", str(SIDE)]
    assert extract("features", "--split", "held_out") == 0
    assert extract("by_name", *given, "--pictures", str(pictures)) == 0
    one, other = (tmp_path / name / "features_00000.safetensors" for name in ("features", "by_name"))
    assert load_file(one)["features"].shape[0] == 2
    assert torch.equal(load_file(one)["features"], load_file(other)["features"])


def test_features_stay_as_they_are_stored(extract, pictures, tmp_path):
    assert extract("features", "--dtype", "float16") == 0
    assert extract("whole") == 0
    one, other = (read(dataset(pictures, tmp_path / name).open(), np.arange(5)) for name in ("features", "whole"))
    assert one.extra["features"].dtype == torch.float16
    assert torch.equal(one.extra["features"], other.extra["features"].half())


def test_a_full_disk_is_a_line(extract, tmp_path, capsys, monkeypatch):
    whole = zoo_repa.extract.save_file

    def full(tensors: Any, path: Path, *more: Any) -> None:
        whole(tensors, path, *more)
        if "00001" in path.name:
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(zoo_repa.extract, "save_file", full)
    assert extract("features", "--shard", "2") == 3
    told = capsys.readouterr().err.strip()
    assert told.endswith(
        "features_00001.safetensors: cannot be written: Error while serializing: I/O error: No space left on device"
        " (os error 28); files before it stay: go on with --resume"
    )
    assert [path.name for path in (tmp_path / "features").iterdir()] == ["features_00000.safetensors"]


def test_an_extraction_goes_on(extract, tmp_path, capsys, monkeypatch):
    assert extract("whole", "--shard", "2") == 0
    assert extract("parts", "--shard", "2") == 0
    last, first = (tmp_path / "parts" / f"features_0000{n}.safetensors" for n in (2, 0))
    last.unlink()
    stays = first.stat().st_mtime_ns
    assert extract("parts", "--shard", "2") == 2
    assert "is not empty; choose another folder, or go on in it with --resume" in capsys.readouterr().err
    assert extract("parts", "--shard", "2", "--resume") == 0
    assert first.stat().st_mtime_ns == stays
    for path in sorted((tmp_path / "whole").iterdir()):
        assert path.read_bytes() == (tmp_path / "parts" / path.name).read_bytes()
    assert extract("parts", "--shard", "2", "--side", "4", "--resume") == 3
    assert "was extracted with other side; go on with the same" in capsys.readouterr().err
    encoder = saved(Broken(), tmp_path / "means.pt")  # of the same name
    assert extract("parts", "--shard", "2", "--encoder", str(encoder), "--resume") == 3
    assert "was extracted with other encoder; go on with the same" in capsys.readouterr().err


def test_damage_is_told(extract, pictures, tmp_path):
    assert extract("features") == 0
    shard = tmp_path / "features" / "features_00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"cannot be read: .*; extract it again"):
        read(dataset(pictures, tmp_path / "features").open(), np.arange(2))
    shard.unlink()
    with pytest.raises(DataError, match="is missing, and the index lists it"):
        read(dataset(pictures, tmp_path / "features").open(), np.arange(2))
    (tmp_path / "features" / "features.json").write_text("{}")
    with pytest.raises(DataError, match="is no index of features"):
        dataset(pictures, tmp_path / "features").open()
    with pytest.raises(DataError, match=r"there is no such file; `python -m zoo_repa.extract` writes it"):
        dataset(pictures, tmp_path / "nowhere").open()


def test_a_program_of_torch_export_gives_the_same(extract, pictures, tmp_path):
    exported = torch.export.export(
        Means(), (torch.zeros(2, 3, SIDE, SIDE),), dynamic_shapes={"pictures": {0: torch.export.Dim("batch")}}
    )
    torch.export.save(exported, tmp_path / "means.pt2")
    assert extract("features") == 0
    assert extract("exported", "--encoder", str(tmp_path / "means.pt2")) == 0
    one, other = (read(dataset(pictures, tmp_path / name).open(), np.arange(5)) for name in ("features", "exported"))
    torch.testing.assert_close(one.extra["features"], other.extra["features"])


def test_of_a_models_tokens_those_of_the_picture_are_taken(extract, pictures, tmp_path):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": SIDE, "patch_size": 4}
    model = transformers.Dinov2WithRegistersModel(transformers.Dinov2WithRegistersConfig(**sizes)).eval()
    model.save_pretrained(tmp_path / "model")
    assert extract("features", "--encoder", str(tmp_path / "model")) == 0
    found = read(dataset(pictures, tmp_path / "features").open(), np.arange(5))
    plain = found.mirrored(found.flipped, maps=("features",))
    with torch.no_grad():
        tokens = model(pixel_values=(plain.latents + 1) / 2).last_hidden_state[:, -4:]
    torch.testing.assert_close(plain.extra["features"], tokens.mT.unflatten(2, (2, 2)), atol=1e-4, rtol=1e-4)


class Tokens(nn.Module):
    """Seven tokens, of no square."""

    def forward(self, pictures: Tensor) -> Tensor:
        return pictures.flatten(1)[:, :14].unflatten(1, (7, 2))


class Broken(nn.Module):
    """Infinity."""

    def forward(self, pictures: Tensor) -> Tensor:
        return pictures / 0


class Vector(nn.Module):
    """One map, whatever the pictures."""

    def forward(self, pictures: Tensor) -> Tensor:
        return pictures[:1]


class Narrow(nn.Module):
    """Of pictures that nobody gives."""

    def forward(self, pictures: Tensor) -> Tensor:
        return pictures.view(-1, 7, 5)


@pytest.mark.parametrize(
    ("module", "more", "told"),
    [
        (Tokens, [], "gives [5, 7, 2] of 5 pictures, and is to give a map"),
        (Vector, [], "gives [1, 3, 8, 8] of 5 pictures, and is to give a map"),
        (Narrow, [], "fails on pictures [5, 3, 8, 8] of torch.float32: RuntimeError: shape '[-1, 7, 5]' is invalid"),
        (Broken, [], "its features are not finite in float32"),
        (None, [], "encoder.pt: is no file of torch.jit.save: it is no zip archive, or not whole"),
        (None, ["--mean", "0"], "--mean: has 1 numbers; give one for each of --channels 3"),
        (None, ["--mean", "0", "0", "nan"], "--mean: 0.0 0.0 nan: give finite numbers"),
        (None, ["--std", "1", "1", "0"], "--std: 1.0 1.0 0.0: give finite numbers above 0"),
    ],
)
def test_what_cannot_be_extracted_is_a_line(extract, tmp_path, capsys, module, more, told):
    path = tmp_path / "encoder.pt"
    if module is None:
        path.write_text("nothing")
    else:
        saved(module(), path)
    assert extract("out", "--encoder", str(path), *more) in (2, 3)
    error = capsys.readouterr().err
    assert told in error
    assert len(error.strip().splitlines()) == 1
