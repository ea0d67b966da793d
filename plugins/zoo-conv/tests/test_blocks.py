"""Blocks, resamplers and the head against the papers' formulas, written for maps [b, C, H, W]."""

import pytest
import torch
import torch.nn.functional as F

from zoo.parts import Layout, LevelShape, Place
from zoo_conv.dic import DiCBlock, DiCHead, group_norm
from zoo_conv.dico import ChannelAttention, DiCoBlock
from zoo_conv.resamplers import ConvMerge, ConvShuffle, ConvUnshuffle

DIM, GRID = 24, (3, 5)
LAYOUT = Layout(m=0, grid=GRID, patch=(1, 1))


def random(module):
    """The same module with random weights in float64."""
    module = module.double()
    for each in module.parameters():
        torch.nn.init.normal_(each, std=0.3)
    return module


def a_map(channels=DIM, grid=GRID):
    return torch.randn(2, channels, *grid, dtype=torch.float64)


def tokens(x):
    return x.flatten(2).transpose(1, 2)


def vectors(count):
    return tuple(torch.randn(count, 2, DIM, dtype=torch.float64))


def normed(x):
    """LayerNorm over the channels of each pixel."""
    return (x - x.mean(1, True)) / (x.var(1, unbiased=False, keepdim=True) + 1e-6).sqrt()


def pointwise(linear, x):
    return F.conv2d(x, linear.weight[:, :, None, None], linear.bias)


def steered(x, shift, scale):
    return x * (1 + scale[:, :, None, None]) + shift[:, :, None, None]


def test_channel_attention_weighs_channels_by_their_means():
    part, x = random(ChannelAttention(DIM)), a_map()
    for sample in range(2):
        for channel in range(DIM):
            means = [x[sample, other].mean() for other in range(DIM)]
            score = sum(part.proj.weight[channel, other] * means[other] for other in range(DIM))
            weight = 1 / (1 + torch.exp(-score - part.proj.bias[channel]))
            own = part(tokens(x))[sample, :, channel]
            torch.testing.assert_close(own, weight * x[sample, channel].flatten())


def test_dico_block():
    block, x, (shift1, scale1, gate1, shift2, scale2, gate2) = random(DiCoBlock(DIM, 2, ratio=3)), a_map(), vectors(6)
    h = pointwise(block.conv1, steered(normed(x), shift1, scale1))
    h = F.gelu(F.conv2d(h, block.depthwise.weight, block.depthwise.bias, padding=1, groups=DIM))
    h = h * torch.sigmoid(pointwise(block.attention.proj, F.adaptive_avg_pool2d(h, 1)))
    y = x + gate1[:, :, None, None] * pointwise(block.conv2, h)
    h = pointwise(block.fc2, F.gelu(pointwise(block.fc1, steered(normed(y), shift2, scale2))))
    y = y + gate2[:, :, None, None] * h
    own = block.forward_stage(tokens(x), (shift1, scale1, gate1, shift2, scale2, gate2), LAYOUT)
    torch.testing.assert_close(own, tokens(y))


def grouped(norm, x):
    """GroupNorm over a group's channels and all pixels."""
    split = x.unflatten(1, (norm.num_groups, -1))
    var, mean = torch.var_mean(split, dim=(2, 3, 4), correction=0, keepdim=True)
    plain = ((split - mean) / (var + 1e-5).sqrt()).flatten(1, 2)
    return plain * norm.weight[:, None, None] + norm.bias[:, None, None]


def conv(module, x):
    return F.conv2d(x, module.weight, module.bias, padding=module.kernel_size[0] // 2)


def test_dic_block_with_a_skip_and_without():
    levels = tuple(LevelShape((patch, patch), 1, DIM, 1) for patch in (1, 2, 1))
    x, kept, (gate, scale, shift) = a_map(), a_map(), vectors(3)
    for number, taken in ((0, ()), (2, (kept,))):
        block = random(DiCBlock(DIM, (Place(number, 0, levels),), 2))
        wide = torch.cat([x, *taken], dim=1)
        h = conv(block.conv1, F.gelu(grouped(block.norm1, wide)))
        h = conv(block.conv2, F.gelu(steered(grouped(block.norm2, h), shift, scale)))
        y = gate[:, :, None, None] * h + (conv(block.residual, wide) if taken else x)
        own = block.forward_stage(tokens(x), (gate, scale, shift), LAYOUT, *map(tokens, taken))
        assert block.takes == ((0,) if taken else ())
        torch.testing.assert_close(own, tokens(y))


def test_groups_are_of_four_channels_and_at_most_32():
    assert [group_norm(width).num_groups for width in (3, 8, 96, 128, 192, 1536)] == [1, 2, 24, 32, 32, 32]


def test_dic_head():
    head, x, (shift, scale) = random(DiCHead(DIM, 4, (1, 1), learn_sigma=True)), a_map(), vectors(2)
    y = conv(head.proj, steered(normed(conv(head.conv, x)), shift, scale))
    torch.testing.assert_close(head(tokens(x), (shift, scale), GRID), y[:, :4])


def test_resamplers_are_pixel_shuffle_and_unshuffle():
    one, two, x = (1, 1), (2, 2), a_map(grid=(4, 6))
    down = random(ConvUnshuffle(DIM, 2 * DIM, one, two))
    own, grid = down(tokens(x), 0, (4, 6))
    torch.testing.assert_close((own, grid), (tokens(F.pixel_unshuffle(conv(down.conv, x), 2)), (2, 3)))
    up = random(ConvShuffle(DIM, DIM // 2, two, one))
    own, grid = up(tokens(x), 0, (4, 6))
    torch.testing.assert_close((own, grid), (tokens(F.pixel_shuffle(conv(up.conv, x), 2)), (8, 12)))
    merge, kept = random(ConvMerge(DIM, 16, 10, two, one)), a_map(10, (8, 12))
    both = torch.cat([F.pixel_shuffle(conv(merge.conv, x), 2), kept], dim=1)
    own, grid = merge(tokens(x), 0, (4, 6), tokens(kept))
    torch.testing.assert_close((own, grid), (tokens(pointwise(merge.merge, both)), (8, 12)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConvUnshuffle(8, 18, (1, 1), (2, 2)), "width 18 is not divisible by the 4 tokens that become one"),
        (lambda: ConvMerge(7, 8, 8, (2, 2), (1, 1)), "twice the width 7 is not divisible by the 4 tokens of each"),
        (lambda: group_norm(37), "width 37 is not divisible into 9 groups"),
    ],
)
def test_widths_that_do_not_divide_are_refused(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()
