"""What a part returns is held against what its kind promises, and one that breaks it is named."""

from dataclasses import replace

import pytest
import torch

import zoo
from tests.shapes import backbone_of, level, run
from tests.test_backbone import LATENT, SMALL, batch
from tests.test_takes import GIVEN
from zoo.errors import PluginError
from zoo.parts.values import ClassCondition, Modulations, Position, Rotary


@pytest.fixture(scope="module")
def hybrid():
    """Two stages of two levels each: patches 8 and 4 where noisy, 4 and 2 where clean; 16 tokens of the class."""
    return zoo.build("hybrid_b", [*SMALL, LATENT], dtype=torch.float64)


def vectors(count, vector, of_head=2, **more):
    return Modulations([(vector,) * count] * 12, {32: (vector,) * of_head}, **more)


def says(**more):
    return untyped(ClassCondition(tokens=torch.zeros(1, 16, 32)), **more)


def untyped(value, **fields):
    """A value with fields that the hook which looks at types in tests would refuse, as it goes in by hand."""
    vars(value).update(fields)
    return value


@pytest.mark.parametrize(
    ("part", "returned", "message"),
    [
        (
            "blocks.3",
            lambda groups: [(groups[0].tokens, groups[0].tokens)],
            "block 3 (zoo's dit) returned a tuple of a tensor [1, 24, 32], a tensor [1, 24,",
        ),
        ("blocks.3", lambda groups: [groups[0].tokens[:, 1:]], "a tensor [1, 23, 32] in place of a tensor [1, 24, 32]"),
        ("blocks.3", lambda groups: groups[0].tokens, "a tensor [1, 24, 32] in place of a list of 1 tensors"),
        ("blocks.0", lambda groups: None, "block 0 (zoo's dit) returned None in place of a list of 1 tensors"),
        ("blocks.0", lambda groups: [None], "block 0 (zoo's dit) returned None in place of a tensor [1, 24, 32]"),
        (
            "blocks.3",
            lambda groups: [groups[0].tokens.float()],
            "block 3 (zoo's dit) returned a tensor of torch.float32 in place of one of torch.float64",
        ),
        ("patch_embedders.8x8", lambda x: x, "patch_embedder 8x8 (zoo's linear) returned a tensor [1, 3, 16, 32] in"),
        ("upsamplers.8x8_to_4x4", lambda x, m, grid: x, "upsampler 8x8_to_4x4 (zoo's linear_linear) returned a tensor"),
        (
            "upsamplers.8x8_to_4x4",
            lambda x, m, grid: (x, grid),
            "(2, 4) in place of a tuple of tokens and the grid (4, 8)",
        ),
        (
            "upsamplers.8x8_to_4x4",
            lambda x, m, grid: (x, (4, 8)),
            "a tensor [1, 24, 32] in place of a tensor [1, 48, 32]",
        ),
        (
            "heads.4x4",
            lambda x, *_: x,
            "head 4x4 (zoo's linear) returned a tensor [1, 32, 32] in place of a tensor [1, 3, 16, 32]",
        ),
        ("positions.4x4", lambda: None, "position 4x4 (zoo's sincos) returned None in place of a Position"),
        (
            "positions.4x4",
            lambda: Position(add=torch.zeros(3, 32)),
            "a tensor [3, 32] as its add in place of a tensor [32, 32]",
        ),
        (
            "positions.4x4",
            lambda: untyped(Position(), rotary=torch.zeros(32, 16)),
            "returned a tensor [32, 16] as its rotary in place of a Rotary",
        ),
        (
            "positions.4x4",
            lambda: Position(rotary=Rotary(torch.zeros(32, 16), torch.zeros(33, 16))),
            "returned a tensor [33, 16] as its rotary.sin in place of a tensor [32, 16]",
        ),
        (
            "positions.4x4",
            lambda: Position(rotary=Rotary(torch.zeros(32, 32), torch.zeros(32, 32))),
            "returned a tensor [32, 32] as its rotary.cos in place of a tensor [32, 16]",
        ),
        (
            "positions.8x8",
            lambda: Position(prefix=torch.zeros(15, 32)),
            "returned a tensor [15, 32] as its prefix in place of a tensor [16, 32]",
        ),
        (
            "positions.2x2",
            lambda: Position(prefix=torch.zeros(16, 32)),
            "returned a tensor [16, 32] as its prefix in place of a tensor [0, 32]",
        ),
        ("time_embedder", lambda t: t, "time_embedder (zoo's fno) returned a tensor [1] in place of a tensor [1, 32]"),
        (
            "class_conditioner",
            lambda y: y,
            "class_conditioner (zoo's class_tokens) returned a tensor [1] in place of a Class",
        ),
        (
            "class_conditioner",
            lambda y: ClassCondition(),
            "returned None as its tokens in place of a tensor [1, 16, 32]",
        ),
        (
            "class_conditioner",
            lambda y: ClassCondition(vector=torch.zeros(1, 32), tokens=torch.zeros(1, 16, 32)),
            "returned label, prefix, and its `gives` says prefix; let it say so",
        ),
        (
            "class_conditioner",
            lambda y: says(context=torch.zeros(2, 7, 32)),
            "returned a tensor [2, 7, 32] as its context in place of a tensor [1, L, 32]",
        ),
        (
            "class_conditioner",
            lambda y: says(context=torch.zeros(1, 7, 31)),
            "returned a tensor [1, 7, 31] as its context in place of a tensor [1, L, 32]",
        ),
        (
            "class_conditioner",
            lambda y: says(context=torch.zeros(1, 7, 32), context_mask=torch.ones(7, dtype=torch.bool)),
            "returned a tensor [7] as its context_mask in place of a tensor [1, 7]",
        ),
        (
            "class_conditioner",
            lambda y: says(context=torch.zeros(1, 7, 32), context_mask=torch.ones(1, 7)),
            "returned a tensor of torch.float32 as its context_mask in place of one of torch.bool",
        ),
        (
            "class_conditioner",
            lambda y: says(context_mask=torch.ones(1, 7, dtype=torch.bool)),
            "returned a tensor [1, 7] as its context_mask in place of None, as there is no context",
        ),
        ("stage_embedder", lambda stage: torch.zeros(1, 32), "a tensor [1, 32] in place of a tensor [32]"),
        (
            "modulation",
            lambda x: x[32].time,
            "modulation (zoo's shared_adaln) returned a tensor [1, 32] in place of Modulations of 12",
        ),
        (
            "modulation",
            lambda x: Modulations([], {}),
            "Modulations of 0 blocks and 0 heads in place of Modulations of 12",
        ),
        (
            "modulation",
            lambda x: untyped(Modulations([], {}), blocks=None),
            "Modulations of no blocks and 0 heads in place of Modulations of 12 blocks, and of heads by width",
        ),
        (
            "modulation",
            lambda x: untyped(Modulations([()] * 12, {}), heads=None),
            "Modulations of 12 blocks and no heads in place of Modulations of 12 blocks, and of heads by width",
        ),
        (
            "modulation",
            lambda x: vectors(6, torch.zeros(32)),
            "a tensor [32] as a vector of block 0 in place of a tensor [1, 32]",
        ),
        (
            "modulation",
            lambda x: vectors(6, torch.zeros(1, 31)),
            "a tensor [1, 31] as a vector of block 0 in place of a tensor [1, 32]",
        ),
        ("modulation", lambda x: vectors(5, torch.zeros(1, 32)), "in place of 6 vectors of block 0"),
        (
            "modulation",
            lambda x: vectors(6, torch.zeros(1, 32), of_head=1),
            "a tuple of a tensor [1, 32] in place of 2 vectors of heads of width 32",
        ),
        (
            "modulation",
            lambda x: Modulations([()] * 12, {}),
            "returned () in place of 6 vectors of block 0",
        ),
        (
            "modulation",
            lambda x: untyped(Modulations([], {}), blocks=[None] * 12),
            "returned None in place of 6 vectors of block 0",
        ),
        (
            "modulation",
            lambda x: vectors(6, torch.zeros(1, 32), tokens={32: torch.zeros(1, 2, 32)}),
            "returned a tensor [1, 2, 32] as its tokens in place of a tensor [1, 0, 32]",
        ),
        (
            "modulation",
            lambda x: vectors(6, torch.zeros(1, 32), tokens={64: torch.zeros(1, 2, 64)}),
            "returned a mapping of 64: a tensor [1, 2, 64] as its tokens in place of tokens by width, of 32 alone",
        ),
        (
            "modulation",
            lambda x: untyped(vectors(6, torch.zeros(1, 32)), tokens=torch.zeros(1, 0, 32)),
            "returned a tensor [1, 0, 32] as its tokens in place of tokens by width, of 32 alone",
        ),
    ],
)
def test_a_part_that_returns_something_else_is_named(monkeypatch, hybrid, part, returned, message):
    monkeypatch.setattr(hybrid.get_submodule(part), "forward", returned)
    with pytest.raises(PluginError) as caught:
        hybrid(*batch(hybrid, [0.1 if part == "positions.2x2" else 0.9]))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tokens", "returned"), [({}, "None"), ({24: torch.zeros(3, 2, 24, dtype=torch.float64)}, "a tensor [3, 2, 24]")]
)
def test_as_many_tokens_as_a_modulation_says_stand_in_front(monkeypatch, tokens, returned):
    backbone = backbone_of([level(4)], **GIVEN)
    monkeypatch.setattr(backbone.modulation, "forward", lambda conditions: Modulations([()], {24: ()}, tokens))
    with pytest.raises(PluginError) as caught:
        run(backbone)
    assert str(caught.value) == (
        f"modulation (zoo's in_context) returned {returned} as its tokens in place of a tensor [3, 1, 24]"
    )


def route(tokens, layout, index, **changes):
    """What a router returns that lets these image tokens go on."""
    kept = torch.cat([tokens[:, : layout.m], tokens[:, layout.m + index]], dim=1)
    return kept, replace(layout, index=index.expand(len(tokens), -1), **changes), None


@pytest.mark.parametrize(
    ("method", "returned", "message"),
    [
        ("begin", lambda x, *_: x, "a tensor [3, 10, 24] from begin in place of a tuple of tokens, their Layout and"),
        ("begin", lambda x, *_: (x, None, None), "a tuple of a tensor [3, 10, 24], None, None from begin in place of"),
        (
            "begin",
            lambda x, layout, _: (x, replace(layout, m=0), None),
            "a Layout of m 0 and grid (2, 4) from begin in place of a Layout of m 2 and grid (2, 4)",
        ),
        (
            "begin",
            lambda x, layout, _: (x[:, :5], layout, None),
            "[3, 5, 24] from begin in place of a tensor [3, 10, 24]",
        ),
        (
            "begin",
            lambda x, layout, _: (x, route(x, layout, torch.arange(4))[1], None),
            "a tensor [3, 10, 24] from begin in place of a tensor [3, 6, 24]",
        ),
        (
            "begin",
            lambda x, layout, _: (x, untyped(replace(layout), index=torch.arange(4)), None),
            "a tensor [4] from begin as index in place of a tensor [3, K]",
        ),
        (
            "begin",
            lambda x, layout, _: route(x, layout, torch.arange(4)),
            "a tensor [8, 12] from begin as rotary.cos in place of a tensor [3, 4, head_dim]",
        ),
        (
            "begin",
            lambda x, layout, _: route(x, layout, torch.arange(4), rotary=None),
            "None from begin as rotary in place of a Rotary",
        ),
        ("end", lambda x, m, route: None, "None from end in place of a tensor [3, 10, 24]"),
        ("end", lambda x, m, route: x[:, m:], "a tensor [3, 4, 24] from end in place of a tensor [3, 10, 24]"),
    ],
)
def test_a_router_that_returns_something_else_is_named(monkeypatch, method, returned, message):
    backbone = backbone_of([level(4, 3)], router={"type": "tread", "first": 1, "stop": 2}, position="rope")
    monkeypatch.setattr(backbone.router, method, returned)
    with pytest.raises(PluginError) as caught:
        run(backbone, routed=True)
    assert str(caught.value).startswith("router (zoo's tread) returned ")
    assert message in str(caught.value)


def test_a_router_that_leaves_out_tokens_without_scores_is_named(monkeypatch):
    backbone = backbone_of([level(4, 3)], router={"type": "tread", "first": 1, "stop": 2})
    monkeypatch.setattr(backbone.router, "begin", lambda x, layout, _: route(x, layout, torch.arange(4)))
    with pytest.raises(
        PluginError, match=r"returned a tensor \[3, 4\] from begin as index in place of a tensor \[3, 8\]"
    ):
        run(backbone)
