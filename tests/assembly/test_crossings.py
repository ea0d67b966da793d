"""Parts that are each right and do not go together, at the places where they stand."""

import pytest
import torch
from torch import nn

from tests.shapes import backbone_of, level, problems_of, run
from tests.strangers.cross import PARTS as CROSS
from tests.strangers.maskdit import PARTS as MASKDIT
from zoo.parts import Block, Downsampler, Head, TimeEmbedder
from zoo.parts.heads import LinearHead
from zoo.parts.positions import NoPosition
from zoo.parts.routers import Tread
from zoo.parts.skips import LinearSkip
from zoo.registry import part

FREE = {"head": {"type": "linear", "modulated": False}}
WIDER = [level(4), level(4, dim=48)]
ROUTE = {"router": {"type": "tread", "first": 1, "stop": 3}}
NO_TIME = (
    "backbone.time_embedder: nothing is steered by the noise level: no block and no head takes vectors of the"
    " modulation, and it puts no tokens in front; take a modulation that does, such as in_context, or a head that takes"
    " vectors"
)


@part("block", "plain")
class Plain(Block):
    """Does nothing, with no vectors; what it refuses is an option."""

    modulation_vectors = 0

    def __init__(self, *, refuses: str | None = None) -> None:
        super().__init__()
        self.refuses = frozenset({refuses} - {None})

    def forward_stage(self, tokens, vectors, layout):
        return tokens


@part("time_embedder", "weightless")
class Weightless(TimeEmbedder):
    """Zeros: of a backbone that is blind to noise."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, t):
        return t.new_zeros(len(t), self.dim)


@part("downsampler", "picky")
class PickyDown(Downsampler):
    """To another width; what it refuses is an option."""

    def __init__(self, dim: int, next_dim: int, *, refuses: str) -> None:
        super().__init__()
        self.refuses = frozenset({refuses})
        self.proj = nn.Linear(dim, next_dim)

    def forward(self, tokens, m, grid):
        return self.proj(tokens), grid


@part("skip", "picky")
class PickySkip(LinearSkip):
    """Refuses what never comes to a skip."""

    refuses = frozenset({"prefix", "subset"})


@part("position", "picky")
class PickyPosition(NoPosition):
    """Refuses what its level may have, and what never comes to a position."""

    refuses = frozenset({"prefix", "subset"})


@part("head", "picky")
class PickyHead(LinearHead):
    """Refuses what never comes to a head."""

    refuses = frozenset({"prefix", "subset", "rotary", "context"})


@part("router", "context")
class ContextRouter(Tread):
    """Looks at the context."""

    uses = frozenset({"context"})


@part("head", "by_patch")
class ByPatch(Head):
    """Takes vectors at one patch alone."""

    def __init__(self, dim: int, channels: int, patch) -> None:
        super().__init__()
        self.modulation_vectors = 2 if patch == (2, 2) else 0

    def forward(self, tokens, vectors, grid): ...


def test_a_noise_level_that_steers_nothing():
    assert problems_of([level(4)], block="plain", parts=[Plain], modulation="none", **FREE) == [NO_TIME]


def test_a_noise_level_that_steers_a_head_or_comes_as_a_token():
    assert not problems_of([level(4)], block="plain", parts=[Plain])
    assert not problems_of([level(4)], block="plain", parts=[Plain], modulation="in_context", **FREE)


@pytest.mark.parametrize(
    ("given", "width"),
    [
        ({"block": [{"type": "plain", "blocks": 1}, {"type": "dit", "blocks": 1}]}, 24),
        ({"block": [{"type": "dit", "blocks": 1}, {"type": "plain", "blocks": 1}], **FREE}, 48),
    ],
)
def test_a_condition_that_steers_nothing_at_its_width(given, width):
    given = {"parts": [Plain], "class_conditioner": "embedding", **given}
    assert problems_of(WIDER, **given) == [
        f"backbone.time_embedder: no block and no head takes vectors of the condition of width {width}, which would be"
        " learned in vain; take backbone.condition: shared, or parts that take some"
    ]
    mended = backbone_of(WIDER, condition="shared", **given)
    run(mended).sum().backward()
    assert all(each.grad is not None for each in mended.time_embedder.parameters())


def test_what_has_no_weights_may_steer_nothing():
    """As in a backbone that is blind to noise: nothing is learned in vain."""
    blind = {"parts": [Plain, Weightless], "time_embedder": "weightless"}
    assert not problems_of([level(4)], block="plain", modulation="none", **blind, **FREE)
    given = {"block": [{"type": "plain", "blocks": 1}, {"type": "dit", "blocks": 1}], **blind}
    backbone = backbone_of(WIDER, **given)
    run(backbone).sum().backward()
    assert all(each.grad is not None for each in backbone.class_conditioner.parameters())
    for learned in ({"class_conditioner": "embedding"}, {"stage_embedder": "learned"}):
        (line,) = problems_of(WIDER, **given, **learned)
        assert "vectors of the condition of width 24, which would be learned in vain" in line


def test_a_context_that_nothing_at_its_width_attends_to():
    runs = [{"type": "dit", "blocks": 1}, {"type": "cross", "blocks": 1}]
    given = {"parts": [*CROSS, Plain], "class_conditioner": "captions", "block": runs}
    (line,) = problems_of(WIDER, **given)
    assert line == (
        "backbone.class_conditioner: gives a context of width 24 that no block attends to; take backbone.condition:"
        " shared, or blocks that do"
    )


def test_a_context_that_only_a_router_takes():
    """It gets that of the level where its route begins, and no other."""
    given = {"parts": [*CROSS, ContextRouter], "class_conditioner": "captions"}
    wider = [level(4, 2), level(4, 2, dim=48)]
    runs = [{"type": "dit", "blocks": 2}, {"type": "cross", "blocks": 2}]
    assert not problems_of(wider, block=runs, router={"type": "context", "first": 0, "stop": 2}, **given)
    (line,) = problems_of(wider, block=runs, router={"type": "context", "first": 2, "stop": 4}, **given)
    assert line.startswith("backbone.class_conditioner: gives a context of width 24 that no block attends to")
    (line,) = problems_of(wider, router={"type": "context", "first": 2, "stop": 4}, **given)
    assert line.startswith("backbone.class_conditioner: gives a context of width 24 that no block attends to")


def told(refused, given="router 'tread'"):
    return f" cannot stand {refused}, which {given} gives"


def test_a_block_that_cannot_stand_a_route_stands_outside_of_it():
    some = {"type": "plain", "refuses": "subset", "blocks": 1}
    outside = [some, {"type": "dit", "blocks": 2}, some]
    assert not problems_of([level(2, 4)], block=outside, parts=[Plain], **ROUTE)
    inside = [{"type": "dit", "blocks": 2}, {**some, "blocks": 2}]
    assert problems_of([level(2, 4)], block=inside, parts=[Plain], **ROUTE) == [
        "backbone.block.1: block 'plain'" + told("a router that leaves out tokens")
    ]


@pytest.mark.parametrize("after", [level(4, 2), level(2, 2, 48), level(4, 2, 48), level(1, 2)])
def test_a_route_over_exactly_one_level_ends_before_the_next(after):
    """So what goes between levels gets all tokens, whatever it cannot stand."""
    levels = [level(2, 3), after]
    route = {"type": "tread", "first": 0, "stop": 3}
    given = {"parts": [PickyDown], "downsampler": {"type": "picky", "refuses": "subset"}}
    if after == level(2, 2, 48):  # the one that a picky downsampler can do
        assert not problems_of(levels, router=route, **given)
    backbone, seen = backbone_of(levels, router=route), []
    (between,) = [*backbone.downsamplers.values(), *backbone.upsamplers.values()]
    between.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[1] - given[1]))
    latents, t = torch.zeros(2, *backbone.latent, dtype=torch.float64), torch.full((2,), 0.5, dtype=torch.float64)
    backbone(latents, t, backbone.conditioner.example_labels(2), torch.rand(2, 32))
    assert seen == [32]


def test_no_level_begins_within_a_route():
    assert problems_of([level(2, 2), level(2, 2, 48)], **ROUTE) == [
        "backbone.router: leaves out tokens in blocks 1 to 2, and in stage 0 a level begins at block 2; let routes lie"
        " within a level"
    ]


def test_tokens_that_come_back_of_the_next_width_do_so_at_one_patch():
    """Between two patches they come back before they go up or down, of the width there."""
    route = {"router": {"type": "mask_tokens", "stop": 2, "dim": 48}, "parts": MASKDIT}
    for levels in ([level(2, 2), level(2, 2, 48)], [level(4, 2, 48), level(2, 2, 48)], [level(2, 3), level(4, 2, 48)]):
        assert not problems_of(levels, **route)
    assert problems_of([level(4, 2), level(2, 2, 48)], **route) == [
        "backbone.router: brings back tokens of the width of block 2, 48, and in stage 0 they come back at patch 4, of"
        " width 24, before they go to patch 2; let the two levels have one patch or one width"
    ]
    assert not problems_of([level(4, 2), level(2, 2, 48)], router={"type": "tread", "first": 0, "stop": 2})


def test_a_part_that_cannot_stand_tokens_in_front_stands_where_there_are_none():
    """A head sees the image's alone; and those in front do not go from one width to another."""
    prefix = "tokens in front of the image's"
    given = {"parts": [Plain, PickyHead, PickyDown], "head": "picky"}
    assert not problems_of(WIDER, downsampler={"type": "picky", "refuses": "prefix"}, **given)
    assert not problems_of([level(2, 4)], **ROUTE, **given)
    block = {"type": "plain", "refuses": "prefix"}
    assert problems_of([level(2)], block=block, **given) == [
        "backbone.block: block 'plain'" + told(prefix, "class_conditioner 'class_tokens'")
    ]
    both = [level(2), level(4), level(2)]
    assert problems_of(both, downsampler={"type": "picky", "refuses": "prefix"}, **given) == [
        "backbone.downsampler: downsampler 'picky'" + told(prefix, "class_conditioner 'class_tokens'")
    ]


def test_a_skip_and_a_position_cannot_stand_what_comes_to_them_alone():
    """A skip gets the image's tokens, all of them; a position those in front too, where a level has any."""
    route = {"router": {"type": "tread", "first": 0, "stop": 1}, "parts": [PickySkip, PickyPosition]}
    levels = [level(4), level(2)]
    assert not problems_of(levels, skip="picky", **route)
    assert not problems_of(levels, position="picky", class_conditioner="none", **route)
    assert problems_of(levels, position="picky", **route) == [
        "backbone.position: position 'picky'"
        + told("tokens in front of the image's", "class_conditioner 'class_tokens'")
    ]


@pytest.mark.parametrize(("stop", "refused"), [(1, False), (2, True)])
def test_a_downsampler_that_cannot_stand_a_route_stands_where_none_comes(stop, refused):
    """One that spans widths comes to a downsampler where it ends there, not a block before."""
    given = {"parts": [PickyDown, *MASKDIT], "downsampler": {"type": "picky", "refuses": "subset"}}
    levels = [level(2, 2), level(2, 2, 48)]
    line = "backbone.downsampler: downsampler 'picky'"
    line += told("a router that leaves out tokens", "router 'mask_tokens'")
    router = {"type": "mask_tokens", "stop": stop, "dim": 48 if refused else 24}
    assert problems_of(levels, router=router, **given) == ([line] if refused else [])


@pytest.mark.parametrize(("fact", "words"), [("rotary", "rotary angles"), ("context", "a context to attend to")])
def test_angles_and_a_context_come_to_blocks_and_to_no_head(fact, words):
    given = {"position": "rope", "class_conditioner": "captions", "parts": [*CROSS, Plain, PickyHead]}
    runs = [{"type": "cross", "blocks": 1}, {"type": "dit", "blocks": 1}]
    assert not problems_of([level(4, 2)], block=runs, head="picky", **given)
    (line,) = problems_of([level(4, 3)], block=[*runs, {"type": "plain", "refuses": fact, "blocks": 1}], **given)
    assert f"block 'plain' cannot stand {words}, which" in line


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        ("prefix", "tokens in front of the image's"),
        ("rotary", "rotary angles"),
        ("subset", "a router that leaves out tokens"),
    ],
)
def test_a_part_needs_what_comes_to_its_place(fact, words):
    """What is given elsewhere alone is none."""

    @part("head", "asking")
    class Asking(LinearHead):
        needs = frozenset({fact})

    @part("block", "asking")
    class AskingBlock(Plain):
        needs = frozenset({fact})

    given = {"parts": [Asking, AskingBlock], "position": "rope", **ROUTE}
    line = f"backbone.head: head 'asking' needs {words}, and gets none at its place"
    assert problems_of([level(2, 4)], head="asking", **given) == [line]
    runs = [{"type": "dit", "blocks": 1}, {"type": "asking", "blocks": 1}, {"type": "dit", "blocks": 2}]
    assert not problems_of([level(2, 4)], block=runs, **given)
    if fact == "subset":
        line = f"backbone.block.0: block 'asking' needs {words}, and gets none at its place"
        assert problems_of([level(2, 4)], block=[runs[1], {"type": "dit", "blocks": 3}], **given) == [line]


def test_a_context_that_only_parts_take_to_which_it_does_not_come():
    @part("head", "reading")
    class Reading(LinearHead):
        uses = frozenset({"context"})

    (line,) = problems_of([level(2)], head="reading", class_conditioner="captions", parts=[*CROSS, Reading])
    assert line.endswith("class_conditioner 'captions' gives a context to attend to, and no part takes that")


def test_heads_of_one_width_take_as_many_vectors_as_each_other():
    stages = [{"noise_above": 0.5, "levels": [level(4)]}, {"noise_above": 0.0, "levels": [level(2)]}]
    assert problems_of(stages=stages, head="by_patch", parts=[ByPatch]) == [
        "backbone.head: takes 2 vectors of the modulation at patch 2 and 0 at another of width 24; let heads of one"
        " width take the same number"
    ]
    assert not problems_of([level(4)], head="by_patch", parts=[ByPatch])
