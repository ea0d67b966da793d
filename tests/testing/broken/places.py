"""Parts that put tokens elsewhere, or leave some out; and tables for other grids than come."""

import torch
from torch import nn

from tests.testing.broken import Broken
from tests.testing.broken.blocks import OneByOne
from zoo.parts import MLP, Grid, PatchEmbedder, Position, PositionEmbedding, to_map, to_tokens
from zoo.parts.downsamplers import LinearDownsampler
from zoo.parts.heads import LinearHead
from zoo.parts.patch_embedders import LinearPatchEmbedder
from zoo.parts.skips import KeptConcatSkip
from zoo.parts.upsamplers import LinearLinearUpsampler, LinearUpsampler
from zoo.registry import part
from zoo.testing.place_laws import keeps_places, knows_grids_apart, takes_many_tokens


def by_columns(tokens, m, grid):
    """Image tokens in the order of columns, the first axis running fastest."""
    axes = range(1 + len(grid), 1, -1)
    turned = to_tokens(to_map(tokens[:, m:], grid).permute(0, 1, *axes))
    return torch.cat([tokens[:, :m], turned], dim=1)


@part("patch_embedder", "by_columns")
class EmbedderByColumns(LinearPatchEmbedder):
    def forward(self, latents):
        grid = tuple(side // pixels for side, pixels in zip(latents.shape[2:], self.patch, strict=True))
        return by_columns(super().forward(latents), 0, grid)


@part("patch_embedder", "stem_by_columns")
class StemByColumns(PatchEmbedder):
    """Each token sees those beside it too."""

    axes = frozenset({2})

    def __init__(self, dim: int, channels: int, patch: Grid) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Conv2d(channels, dim, patch, patch)
        self.mix = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, latents):
        return self.mix(self.proj(latents)).transpose(2, 3).flatten(2).transpose(1, 2)


@part("patch_embedder", "without_the_last_row")
class WithoutTheLastRow(LinearPatchEmbedder):
    """As a convolution without padding leaves it out."""

    def forward(self, latents):
        return super().forward(torch.cat([latents[:, :, :-1], torch.zeros_like(latents[:, :, -1:])], dim=2))


@part("head", "by_columns")
class HeadByColumns(LinearHead):
    def forward(self, tokens, vectors, grid):
        return super().forward(by_columns(tokens, 0, grid), vectors, grid)


@part("head", "without_a_corner")
class WithoutACorner(LinearHead):
    def forward(self, tokens, vectors, grid):
        return super().forward(torch.cat([tokens[:, :-1], torch.zeros_like(tokens[:, -1:])], dim=1), vectors, grid)


@part("upsampler", "by_columns")
class UpByColumns(LinearUpsampler):
    def forward(self, tokens, m, grid, kept=None):
        found, finer = super().forward(tokens, m, grid, kept)
        return by_columns(found, m, finer), finer


@part("upsampler", "puts_them_behind")
class PutsThemBehind(LinearLinearUpsampler):
    """Tokens in front come out behind the image's."""

    def forward(self, tokens, m, grid, kept=None):
        found, finer = super().forward(tokens, m, grid, kept)
        return torch.cat([found[:, m:], found[:, :m]], dim=1), finer


@part("upsampler", "front_upside_down")
class FrontUpsideDown(LinearUpsampler):
    def forward(self, tokens, m, grid, kept=None):
        found, finer = super().forward(tokens, m, grid, kept)
        return torch.cat([found[:, :m].flip(1), found[:, m:]], dim=1), finer


@part("downsampler", "by_columns")
class DownByColumns(LinearDownsampler):
    def forward(self, tokens, m, grid):
        return super().forward(by_columns(tokens, m, grid), m, grid)


@part("downsampler", "first_of_each")
class FirstOfEach(LinearDownsampler):
    """What a stride without a window leaves out."""

    def forward(self, tokens, m, grid):
        kept = torch.zeros_like(to_map(tokens[:, m:], grid))
        kept[(..., *(slice(None, None, each) for each in self.factor))] = 1.0
        return super().forward(torch.cat([tokens[:, :m], tokens[:, m:] * to_tokens(kept)], dim=1), m, grid)


@part("skip", "other_by_columns")
class OtherByColumns(KeptConcatSkip):
    """What was kept comes back to other tokens; of the grid it knows the number of tokens alone."""

    def forward(self, image, other):
        return super().forward(image, other.flip(1))


@part("block", "forgets_the_front")
class ForgetsTheFront(OneByOne):
    def forward_stage(self, tokens, vectors, layout, *taken):
        found = super().forward_stage(tokens, vectors, layout, *taken)
        return torch.cat([torch.zeros_like(found[:, : layout.m]), found[:, layout.m :]], dim=1)


@part("position", "of_256")
class Of256(PositionEmbedding):
    """A table of a fixed length."""

    def __init__(self, dim: int, grid: Grid) -> None:
        super().__init__()
        self.count = int(torch.tensor(grid, device="cpu").prod())
        self.table = nn.Parameter(torch.empty(256, dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.table)

    def forward(self):
        return Position(add=self.table[: self.count])


@part("mlp", "keeps_rows_by_count")
class KeepsRowsByCount(MLP):
    """The row of each token, worked out once for each number of tokens."""

    per_token = False

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.rows: dict[int, list[float]] = {}
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens, layout):
        count = tokens.shape[1] - layout.m
        if count not in self.rows:
            self.rows[count] = [float(place // layout.grid[-1]) for place in range(count)]
        rows = torch.tensor([0.0] * layout.m + self.rows[count]).to(tokens)
        return self.proj(tokens) + rows[:, None]


BROKEN: list[Broken] = [
    (
        keeps_places,
        EmbedderByColumns,
        r"the pixel at \(.*\) of .* changes nothing where it belongs: it changes others, the first at",
    ),
    (keeps_places, StemByColumns, r"the pixel at .* changes nothing where it belongs: it changes others, the first at"),
    (keeps_places, WithoutTheLastRow, "the pixel at .* changes nothing where it belongs: it changes nothing at all"),
    (keeps_places, HeadByColumns, "the token at .* changes nothing where it belongs"),
    (keeps_places, WithoutACorner, "the token at .* changes nothing where it belongs: it changes nothing at all"),
    (keeps_places, UpByColumns, "the token at .* changes nothing where it belongs"),
    (
        keeps_places,
        PutsThemBehind,
        "token 0 of [123] in front changes nothing where it belongs: it changes others, the first at",
    ),
    (keeps_places, FrontUpsideDown, "token 0 of [23] in front changes nothing where it belongs"),
    (keeps_places, DownByColumns, "the token at .* changes nothing where it belongs"),
    (keeps_places, FirstOfEach, "the token at .* changes nothing where it belongs: it changes nothing at all"),
    (keeps_places, OtherByColumns, "what joins the token at .* changes nothing where it belongs"),
    (keeps_places, ForgetsTheFront, "token 0 of [123] in front changes nothing where it belongs"),
    (takes_many_tokens, Of256, r"on a grid of 7x41 it returns shapes .*\(256, "),
    (knows_grids_apart, KeepsRowsByCount, r"on (4x4|2x4x2) it gives something else after another grid of as many"),
]
