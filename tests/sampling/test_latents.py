"""Sampling in one call: latents of the labels asked for, from the backbone alone."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import zoo
from tests.train.small import ALONE, small, train
from zoo.errors import PluginError
from zoo.flow import sample as solve
from zoo.flow.guidance import ClassifierFreeGuidance
from zoo.flow.solvers import HeunSolver
from zoo.randomness import Purpose
from zoo.runs.weights import open_weights
from zoo.sampling.images import SampleRun, draw_samples
from zoo.sampling.latents import standard_normal
from zoo.sampling.sampler import prepare_sampler
from zoo.weights import filled


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "small", "train.learning_rate=0.1").path


@pytest.fixture
def backbone(run, registry):
    return filled(open_weights(run, registry), torch.device("cpu"))


def test_there_is_a_latent_for_every_label(backbone):
    latents = zoo.sample(backbone, labels=[3, 10, 3], steps=2)
    assert latents.shape == (3, 1, 8, 8)
    assert not latents.requires_grad
    assert not torch.equal(latents[0], latents[2])
    assert torch.equal(latents, zoo.sample(backbone, labels=torch.tensor([3, 10, 3]), steps=2))


def test_labels_and_seed_matter(backbone):
    one = zoo.sample(backbone, labels=[3, 3], steps=2)
    assert not torch.equal(one, zoo.sample(backbone, labels=[3, 4], steps=2))
    assert not torch.equal(one, zoo.sample(backbone, labels=[3, 3], steps=2, seed=1))


def test_a_latent_does_not_depend_on_those_beside_it(backbone):
    many = zoo.sample(backbone, labels=[1, 2, 3, 4], steps=3)
    torch.testing.assert_close(zoo.sample(backbone, labels=[1, 2], steps=3), many[:2])


def test_without_labels_there_are_all_classes_in_turn(backbone):
    assert torch.equal(zoo.sample(backbone, count=3, steps=2), zoo.sample(backbone, labels=[0, 1, 2], steps=2))
    assert len(zoo.sample(backbone, steps=1)) == 1


def test_solver_and_guidance_are_those_asked_for(backbone, registry):
    noise = standard_normal((1, 8, 8), 0, Purpose.SAMPLE, 0, range(2))
    guidance = ClassifierFreeGuidance(2, backbone.latent, scale=(1.5, 3.0), interval=(0.1, 0.9))
    wanted = solve(backbone, HeunSolver(), noise, torch.tensor([1, 2]), steps=3, draw=torch.zeros, guidance=guidance)
    options = {"labels": [1, 2], "steps": 3, "guidance": {"scale": [1.5, 3.0], "interval": (0.1, 0.9)}}
    assert torch.equal(zoo.sample(backbone, solver="heun", **options), wanted)
    assert torch.equal(zoo.sample(backbone, solver=HeunSolver(), **options), wanted)
    assert not torch.equal(zoo.sample(backbone, **options), wanted)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_images_are_those_of_zoo_sample(run, backbone, tmp_path, registry, precision):
    recipe = small(f"sample.precision={precision}", "train.precision=bfloat16", registry=registry)
    draw_samples(SampleRun(run, tmp_path / "out", "ema", (), 6, 0, False), recipe, registry, ALONE)
    sampler = prepare_sampler(recipe, 0)
    latents = zoo.sample(backbone, count=6, steps=recipe.sample.steps, precision=precision)
    drawn = sampler.images(backbone, torch.arange(6), 0, 6)
    ours = sampler.dataset.to_images(sampler.normalize.invert(latents))
    assert all((picture.numpy() == image).all() for picture, image in zip(ours, drawn, strict=True))


def test_an_unconditional_backbone_takes_no_labels(registry):
    backbone = zoo.build(small("backbone.class_conditioner=none", "backbone.num_classes=0", registry=registry))
    assert zoo.sample(backbone, count=2, steps=1).shape == (2, 1, 8, 8)


def test_the_dtype_is_the_backbones(backbone):
    assert zoo.sample(backbone.double(), labels=[1], steps=1).dtype == torch.float64


@pytest.mark.parametrize("size", [(6,), (2, 3, 4)])
def test_noise_has_the_axes_of_the_latents(size):
    noise = standard_normal((2, *size), 0, Purpose.SAMPLE, 0, (5, 3))
    assert noise.shape == (2, 2, *size)
    assert torch.equal(noise[1:], standard_normal((2, *size), 0, Purpose.SAMPLE, 0, (3,)))


def test_narrow_weights_do_not_add_up_their_rounding(backbone):
    wide = zoo.sample(backbone, count=4, steps=200)
    narrow = zoo.sample(backbone.bfloat16(), count=4, steps=200)
    assert narrow.dtype == torch.float32
    assert (wide - narrow).abs().mean() < 0.02 * wide.abs().mean()


class Casts(TorchDispatchMode):
    """Counts weights that are turned to another type."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._to_copy.default and isinstance(args[0], torch.nn.Parameter)
        return func(*args, **(kwargs or {}))


def test_weights_are_cast_once_for_all_updates(backbone):
    def casts(steps):
        with Casts() as found:
            zoo.sample(backbone, labels=[1, 2], steps=steps, precision="bfloat16")
        return found.count

    assert 0 < casts(2) == casts(10) <= len(list(backbone.parameters()))
    backbone.requires_grad_(False)  # of such weights autocast keeps none
    assert casts(10) > 2 * casts(2)


def test_what_cannot_be_drawn(backbone):
    with pytest.raises(PluginError, match="there is no solver 'oiler'"):
        zoo.sample(backbone, solver="oiler")
    with pytest.raises(ValueError, match="labels"):
        zoo.sample(backbone, labels=[11])
    for options in ({"labels": [1], "count": 2}, {"count": 0}):
        with pytest.raises(ValueError, match=r"count: \d: give 1 or more, and only where labels are left out"):
            zoo.sample(backbone, **options)
    for labels in ([], 3):
        with pytest.raises(ValueError, match=r"labels: give one for each latent, such as \[3, 5\]"):
            zoo.sample(backbone, labels=labels)
    with pytest.raises(ValueError, match="steps: must be at least 1"):
        zoo.sample(backbone, labels=[1], steps=0)
    with pytest.raises(ValueError, match="precision: give float32 or bfloat16, not 'half'"):
        zoo.sample(backbone, labels=[1], precision="half")
    with pytest.raises(ValueError, match="3 scales for 2 stages"):
        zoo.sample(backbone, labels=[1], guidance=[1.0, 2.0, 3.0])
