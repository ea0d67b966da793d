"""Upsamplers, downsamplers and skips that break a law."""

import torch

from tests.testing.broken import Broken
from zoo.parts import to_map, to_tokens
from zoo.parts.downsamplers import LinearDownsampler
from zoo.parts.skips import KeptConcatSkip
from zoo.parts.upsamplers import LinearUpsampler
from zoo.registry import part
from zoo.testing import laws
from zoo.testing.of_kind import downsampler, upsampler


@part("upsampler", "coarse_grid")
class CoarseGrid(LinearUpsampler):
    def forward(self, tokens, m, grid):
        return super().forward(tokens, m, grid)[0], grid


@part("downsampler", "fine_grid")
class FineGrid(LinearDownsampler):
    def forward(self, tokens, m, grid):
        return super().forward(tokens, m, grid)[0], grid


@part("downsampler", "forgets_those_in_front")
class ForgetsThoseInFront(LinearDownsampler):
    def forward(self, tokens, m, grid):
        return super().forward(tokens[:, m:], 0, grid)


@part("downsampler", "convolves_first")
class ConvolvesFirst(LinearDownsampler):
    """Puts the tokens on a map, on which a router has left gaps."""

    def forward(self, tokens, m, grid):
        image = to_tokens(to_map(tokens[:, m:], grid).cumsum(-1))
        return super().forward(torch.cat([tokens[:, :m], image], dim=1), m, grid)


@part("downsampler", "sums_up")
class SumsUp(LinearDownsampler):
    def forward(self, tokens, m, grid):
        return super().forward(torch.cat([tokens[:, :m], tokens[:, m:].cumsum(1)], dim=1), m, grid)


@part("upsampler", "joins_what_is_not_there")
class JoinsWhatIsNotThere(LinearUpsampler):
    """Puts no tokens of the old width in front of the new."""

    def forward(self, tokens, m, grid):
        image, finer = super().forward(tokens[:, m:], 0, grid)
        return torch.cat([tokens[:, :m], image], dim=1), finer


@part("upsampler", "keeps_the_width")
class KeepsTheWidth(LinearUpsampler):
    """Made when widths did not change."""

    def make_projection(self, dim, next_dim):
        return super().make_projection(dim, dim)


@part("skip", "beside")
class Beside(KeptConcatSkip):
    """What was kept comes behind the tokens, and not into them."""

    def forward(self, image, other):
        return super().forward(image, other).repeat(1, 2, 1)


BROKEN: list[Broken] = [
    (upsampler.returns_its_grid, CoarseGrid, "returns the grid"),
    (downsampler.returns_its_grid, FineGrid, "returns the grid"),
    (downsampler.widens_a_subset, ConvolvesFirst, r"fails on some of the image's tokens \(.* tokens came for a grid"),
    (downsampler.widens_a_subset, SumsUp, "some of the image's tokens become others than they do among all"),
    (laws.changes_the_width, JoinsWhatIsNotThere, "Sizes of tensors must match except in dimension 1"),
    (laws.shape_contract, ForgetsThoseInFront, "returns shapes"),
    (laws.changes_the_width, KeepsTheWidth, "returns shapes"),
    (laws.shape_contract, Beside, "returns shapes"),
]
