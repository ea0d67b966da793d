"""Features of any network in a file: a small one in place of DINOv2's or CLIP's, and what can be wrong with a file."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import DataError
from zoo.evaluate.base import ImageSet
from zoo.evaluate.frechet import FID
from zoo.evaluate.torchscript import TorchScriptFeatures
from zoo.testing import check_part

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
RGB = np.random.default_rng(0).integers(0, 256, (7, 9, 5, 3), dtype=np.uint8)
SIZE, MEAN, STD = 6, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)


class Maps(nn.Module):
    def forward(self, pictures: Tensor) -> Tensor:
        return torch.cat([pictures, pictures.square()], 1)


class Vectors(nn.Module):
    def forward(self, pictures: Tensor) -> Tensor:
        return torch.cat([pictures, pictures.square()], 1).mean((2, 3))


class Two(nn.Module):
    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        return pictures, pictures


class Tokens(nn.Module):
    def forward(self, pictures: Tensor) -> Tensor:
        return pictures.flatten(2)


class Infinite(nn.Module):
    def forward(self, pictures: Tensor) -> Tensor:
        return pictures.mean((2, 3)) / 0


class Other(nn.Module):
    def forward(self, pictures: Tensor) -> Tensor:
        return pictures.view(-1, 77)


@pytest.fixture
def saved(tmp_path):
    def save(module):
        path = tmp_path / f"{type(module).__name__}.pt"
        torch.jit.save(torch.jit.script(module), path)
        return path

    return save


def exported(path):
    free = {"pictures": {0: torch.export.Dim("batch")}}
    program = torch.export.export(Vectors(), (torch.zeros(2, 3, SIZE, SIZE),), dynamic_shapes=free)
    torch.export.save(program, path)
    return path


def fitted(path, images=RGB, **options):
    features = TorchScriptFeatures(file=str(path), **{"size": SIZE, "mean": MEAN, "std": STD, **options})
    features.fit(ImageSet(images, None))
    return features.of(images, np.arange(len(images)))


def reference(images):
    found = []
    for image in images:
        picture = F.interpolate(
            torch.tensor(image / 255, dtype=torch.float64).permute(2, 0, 1)[None],
            (SIZE, SIZE),
            mode="bicubic",
            antialias=True,
        )
        pixels = (picture[0].numpy().clip(0, 1) - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))
        found.append(np.concatenate([pixels.mean((1, 2)), (pixels**2).mean((1, 2))]))
    return np.array(found)


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_vectors_and_means_of_maps(saved, batch):
    for module in (Vectors(), Maps()):
        found = fitted(saved(module), batch=batch)
        np.testing.assert_allclose(found.pooled, reference(RGB), rtol=1e-4, atol=1e-5)
    assert (found.labels == np.arange(7)).all()


def test_a_program_of_torch_export_gives_the_same(saved, tmp_path):
    other = fitted(exported(tmp_path / "vectors.pt2"), batch=3)
    np.testing.assert_allclose(other.pooled, fitted(saved(Vectors())).pooled, rtol=1e-5)


def test_grey_pictures_are_repeated_to_rgb(saved):
    path = saved(Vectors())
    grey = RGB[..., :1]
    np.testing.assert_allclose(fitted(path, grey).pooled, fitted(path, grey.repeat(3, axis=-1)).pooled, rtol=1e-5)


def test_the_laws_of_features(saved):
    file = st.just(str(saved(Maps())))
    drawn = st.fixed_dictionaries({"file": file}, optional={"batch": st.integers(1, 30), "size": st.integers(1, 9)})
    check_part(TorchScriptFeatures, options=drawn)


def test_a_frechet_distance_of_them(saved):
    found = fitted(saved(Vectors()))
    assert FID().measure(found, found)["fid"] == pytest.approx(0.0, abs=1e-6)


def test_the_record_has_the_hash_of_the_file(saved):
    features = TorchScriptFeatures(file=str(saved(Maps())))
    features.fit(ImageSet(RGB, None))
    digest = hashlib.sha256(features.file.read_bytes()).hexdigest()
    assert features.record() == {"file": "Maps.pt", "sha256": digest}


def test_the_network_runs_where_it_is_told_to(saved):
    features = TorchScriptFeatures(file=str(saved(Maps())))
    features.fit(ImageSet(RGB, None))
    features.to(torch.device("meta"))
    with pytest.raises(RuntimeError, match="meta"):  # which has no values that could be told
        features.of(RGB, None)


def test_without_a_file_it_is_said_how_to_make_one(tmp_path):
    with pytest.raises(
        DataError, match=r"^features torchscript: need a file; trace a network of yours, torch.jit.save"
    ):
        TorchScriptFeatures().check()
    with pytest.raises(DataError, match=r"network.pt: there is no such file; trace a network of yours"):
        TorchScriptFeatures(file=str(tmp_path / "network.pt")).check()


@pytest.mark.parametrize("name", ["text.pt", "text.pt2", "folder.pt"])
def test_files_that_are_none(tmp_path, name):
    path = tmp_path / name
    path.mkdir() if name == "folder.pt" else path.write_text("hello\n" * 99)
    kind = "program of torch.export.save" if name == "text.pt2" else "file of torch.jit.save"
    with pytest.raises(
        DataError, match=rf"^features torchscript: .*{name}: is no {kind}: it is no zip archive"
    ) as caught:
        fitted(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Two(), r"gives tuple in place of \[7, features\], or maps of such; save it so"),
        (Tokens(), r"gives \[7, 3, 36\] in place of"),
        (Infinite(), r"gives features that are not finite; take another file, mean or std"),
        (Other(), r"fails on pictures \[7, 3, 6, 6\]: RuntimeError: shape '\[-1, 77\]' is invalid .*; what it takes"),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, nn.Module) else "",
)
def test_networks_that_give_something_else(saved, module, message):
    with pytest.raises(DataError, match=f"^features torchscript: .*{type(module).__name__}.pt: {message}") as caught:
        fitted(saved(module))
    assert "\n" not in str(caught.value)
