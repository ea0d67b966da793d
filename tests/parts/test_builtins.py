"""What single built-in parts compute, against PyTorch's own operators or by hand; the laws are in tests/testing."""

import math

import pytest
import torch
import torch.nn.functional as F
from jaxtyping import TypeCheckError

from zoo.parts.blocks import DiTBlock
from zoo.parts.class_conditioners import ClassTokenConditioner, EmbeddingConditioner
from zoo.parts.heads import LinearHead
from zoo.parts.patch_embedders import LinearPatchEmbedder
from zoo.parts.positions import SinCosPosition
from zoo.parts.stage_embedders import LearnedStageEmbedder
from zoo.parts.time_embedders import FNOTimeEmbedder, FourierTimeEmbedder, SinusoidalTimeEmbedder
from zoo.parts.upsamplers import (
    ConvTransposeUpsampler,
    LinearConvUpsampler,
    LinearLinearUpsampler,
    LinearUpsampler,
)
from zoo.testing.cases import randomise


def random(part, seed=0):
    part = part.double()
    randomise(part, seed)
    return part


class TestPatchEmbedder:
    @pytest.mark.parametrize("patch", [(2, 2), (2, 4), (3, 1)])
    def test_is_a_strided_convolution(self, patch):
        part = random(LinearPatchEmbedder(16, 3, patch))
        latents = torch.randn(2, 3, 12, 8, dtype=torch.float64)
        kernel = part.proj.weight.view(16, 3, *patch)
        expected = F.conv2d(latents, kernel, part.proj.bias, stride=patch).flatten(2).transpose(1, 2)
        assert torch.allclose(part(latents), expected, atol=1e-12)


class TestSinCos:
    def test_values_by_hand(self):
        table = SinCosPosition(8, (2, 3), (1.0, 1.0))().add
        omega = [1.0, 10_000.0**-0.5]
        row, column = 1, 2
        expected = [f(x * w) for x in (column, row) for f in (math.sin, math.cos) for w in omega]
        assert torch.allclose(table[row * 3 + column], torch.tensor(expected))

    def test_finest_coordinates_are_every_second_of_the_fine_table(self):
        fine = SinCosPosition(16, (4, 8), (1.0, 1.0), coordinates="finest")().add.view(4, 8, 16)
        wide = SinCosPosition(16, (4, 4), (1.0, 2.0), coordinates="finest")().add.view(4, 4, 16)
        square = SinCosPosition(16, (2, 4), (2.0, 2.0), coordinates="finest")().add.view(2, 4, 16)
        assert torch.equal(wide, fine[:, ::2])
        assert torch.equal(square, fine[::2, ::2])

    def test_own_coordinates_count_the_own_grid(self):
        coarse = SinCosPosition(16, (2, 2), (2.0, 2.0))().add
        fine = SinCosPosition(16, (2, 2), (1.0, 1.0))().add
        assert torch.equal(coarse, fine)

    def test_is_stored_and_not_trained(self):
        part = SinCosPosition(8, (2, 2), (1.0, 1.0))
        assert set(part.state_dict()) == {"table"}
        assert not list(part.parameters())


class TestTimeEmbedders:
    def test_the_data_clock_runs_the_other_way(self):
        noise, data = (random(SinusoidalTimeEmbedder(16, clock=clock)) for clock in ("noise", "data"))
        t = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
        assert torch.allclose(data(t), noise(1 - t))

    def test_sinusoids_by_hand(self):
        part = random(SinusoidalTimeEmbedder(4, layers=1))
        angles = [0.7 * 10_000 ** (-i / 128) for i in range(128)]
        features = torch.tensor([*map(math.cos, angles), *map(math.sin, angles)], dtype=torch.float64)
        expected = part.layers[0](features)
        assert torch.allclose(part(torch.tensor([0.7], dtype=torch.float64))[0], expected)

    @pytest.mark.parametrize("layers", [1, 2, 3])
    def test_layers(self, layers):
        assert len(SinusoidalTimeEmbedder(8, layers=layers).layers) == layers

    def test_noise_levels_keep_their_precision_in_bfloat16_weights(self):
        part = SinusoidalTimeEmbedder(64)
        randomise(part, 0, std=1.0)
        part = part.bfloat16()
        near = part(torch.tensor([0.999, 0.9985]))  # one number in bfloat16
        assert not torch.equal(near[0], near[1])

    def test_fno_against_its_definition(self):
        part = random(FNOTimeEmbedder(8, blocks=2, modes=3, width=4, grid=6))
        t = 0.3
        x = part.lift((torch.linspace(-1, 1, 6, dtype=torch.float64) + t).unsqueeze(1)).T
        for index, block in enumerate(part.blocks):
            x = F.gelu(x) if index else x
            spectrum = torch.fft.rfft(x)
            mixed = torch.zeros(4, 4, dtype=torch.complex128)
            weight = torch.complex(block.real, block.imag)
            for mode in range(3):
                mixed[:, mode] = weight[:, :, mode].T @ spectrum[:, mode]
            x = torch.fft.irfft(mixed, n=6) + block.pointwise(x.T).T
        expected = part.proj(x.mean(dim=1))
        assert torch.allclose(part(torch.tensor([t], dtype=torch.float64))[0], expected)

    def test_fno_starts_its_pointwise_convolutions_as_pytorch_does(self):
        torch.manual_seed(0)
        for block in FNOTimeEmbedder(8, width=64, blocks=2).blocks:
            for drawn in (block.pointwise.weight.detach(), block.pointwise.bias.detach()):  # within 1 / sqrt(64)
                assert 0.11 < drawn.abs().max() <= 0.125
                assert drawn.std() == pytest.approx(0.125 / 3**0.5, rel=0.25)

    def test_fno_runs_wide_under_autocast(self):
        part = FNOTimeEmbedder(8)
        t = torch.tensor([0.25, 0.75])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = part(t)
        assert torch.equal(inside, part(t))

    def test_fno_says_which_parameters_cannot_learn(self):
        part = random(FNOTimeEmbedder(8, blocks=3))
        part(torch.rand(4, dtype=torch.float64)).sum().backward()
        assert part.without_gradient() == {"blocks.2.imag"}
        assert part.blocks[2].imag.grad.abs().max() < 1e-12 < part.blocks[1].imag.grad.abs().max()
        assert part.blocks[1].imag.grad[:, :, 0].abs().max() < 1e-12  # frequency 0 has no imaginary part

    def test_fno_has_no_more_modes_than_frequencies(self):
        FNOTimeEmbedder(8, modes=17)
        with pytest.raises(ValueError, match="modes: 18 is more than the 17 frequencies"):
            FNOTimeEmbedder(8, modes=18)


class TestClassConditioners:
    def test_tokens_are_rows_of_the_table(self):
        part = ClassTokenConditioner(8, 3, tokens=2)
        tokens = part(torch.tensor([1])).tokens
        assert torch.equal(tokens[0].flatten(), part.embedding.weight[1])

    @pytest.mark.parametrize("std", [0.0, 0.02, 1.0])
    def test_std(self, std):
        weight = EmbeddingConditioner(64, 100, std=std).embedding.weight
        assert weight.std().item() == pytest.approx(std, rel=0.05)


class TestUpsamplers:
    def test_conv_transpose_is_one(self):
        part = random(ConvTransposeUpsampler(8, 8, (4, 2), (2, 2)))
        tokens = torch.randn(2, 3 + 6, 8, dtype=torch.float64)
        fine, grid = part(tokens, 3, (2, 3))
        kernel = part.proj.linear.weight.view(8, 2, 1, 8).permute(3, 0, 1, 2)
        image = tokens[:, 3:].transpose(1, 2).unflatten(2, (2, 3))
        expected = F.conv_transpose2d(image, kernel, part.proj.bias, stride=(2, 1)).flatten(2).transpose(1, 2)
        assert grid == (4, 3)
        assert torch.allclose(fine[:, 3:], expected, atol=1e-12)
        assert torch.equal(fine[:, :3], tokens[:, :3])

    def test_linear_can_repeat_coarse_tokens(self):
        part = LinearUpsampler(4, 4, (2, 4), (1, 2)).double()
        with torch.no_grad():
            part.proj.weight.copy_(torch.eye(4, dtype=torch.float64).repeat_interleave(4, dim=0))
        tokens = torch.randn(1, 2, 4, dtype=torch.float64)
        fine, grid = part(tokens, 0, (1, 2))
        assert grid == (2, 4)
        assert torch.equal(fine.view(2, 4, 4), tokens.view(1, 2, 4).repeat_interleave(2, 0).repeat_interleave(2, 1))

    def test_class_tokens_pass_by_linear_conv_and_not_linear_linear(self):
        tokens = torch.randn(1, 3 + 2, 8, dtype=torch.float64)
        for kind, passes in ((LinearConvUpsampler, True), (LinearLinearUpsampler, False)):
            fine, _ = random(kind(8, 8, (2, 2), (1, 1)))(tokens, 3, (1, 2))
            assert torch.equal(fine[:, :3], tokens[:, :3]) is passes


class TestHead:
    def test_learn_sigma_drops_the_second_half_of_the_channels(self):
        part = random(LinearHead(8, 3, (2, 1), learn_sigma=True))
        tokens, vectors = torch.randn(1, 4, 8, dtype=torch.float64), (torch.zeros(1, 8, dtype=torch.float64),) * 2
        latents = part(tokens, vectors, (2, 2))
        full = part.proj(F.layer_norm(tokens, (8,), eps=1e-6)).view(
            2, 2, 2, 6
        )  # row, column, row in the patch, channel
        assert torch.allclose(latents, full[..., :3].permute(3, 0, 2, 1).reshape(1, 3, 4, 2))

    def test_starts_at_zero(self):
        assert not LinearHead(8, 3, (2, 2)).proj.weight.any()


def test_a_stage_has_its_own_vector():
    part = LearnedStageEmbedder(8, 3)
    assert torch.equal(part(2), part.embedding.weight[2])


def test_a_width_that_the_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="dim 10 is not divisible by heads 3"):
        DiTBlock(10, 3)


@pytest.mark.parametrize(
    ("part", "wrong"),
    [
        (SinusoidalTimeEmbedder(8), torch.zeros(2, 1)),
        (SinusoidalTimeEmbedder(8), torch.zeros(2, dtype=torch.long)),
        (EmbeddingConditioner(8, 3), torch.zeros(2, 1, dtype=torch.long)),
        (EmbeddingConditioner(8, 3), torch.zeros(2)),
        (LinearPatchEmbedder(8, 3, (2, 2)), torch.zeros(3, 4, 4, 4, dtype=torch.long)),
    ],
)
def test_shapes_and_types_are_checked_in_these_tests(part, wrong):
    with pytest.raises(TypeCheckError):
        part(wrong)


def test_fourier_features_are_as_many_as_the_width_with_the_cosines_first():
    t = torch.tensor([0.25, 1.0], dtype=torch.float64)
    angles = t.unsqueeze(1) * 1000 * 10_000.0 ** -(torch.arange(3, dtype=torch.float64) / 3)
    expected = torch.cat([angles.cos(), angles.sin()], dim=1)
    torch.testing.assert_close(FourierTimeEmbedder(6, scale=1000.0)(t), expected)
    with pytest.raises(ValueError, match="dim 5 is odd"):
        FourierTimeEmbedder(5)
