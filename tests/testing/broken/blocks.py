"""Blocks and routers that break a law of theirs."""

from dataclasses import replace

import torch

from tests.testing.broken import Broken
from zoo.parts import Block, Group, to_map, to_tokens
from zoo.parts.blocks import DiTBlock
from zoo.parts.routers import Tread
from zoo.registry import part
from zoo.testing import laws
from zoo.testing.of_kind import block, router
from zoo.testing.place_laws import keeps_places


class OneByOne(DiTBlock):
    """DiT's block without a grouped form of its own: what derives from it changes ``forward_stage``."""

    def forward_stage(self, tokens, vectors, layout, *taken):
        (own,) = DiTBlock.forward(self, [Group(tokens, vectors, layout)])
        return own

    def forward(self, groups):
        return Block.forward(self, groups)


@part("block", "mixes_stages")
class MixesStages(DiTBlock):
    """What a wrong mask over packed tokens does: the samples of a stage see a little of another's."""

    def forward(self, groups):
        mean = torch.cat([group.tokens.flatten(0, 1) for group in groups]).mean(dim=0)
        return super().forward([group._replace(tokens=group.tokens + 0.01 * mean) for group in groups])


@part("block", "better_in_groups")
class BetterInGroups(OneByOne):
    """Its grouped form leaves out the last gate."""

    def forward(self, groups):
        ungated = [(*group.vectors[:-1], torch.ones_like(group.vectors[-1])) for group in groups]
        return super().forward(
            [Group(group.tokens, own, group.layout) for group, own in zip(groups, ungated, strict=True)]
        )


@part("block", "counts_on_two_axes")
class CountsOnTwoAxes(OneByOne):
    """Says that it takes any latents, and unpacks height and width."""

    refuses = frozenset({"subset"})

    def forward_stage(self, tokens, vectors, layout):
        height, width = layout.grid
        assert tokens.shape[1] == layout.m + height * width
        return super().forward_stage(tokens, vectors, layout)


class OnAMap(OneByOne):
    """What ``mixed`` makes of the image's tokens before the block."""

    def forward_stage(self, tokens, vectors, layout):
        front, image = tokens[:, : layout.m], tokens[:, layout.m :]
        return super().forward_stage(torch.cat([front, self.mixed(image, layout)], dim=1), vectors, layout)


@part("block", "convolves")
class Convolves(OnAMap):
    """Sees a map where a router has made gaps."""

    def mixed(self, image, layout):
        return image + to_tokens(to_map(image, layout.grid).cumsum(2))


@part("block", "folds")
class Folds(OnAMap):
    """As a reshape of its own does, which makes channels of the tokens that are not there."""

    def mixed(self, image, layout):
        return image.transpose(1, 2).reshape(len(image), -1, *layout.grid).flatten(2).transpose(1, 2)


@part("block", "places_of_the_first")
class PlacesOfTheFirst(OnAMap):
    """Takes the tokens of all samples to be where those of the first are."""

    def mixed(self, image, layout):
        places = torch.arange(image.shape[1]) if layout.index is None else layout.index[0]
        return image + places.to(image)[:, None]


@part("block", "whole_alone")
class WholeAlone(OnAMap):
    """Does less where a router is."""

    def mixed(self, image, layout):
        return image + image.mean(dim=1, keepdim=True) if layout.index is None else image


class Half(Tread):
    """Half of the image tokens run through the first block."""

    def __init__(self) -> None:
        super().__init__(first=0, stop=1)


@part("router", "always_half")
class AlwaysHalf(Half):
    """Leaves out tokens in sampling too."""

    def begin(self, tokens, layout, scores):
        if scores is None:
            scores = torch.linspace(0, 1, tokens.shape[1] - layout.m).to(tokens).expand(len(tokens), -1)
        return super().begin(tokens, layout, scores)


@part("router", "halves_all")
class HalvesAll(Half):
    """Takes the tokens in front for some of the image's."""

    def begin(self, tokens, layout, scores):
        went, own, route = super().begin(tokens, layout, scores)
        return torch.cat([went[:, layout.m :], went[:, : layout.m]], dim=1), own, route


@part("router", "brings_them_back_behind")
class BringsThemBackBehind(Half):
    """Of those that come back, where some were left out, the tokens in front are the last."""

    def end(self, tokens, m, route):
        found = super().end(tokens, m, route)
        return found if route is None else torch.cat([found[:, m:], found[:, :m]], dim=1)


@part("router", "leaves_the_angles")
class LeavesTheAngles(Half):
    def begin(self, tokens, layout, scores):
        went, own, route = super().begin(tokens, layout, scores)
        return went, replace(own, rotary=layout.rotary), route


@part("router", "in_order_of_scores")
class InOrderOfScores(Half):
    """Tells another order than that of the tokens."""

    def begin(self, tokens, layout, scores):
        went, own, route = super().begin(tokens, layout, scores)
        return went, own if own.index is None else replace(own, index=own.index.roll(1, 0)), route


@part("router", "tells_no_index")
class TellsNoIndex(Half):
    def begin(self, tokens, layout, scores):
        went, _, route = super().begin(tokens, layout, scores)
        return went, layout, route


BROKEN: list[Broken] = [
    (laws.runs_on_its_axes, CountsOnTwoAxes, "ValueError: .* values to unpack"),
    (block.groups_are_alone, MixesStages, "depends on the other groups of the call"),
    (block.groups_are_alone, BetterInGroups, "forward of a group is not forward_stage"),
    (block.runs_on_a_subset, Convolves, "tokens came for a grid of"),
    (block.runs_on_a_subset, Folds, "fails on some of the image's tokens"),
    (block.runs_on_a_subset, PlacesOfTheFirst, "depends on which tokens of the others go on"),
    (block.runs_on_a_subset, WholeAlone, "an index of all tokens changes what they give"),
    (router.keeps_all_without_scores, AlwaysHalf, "without scores, other tokens go on"),
    (router.keeps_those_in_front, HalvesAll, "tokens in front are left out, or changed"),
    (router.keeps_those_in_front, InOrderOfScores, "index is not that of the tokens"),
    (router.keeps_those_in_front, TellsNoIndex, "the layout tells no index"),
    (keeps_places, BringsThemBackBehind, "token 0 of [123] in front changes nothing where it belongs"),
    (router.angles_travel, LeavesTheAngles, "angles are those of other tokens"),
]
