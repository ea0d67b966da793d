"""Image i is a function of the seed and of i: of no count, no batch, no label but its own."""

import numpy as np
import pytest
import torch

from tests.train.small import small
from zoo.assembly import build
from zoo.errors import NumericError, ZooError
from zoo.sampling.sampler import prepare_sampler
from zoo.testing.cases import randomise

UNCONDITIONAL = ("backbone.num_classes=0", "backbone.class_conditioner=none")


def in_turn(count):
    return torch.arange(count) % 10


def drawn(registry, count, *overrides, seed=0, labels=None, extra=0, std=0.2):
    """The first ``count`` images; ``extra`` says how many labels there are beyond."""
    recipe = small(*overrides, registry=registry)
    backbone = build(recipe, registry=registry)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        for parameter in backbone.parameters():
            parameter.normal_(std=std)
    sampler = prepare_sampler(recipe, seed)
    given = in_turn(count + extra) if labels is None else labels
    batches = range(-(-count // sampler.batch))
    return [image for batch in batches for image in sampler.images(backbone, given, batch, count)]


def assert_equal(one, other):
    assert len(one) == len(other)
    for index, (a, b) in enumerate(zip(one, other, strict=True)):
        assert (a == b).all(), f"image {index} differs"


def test_images_are_8_bit_pictures(registry):
    images = drawn(registry, 3)
    assert [(image.shape, image.dtype) for image in images] == [((8, 8, 1), np.uint8)] * 3
    assert len({image.tobytes() for image in images}) == 3


@pytest.mark.parametrize("solver", ["euler", "heun", "euler_maruyama"])
@pytest.mark.parametrize("guidance", ["1.0", "[3.0, 1.0]"])
def test_the_count_changes_no_image(solver, guidance, registry):
    options = f"sample.solver={solver}", f"sample.guidance={guidance}"
    many = drawn(registry, 14, *options)  # two whole batches of 6, and 2
    assert len(many) == 14
    for count in (1, 5, 6, 7, 12, 13):
        assert_equal(drawn(registry, count, *options), many[:count])


def test_the_count_changes_no_image_of_a_solver_that_looks_at_the_whole_batch(registry):
    """Which is so only if the rest of the batch has the labels that it would have."""
    options = ("sample.solver={type: dopri5, rtol: 0.01, atol: 0.01}",)
    many = drawn(registry, 6, *options, std=0.3)
    assert_equal(drawn(registry, 2, *options, std=0.3, extra=4), many[:2])
    with pytest.raises(AssertionError, match=r"image . differs"):
        assert_equal(drawn(registry, 2, *options, std=0.3), many[:2])


def test_each_image_is_that_of_its_own_label(registry):
    labels = torch.arange(12) % 10
    other = labels.clone()
    other[3] = 7
    one, two = drawn(registry, 12, labels=labels), drawn(registry, 12, labels=other)
    assert [index for index in range(12) if (one[index] != two[index]).any()] == [3]


def test_the_seed_changes_every_image(registry):
    one, two = drawn(registry, 6), drawn(registry, 6, seed=1)
    assert all((a != b).any() for a, b in zip(one, two, strict=True))


def test_a_solver_with_noise_draws_it_by_image_too(registry):
    one = drawn(registry, 6, "sample.solver=euler_maruyama")
    assert_equal(one, drawn(registry, 6, "sample.solver=euler_maruyama"))
    assert all((a != b).any() for a, b in zip(one, drawn(registry, 6), strict=True))


def test_the_global_random_state_is_not_asked(registry):
    def after(seed):
        recipe = small("sample.solver=euler_maruyama", registry=registry)
        backbone = build(recipe, registry=registry)
        randomise(backbone, 0, std=0.2)
        torch.manual_seed(seed)
        return prepare_sampler(recipe, 0).images(backbone, in_turn(6), 0)

    assert_equal(after(1), after(2))


def test_every_stage_has_its_own_guidance(registry):
    sampler = prepare_sampler(small("sample.guidance=[3.0, 1.5]", registry=registry), 0)
    assert sampler.guidance.scales == (3.0, 1.5)
    assert prepare_sampler(small("sample.guidance=2", registry=registry), 0).guidance.scales == (2.0, 2.0)
    images = [drawn(registry, 6, f"sample.guidance={scale}") for scale in ("1", "[3, 1]", "[1, 3]", "[3, 3]")]
    assert len({b"".join(image.tobytes() for image in each) for each in images}) == 4


def test_the_normalisation_is_undone(registry):
    plain = drawn(registry, 6)
    black = drawn(registry, 6, "data.normalize={type: scale, factor: 1.0, shift: -100.0}")
    assert all((image == 0).all() for image in black)
    assert any(image.any() for image in plain)


def test_an_unconditional_backbone_draws_too(registry):
    images = drawn(registry, 7, *UNCONDITIONAL)
    assert len({image.tobytes() for image in images}) == 7


def test_an_image_that_is_not_finite_is_told(registry):
    recipe = small("sample.guidance=1.0e+38", registry=registry)
    backbone = build(recipe, registry=registry)
    randomise(backbone, 0, std=1.0)
    sampler = prepare_sampler(recipe, 0)
    with pytest.raises(NumericError, match="image 6 is not finite; take a lower guidance") as caught:
        sampler.images(backbone, in_turn(12), 1)
    assert caught.value.exit_code == 5


def test_the_precision_is_samplings_own_whatever_training_had(registry):
    plain = drawn(registry, 6, std=0.5)
    assert_equal(drawn(registry, 6, "train.precision=bfloat16", std=0.5), plain)
    narrow = drawn(registry, 6, "sample.precision=bfloat16", std=0.5)
    assert any((a != b).any() for a, b in zip(narrow, plain, strict=True))
    assert_equal(drawn(registry, 6, "sample.precision=bfloat16", "train.precision=bfloat16", std=0.5), narrow)


@pytest.mark.slow  # torch.compile takes seconds
def test_compiled_blocks_draw_the_same(registry):
    own = ("sample.guidance=3.0", "train.compile_backend=aot_eager")
    expected = drawn(registry, 6, *own)
    for one, other in zip(drawn(registry, 6, *own, "sample.compile=true"), expected, strict=True):
        np.testing.assert_allclose(one.astype(int), other.astype(int), atol=1)
    with pytest.raises(ZooError, match=r"train\.compile_backend: there is no 'none_such'; there are: .*inductor"):
        drawn(registry, 6, "sample.compile=true", "train.compile_backend=none_such")
