"""Features of TorchScript files: small stand-ins for both contracts, and all that can be wrong with a file."""

import hashlib
import pickle
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from zoo.errors import DataError
from zoo.evaluate.base import FeatureSet, ImageSet
from zoo.evaluate.frechet import FID, SpatialFID
from zoo.evaluate.inception import InceptionFeatures
from zoo.testing import check_part

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
GENERATOR = np.random.default_rng(0)
RGB = GENERATOR.integers(0, 256, (7, 9, 5, 3), dtype=np.uint8)


class WithSwitches(nn.Module):
    """Takes the arguments of NVIDIA's file; the bias of its last layer is large, so that leaving it out shows."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)  # which would look at the whole batch, were it not for eval()
        self.output = nn.Linear(6, 4)
        nn.init.constant_(self.output.bias[0], 5.0)

    def forward(
        self, img: Tensor, return_features: bool = False, use_fp16: bool = False, no_output_bias: bool = False
    ) -> Tensor:
        x = self.norm(img.float() / 255)
        x = torch.cat([x.mean((2, 3)), x.square().mean((2, 3))], 1)
        if return_features:
            return x
        if no_output_bias:
            return (x @ self.output.weight.t()).softmax(1)
        return self.output(x).softmax(1)


class Found(NamedTuple):
    pooled: Tensor
    spatial: Tensor
    logits: Tensor


class WithSpatial(nn.Module):
    def forward(self, images: Tensor) -> Found:
        x = images.float() / 255
        return Found(x.mean((2, 3)), x[:, :, :2, :2], x.amax((2, 3)))


class WithoutSpatial(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = images.float() / 255
        return x.mean((2, 3)), torch.empty(0), x.amax((2, 3))


class OneTensor(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.float().mean((2, 3))


class TwoTensors(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images.float().mean((2, 3)), images.float().amax((2, 3))


class NotPooled(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return images.float(), images.float(), images.float().amax((2, 3))


class RowsLost(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = images.float()
        return x.mean((2, 3)), x[1:], x.amax((2, 3))


class Overflows(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = images.float()
        return x.mean((2, 3)), x.exp() * 1e30, x.amax((2, 3))


class WantsFloats(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = images.mean((2, 3))
        return x, x, x


class NoForward(nn.Module):
    @torch.jit.export
    def features(self, images: Tensor) -> Tensor:
        return images


@pytest.fixture
def saved(tmp_path):
    def save(module, **options):
        path = tmp_path / f"{type(module).__name__}.pt"
        torch.jit.save(torch.jit.script(module), path)
        return InceptionFeatures(file=str(path), **options)

    return save


def fitted(features, images=RGB):
    features.fit(ImageSet(images, None))
    return features.of(images, np.arange(len(images)))


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_a_file_with_switches(saved, batch):
    module = WithSwitches()
    found = fitted(saved(module, batch=batch))
    pictures = torch.tensor(RGB).movedim(-1, 1)
    module.eval()
    with torch.no_grad():
        pooled, probabilities = module(pictures, return_features=True), module(pictures, no_output_bias=True)
        biased = module(pictures)
    np.testing.assert_allclose(found.pooled, pooled.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.probabilities, probabilities.numpy(), rtol=1e-5, atol=1e-6)
    assert not np.allclose(found.probabilities, biased.numpy(), atol=0.1)
    assert found.spatial is None
    assert found.verdicts is None
    assert (found.labels == np.arange(7)).all()


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_a_file_that_returns_a_tuple(saved, batch):
    found = fitted(saved(WithSpatial(), batch=batch))
    scaled = RGB.astype(np.float32) / 255
    np.testing.assert_allclose(found.pooled, scaled.mean((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(found.spatial, scaled[:, :2, :2].transpose(0, 3, 1, 2).reshape(7, 12), rtol=1e-5)
    odds = np.exp(scaled.max((1, 2)))
    np.testing.assert_allclose(found.probabilities, odds / odds.sum(1, keepdims=True), rtol=1e-5)


def test_a_file_without_spatial_features(saved):
    found = fitted(saved(WithoutSpatial()))
    assert found.spatial is None
    np.testing.assert_allclose(found.pooled, RGB.mean((1, 2)) / 255, rtol=1e-5)


def test_grey_pictures_are_repeated_to_rgb(saved):
    features = saved(WithSpatial())
    grey = RGB[..., :1]
    one, other = fitted(features, grey), fitted(features, grey.repeat(3, axis=-1))
    assert (one.pooled == other.pooled).all()
    assert (one.spatial == other.spatial).all()


def test_a_module_that_was_saved_while_it_trained_looks_at_each_picture_alone(saved):
    features = saved(WithSwitches().train())
    np.testing.assert_allclose(fitted(features, RGB[2:3]).pooled, fitted(features).pooled[2:3], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "module", [WithSwitches(), WithSpatial(), WithoutSpatial()], ids=lambda each: type(each).__name__
)
def test_both_contracts_keep_the_laws(saved, module):
    file = str(saved(module).file)
    drawn = st.fixed_dictionaries({"file": st.just(file)}, optional={"batch": st.integers(1, 30)})
    check_part(InceptionFeatures, options=drawn)


@pytest.mark.parametrize(("module", "told"), [(WithSwitches(), False), (WithSpatial(), True)])
def test_sfid_can_be_told_of_spatial_features_alone(saved, module, told):
    found = fitted(saved(module))
    assert all(getattr(found, need) is not None for need in FID.needs)
    assert all(getattr(found, need) is not None for need in SpatialFID.needs) == told


def test_the_record_has_the_hash_of_the_file(saved):
    features = saved(WithSpatial())
    fitted(features)
    digest = hashlib.sha256(features.file.read_bytes()).hexdigest()
    assert features.record() == {"file": "WithSpatial.pt", "sha256": digest}


def test_the_network_runs_where_it_is_told_to(saved):
    features = saved(WithSpatial())
    features.to(torch.device("meta"))
    with pytest.raises(RuntimeError, match="meta"):  # which has no values that could be told
        fitted(features)
    features.to(torch.device("cpu"))
    assert len(fitted(features)) == len(RGB)


def test_nothing_is_read_before_it_is_needed(tmp_path):
    features = InceptionFeatures(file=str(tmp_path / "inception.pt"))
    for ask in (features.check, lambda: features.fit(ImageSet(RGB, None))):
        with pytest.raises(
            DataError, match=r"features inception: .*inception.pt: there is no such file; NVIDIA's is at"
        ):
            ask()


def test_without_a_file_it_is_said_how_to_get_one():
    features = InceptionFeatures()
    for ask in (features.check, lambda: features.fit(ImageSet(RGB, None))):
        with pytest.raises(DataError) as caught:
            ask()
        assert str(caught.value) == (
            "features inception: need a file; NVIDIA's is at"
            " https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt:"
            " download it, and set evaluate.features.file to inception-2015-12-05.pt"
        )


def test_a_path_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert InceptionFeatures(file="~/inception.pt").file == tmp_path / "inception.pt"


def test_a_folder_in_place_of_a_file(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read: Is a directory"):
        InceptionFeatures(file=str(tmp_path)).fit(ImageSet(RGB, None))


@pytest.mark.parametrize("kind", ["empty", "text", "state dict", "pickle", "cut off"])
def test_files_that_are_no_torchscript(saved, tmp_path, kind):
    path = tmp_path / "file.pt"
    if kind == "state dict":
        torch.save(WithSwitches().state_dict(), path)
    else:
        whole = saved(WithSwitches()).file.read_bytes()
        contents = {"empty": b"", "text": b"hello\n" * 99, "pickle": pickle.dumps({}), "cut off": whole[:-900]}
        path.write_bytes(contents[kind])
    with pytest.raises(DataError, match=r"is no TorchScript module, or one that is damaged: .*; give a file") as caught:
        InceptionFeatures(file=str(path)).fit(ImageSet(RGB, None))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (OneTensor(), r"returns Tensor, and should return three tensors \(pooled, spatial, logits\), or take return_"),
        (TwoTensors(), r"returns tuple, and should return three tensors"),
        (NotPooled(), r"gives pooled of shape \[7, 3, 9, 5\] in place of \[7, features\]; export it so"),
        (RowsLost(), r"gives spatial of shape \[6, 3, 9, 5\] in place of \[7, ...\]; export it so"),
        (Overflows(), r"gives spatial that are not finite for 8-bit pictures; take another file"),
        (WantsFloats(), r"fails on pictures of shape \[7, 3, 9, 5\], torch.uint8: RuntimeError: mean\(\)"),
        (NoForward(), r"is no TorchScript module, or one that is damaged: .*no attribute 'forward'"),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, nn.Module) else "",
)
def test_modules_that_give_something_else(saved, module, message):
    with pytest.raises(DataError, match=f"^features inception: .*{type(module).__name__}.pt: {message}") as caught:
        fitted(saved(module))
    assert "\n" not in str(caught.value)


def test_parts_of_a_set_are_joined_to_the_whole(saved):
    features = saved(WithSpatial())
    features.fit(ImageSet(RGB, None))
    joined = FeatureSet.joined([features.of(RGB[:4], None), features.of(RGB[4:], None)])
    np.testing.assert_allclose(joined.spatial, fitted(features).spatial, rtol=1e-6)
