"""Outputs of blocks that are asked for, and those that are not."""

import weakref
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.utils.checkpoint import checkpoint

from tests.distributed.ranks import run_ranks
from tests.shapes import backbone_of, level
from tests.test_takes import GIVEN as TAKES
from tests.test_takes import SUMS
from zoo.data_parallel import data_parallel
from zoo.lockstep import Piece, Walk
from zoo.taps import checked_taps

COARSE, FINE = [level(4, 1), level(2, 2)], [level(2, 3)]
STAGES = [{"noise_above": 0.5, "levels": COARSE}, {"noise_above": 0.0, "levels": FINE}]
SHAPES = {
    "one level": {"levels": [level(2, 3)]},
    "coarse to fine": {"levels": COARSE},
    "hourglass": {"levels": [level(2), level(4), level(2)], "skip": "kept_add"},
    "two widths": {"levels": [level(2, 1, 24), level(2, 2, 48)]},
    "hybrid": {"stages": STAGES},
    "scaled": {"stages": [{**STAGES[0], "scale": 2}, STAGES[1]]},
    "routed": {"levels": [level(2, 3)], "router": {"type": "tread", "first": 1, "stop": 2}, "position": "rope"},
    "takes": {"levels": [level(4, 5)], **TAKES},
}


def shaped(name):
    return backbone_of(**SHAPES[name])


def pieces_of(backbone, batch=3):
    """Samples of every stage, routed as in training."""
    generator = torch.Generator().manual_seed(0)

    def piece(stage):
        latents = torch.randn(batch, *backbone.latent_of(stage), generator=generator, dtype=torch.float64)
        t = torch.rand(batch, generator=generator, dtype=torch.float64)
        scores = torch.rand(batch, backbone.scores, generator=generator) if backbone.scores else None
        return Piece(stage, latents, t, backbone.conditioner.example_labels(batch), scores)

    return [piece(stage) for stage in range(len(backbone.stages))]


def mixed(backbone, noise_levels=(0.9, 0.1, 0.2, 0.8)):
    generator = torch.Generator().manual_seed(1)
    t = torch.tensor(noise_levels, dtype=torch.float64)
    latents = torch.randn(len(t), *backbone.latent, generator=generator, dtype=torch.float64)
    return latents, t, torch.arange(len(t)) % 5


def every(backbone):
    return range(len(backbone.blocks))


def assert_taps_are_outputs(backbone):
    """Of every block, in every stage: its tokens and how they are laid out, with gradients for it, none for later."""
    pieces, seen = pieces_of(backbone), {}

    def look(index, _, inputs, outputs):
        seen[index] = [(group.layout, tokens) for group, tokens in zip(inputs[0], outputs, strict=True)]

    hooks = [block.register_forward_hook(partial(look, index)) for index, block in enumerate(backbone.blocks)]
    tapped = backbone.forward_stages(pieces, taps=every(backbone))
    for hook in hooks:
        hook.remove()
    plain = backbone.forward_stages(pieces)
    for number, (prediction, taps) in enumerate(tapped):
        assert torch.equal(prediction, plain[number])
        assert list(taps) == list(every(backbone))
        for index, tap in taps.items():
            layout, tokens = seen[index][number]
            assert torch.equal(tap.tokens, tokens)
            assert (tap.m, tap.grid, tap.index) == (layout.m, layout.grid, layout.index)
            assert tap.tokens.requires_grad
            (gradient,) = torch.autograd.grad(tap.tokens.square().sum(), tokens, retain_graph=True, allow_unused=True)
            assert gradient is not None
            assert gradient.any()


@pytest.mark.parametrize("name", SHAPES)
def test_a_tap_is_what_the_block_returned(name):
    assert_taps_are_outputs(shaped(name))


def change(**values):
    """A walk whose taps are changed."""

    def leave(self, index, returned):
        LEAVE(self, index, returned)
        if (tap := self.taps.get(index)) is not None:
            self.taps[index] = replace(tap, **{name: value(self, tap) for name, value in values.items()})

    return leave


LEAVE = Walk.leave
BROKEN = {
    "detached": ("one level", change(tokens=lambda _, tap: tap.tokens.detach())),
    "what came in": ("one level", change(tokens=lambda walk, tap: walk.taps.get(0, tap).tokens)),
    "of the whole": ("routed", change(index=lambda walk, _: walk.whole.index if walk.routed else None)),
    "of the first level": ("hourglass", change(grid=lambda walk, _: walk.taps[0].grid)),
    "without the tokens in front": ("one level", change(m=lambda *_: 0)),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_taps_that_are_something_else_are_caught(broken, monkeypatch):
    name, leave = BROKEN[broken]
    backbone = shaped(name)
    monkeypatch.setattr(Walk, "leave", leave)
    with pytest.raises(AssertionError):
        assert_taps_are_outputs(backbone)


def test_a_loss_on_a_tap_reaches_its_block_and_those_before_it_alone():
    backbone = shaped("coarse to fine")
    ((_, taps),) = backbone.forward_stages(pieces_of(backbone), taps=(1,))
    taps[1].tokens.square().sum().backward()
    reached = [all(each.grad is not None for each in block.parameters()) for block in backbone.blocks]
    assert reached == [True, True, False]


def test_behind_a_router_a_tap_says_which_tokens_are_there():
    ((_, taps),) = (backbone := shaped("routed")).forward_stages(pieces_of(backbone), taps=(0, 1, 2))
    assert [tap.tokens.shape[1] for tap in taps.values()] == [2 + 32, 2 + 16, 2 + 32]
    assert [tap.index is None for tap in taps.values()] == [True, False, True]
    assert taps[1].index.shape == (3, 16)
    assert {tap.grid for tap in taps.values()} == {(4, 8)}


@pytest.mark.parametrize("name", ["one level", "hybrid"])
def test_where_none_are_asked_for_there_is_the_prediction_alone(name):
    backbone = shaped(name)
    inputs, pieces = mixed(backbone), pieces_of(backbone)
    for more in ({}, {"taps": ()}):
        assert isinstance(backbone(*inputs, **more), torch.Tensor)
        assert all(isinstance(each, torch.Tensor) for each in backbone.forward_stages(pieces, **more))
        assert isinstance(backbone.forward_stage(*pieces[0][:4], **more), torch.Tensor)


@pytest.mark.parametrize("name", ["one level", "hybrid"])
def test_the_taps_of_a_batch_are_in_its_order(name):
    """Also of two stages, where their tokens are on one grid."""
    backbone = shaped(name)
    inputs = mixed(backbone)
    prediction, taps = backbone(*inputs, taps=[2, 1, 2])
    assert torch.equal(prediction, backbone(*inputs))
    assert list(taps) == [1, 2]
    for row in range(len(inputs[1])):
        own = slice(row, row + 1)
        _, alone = backbone(*(each[own] for each in inputs), taps=(1, 2))
        for index, tap in alone.items():
            torch.testing.assert_close(taps[index].tokens[own], tap.tokens, rtol=1e-12, atol=1e-12)
            assert (tap.m, tap.grid, tap.index) == (2, (4, 8), None)


def test_the_kept_tokens_of_a_batch_are_in_its_order():
    stages = [{"noise_above": 0.5, "levels": [level(2, 3)]}, {"noise_above": 0.0, "levels": [level(2, 3)]}]
    backbone = backbone_of(stages=stages, router={"type": "tread", "first": 1, "stop": 2})
    latents, t, labels = mixed(backbone)
    scores = torch.rand(len(t), backbone.scores, generator=torch.Generator().manual_seed(0))
    _, taps = backbone(latents, t, labels, scores, taps=(1,))
    for row in range(len(t)):
        own = slice(row, row + 1)
        _, alone = backbone(latents[own], t[own], labels[own], scores[own], taps=(1,))
        assert torch.equal(taps[1].index[own], alone[1].index)


def test_taps_of_a_batch_that_make_no_tensor_are_refused_and_those_of_one_stage_are_not():
    backbone = shaped("hybrid")
    with pytest.raises(ValueError, match=r"^taps: ") as caught:
        backbone(*mixed(backbone), taps=(2, 0))
    assert str(caught.value) == (
        "taps: block 0 has 2 tokens in front of a grid of 2 x 4, of width 24 in stage 0 and 2 tokens in front of a grid"
        " of 4 x 8, of width 24 in stage 1, which make no one tensor; give samples of one stage, or call forward_stages"
    )
    _, taps = backbone(*mixed(backbone, [0.9, 0.7]), taps=(0,))
    assert taps[0].grid == (2, 4)


@pytest.mark.parametrize(
    ("taps", "told"),
    [
        ((0, 3), "taps: there is no block 3; there are 0 to 2"),
        ([-1], "taps: there is no block -1; there are 0 to 2"),
        (["1"], "taps: must be indices of blocks, such as (0, 2), got ['1']"),
        (1, "taps: must be indices of blocks, such as (0, 2), got 1"),
    ],
)
def test_a_tap_of_no_block_is_refused(taps, told):
    with pytest.raises(ValueError, match=r"^taps: ") as caught:
        checked_taps(taps, 3)
    assert str(caught.value) == told


def test_a_pass_refuses_a_tap_of_no_block():
    backbone = shaped("one level")
    for call in (partial(backbone, *mixed(backbone)), partial(backbone.forward_stages, pieces_of(backbone))):
        with pytest.raises(ValueError, match="no block 7; there are 0 to 2"):
            call(taps=(7,))


def alive_at_blocks(backbone, taps=()):
    """For each block, of which earlier ones the outputs are alive when it is called."""
    outputs, alive = {}, []

    def enter(*_):
        SUMS.clear()
        alive.append([index for index, several in outputs.items() if any(each() is not None for each in several)])

    def leave(index, _, inputs, returned):
        outputs[index] = [weakref.ref(each) for each in returned]

    for index, block in enumerate(backbone.blocks):
        block.register_forward_pre_hook(enter)
        block.register_forward_hook(partial(leave, index))
    with torch.no_grad():
        results = backbone.forward_stages(pieces_of(backbone), taps=taps)
    enter()
    del results
    return alive


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("one level", [[], [0], [1], []]),
        ("coarse to fine", [[], [], [1], []]),  # an upsampler has made other tokens of those of block 0
        ("hybrid", [[], [0], [1], []]),
        ("takes", [[], [0], [0, 1], [0, 1, 2], [0, 2, 3], []]),  # each the one two before it, and the first
    ],
)
def test_an_output_goes_as_soon_as_nobody_needs_it(name, expected):
    assert alive_at_blocks(shaped(name)) == expected


@pytest.mark.parametrize("name", ["one level", "coarse to fine"])
def test_what_is_tapped_stays_and_nothing_else(name):
    assert alive_at_blocks(shaped(name), taps=(0,))[-1] == [0]


def outcome(backbone, forward=None):
    """Tokens of a tap, and gradients of all weights for a loss on it and the prediction."""
    prediction, taps = (forward or backbone)(*mixed(backbone), taps=(1,))
    backbone.zero_grad()
    (prediction.square().mean() + taps[1].tokens.square().mean()).backward()
    return taps[1].tokens.detach(), [each.grad for each in backbone.parameters()]


def checkpointed(forward):
    return partial(checkpoint, forward, use_reentrant=False)


@pytest.mark.parametrize("name", ["hybrid", "routed"])
def test_taps_are_the_same_where_blocks_are_checkpointed(name):
    backbone = shaped(name)
    tokens, gradients = outcome(backbone)
    gradients = [each.clone() for each in gradients]
    for block in backbone.blocks:
        block.forward = checkpointed(block.forward)
    again, others = outcome(backbone)
    assert torch.equal(tokens, again)
    assert all(map(torch.equal, gradients, others))


def test_taps_are_as_wide_as_the_residual_stream_under_autocast():
    backbone = shaped("one level").float()
    latents, t, labels = mixed(backbone)
    with torch.autocast("cpu", torch.bfloat16):
        _, taps = backbone(latents.float(), t.float(), labels, taps=(0, 2))
    assert {tap.tokens.dtype for tap in taps.values()} == {torch.float32}


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_taps_are_the_same_on_several_processes(parallel):
    def work(world, parallel):
        backbone = shaped("hybrid")
        if parallel == "ddp":
            tokens, gradients = outcome(backbone, data_parallel(backbone))
            return tokens, gradients
        mesh = init_device_mesh("cpu", (world.size,))
        for block in backbone.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(backbone, mesh=mesh)
        tokens, gradients = outcome(backbone)
        return tokens, [each.full_tensor() for each in gradients]

    tokens, gradients = outcome(shaped("hybrid"))
    for again, others in run_ranks(work, 2, parallel, group=parallel == "fsdp"):
        assert torch.equal(again, tokens)
        for one, other in zip(gradients, others, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
