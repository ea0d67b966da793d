import pytest
import torch
import torch.nn.functional as F

import zoo
from zoo.errors import RecipeError
from zoo.parts import Layout
from zoo_linear import gated
from zoo_linear.dig import DiGBlock
from zoo_linear.gated import chunked

DIM, HEADS, GRID = 8, 2, (3, 5)
ROWS = list(range(15))
COLUMNS = [5 * row + column for column in range(5) for row in range(3)]
ORDERS = [ROWS, ROWS[::-1], COLUMNS, COLUMNS[::-1]]
"""Image tokens, counted by rows, as each of four blocks meets them."""


def case(index: int):
    """A block with random weights, and its inputs at batch 2."""
    torch.manual_seed(0)
    block = DiGBlock(DIM, HEADS, index, multiple_of=8).double()
    for name, parameter in block.named_parameters():
        if not name.startswith("depthwise"):
            torch.nn.init.normal_(parameter)
    tokens, vectors = torch.randn(2, 15, DIM, dtype=torch.float64), torch.randn(6, 2, DIM, dtype=torch.float64)
    return block, tokens, vectors.unbind(), Layout(0, GRID, (2, 2))


def reference(block: DiGBlock, x, vectors, index: int):
    """The block's formulas, its tokens put in order one by one and the recurrence run token by token."""
    w = {name: each.detach() for name, each in block.named_parameters()}
    order, (h, n) = ORDERS[index % 4], (HEADS, DIM // HEADS)
    x = x[:, order]
    shift1, scale1, gate1, shift2, scale2, gate2 = (each[:, None] for each in vectors)

    def head(name, y):
        return (y @ w[f"attention.{name}.weight"].T).view(2, 15, h, -1)

    y = F.layer_norm(x, (DIM,), eps=1e-6) * (1 + scale1) + shift1
    q, k, v, g = (head(name, y) for name in ("q", "k", "v", "gate"))
    alpha = (head("decay", y @ w["attention.decay_in.weight"].T) + w["attention.decay.bias"].view(h, -1)).sigmoid() ** (
        1 / 16
    )
    state, read = torch.zeros(2, h, n // 2, n, dtype=x.dtype), []
    for t in range(15):
        state = alpha[:, t, :, :, None] * state + k[:, t, :, :, None] * v[:, t, :, None]
        read.append((state * q[:, t, :, :, None]).sum(2) / (n // 2) ** 0.5)
    o = torch.stack(read, 1)
    o = o / (o.square().mean(-1, keepdim=True) + 1e-6).sqrt() * w["attention.norm.weight"] * F.silu(g)
    x = x + gate1 * (o.flatten(2) @ w["attention.out.weight"].T)
    y = F.layer_norm(x, (DIM,), eps=1e-6) * (1 + scale2) + shift2
    gate, value = (y @ w["mlp.gate_value.weight"].T).chunk(2, -1)
    x = x + gate2 * ((F.silu(gate) * value) @ w["mlp.out.weight"].T)
    grid = (5, 3) if index % 4 >= 2 else (3, 5)
    image = F.conv2d(x.mT.reshape(2, DIM, *grid), w["depthwise.weight"], w["depthwise.bias"], padding=1, groups=DIM)
    back = [order.index(place) for place in range(15)]
    return image.flatten(2).mT[:, back]


@pytest.mark.parametrize("index", range(5))
def test_the_block_is_its_formulas(index):
    block, tokens, vectors, layout = case(index)
    torch.nn.init.normal_(block.depthwise.weight)
    torch.nn.init.normal_(block.depthwise.bias)
    found = block.forward_stage(tokens, vectors, layout)
    torch.testing.assert_close(found, reference(block, tokens, vectors, index))
    assert not torch.allclose(found, reference(block, tokens, vectors, index + 1))


@pytest.mark.parametrize("index", range(4))
def test_tokens_see_those_before_them_on_the_scan(index):
    """With the convolution as it starts, which looks at nothing else."""
    block, tokens, vectors, layout = case(index)
    moved = torch.zeros(15, 15, dtype=torch.bool)
    before = block.forward_stage(tokens, vectors, layout)
    for place in range(15):
        other = tokens.index_copy(1, torch.tensor([place]), torch.randn(2, 1, DIM, dtype=tokens.dtype))
        moved[:, place] = (block.forward_stage(other, vectors, layout) != before).any(-1).all(0)
    order = torch.tensor(ORDERS[index])
    assert torch.equal(moved[order][:, order], torch.ones(15, 15, dtype=torch.bool).tril())


def test_a_fresh_block_lets_tokens_pass():
    block, layout = DiGBlock(DIM, HEADS, 2, multiple_of=8), Layout(0, GRID, (2, 2))
    tokens, zeros = torch.randn(2, 15, DIM), (torch.zeros(2, DIM),) * 6
    assert torch.equal(block.forward_stage(tokens, zeros, layout), tokens)


def test_linears_of_the_attention_start_with_a_gain():
    torch.manual_seed(0)
    block = DiGBlock(48, 3, 0)
    attention, mlp = block.attention, block.mlp
    damped = [getattr(attention, name) for name in ("q", "k", "v", "gate", "decay_in", "decay", "out")]
    for gain, linear in [*((2**-2.5, each) for each in damped), (1, mlp.gate_value), (1, mlp.out)]:
        bound = gain * (6 / sum(linear.weight.shape)) ** 0.5
        assert linear.weight.abs().max() <= bound
        assert linear.weight.detach().std() == pytest.approx(bound / 3**0.5, rel=0.1)
    assert not attention.decay.bias.any()
    assert attention.norm.weight.eq(1).all()


def test_the_recurrence_is_in_float32_under_autocast(monkeypatch):
    """Neither its inputs nor its decays are rounded, nor does autocast round them in products."""
    block, tokens, vectors, layout = case(1)
    met = []

    def watched(q, k, v, log_decay):
        met.append(({each.dtype for each in (q, k, v, log_decay)}, torch.is_autocast_enabled("cpu")))
        assert not torch.equal(log_decay.bfloat16().float(), log_decay)
        return chunked(q, k, v, log_decay)

    monkeypatch.setattr(gated, "chunked", watched)
    with torch.autocast("cpu", torch.bfloat16):
        block.float().forward_stage(tokens.float(), tuple(each.float() for each in vectors), layout)
    assert met == [({torch.float32}, False)]


def test_what_goes_on_is_not_rounded_under_autocast():
    block, _, _, layout = case(1)
    tokens, zeros = torch.randn(2, 15, DIM), (torch.zeros(2, DIM),) * 6
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(block.float().forward_stage(tokens, zeros, layout), tokens)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"backbone.class_conditioner": "class_tokens"}, "block 'dig' cannot stand tokens in front"),
        (
            {"backbone.router": {"type": "tread", "first": 2, "stop": 4}},
            "block 'dig' cannot stand a router that leaves out tokens",
        ),
        ({"backbone.position": "rope"}, "position 'rope' gives rotary angles, and no part takes that"),
        ({"backbone.dim": 60, "backbone.heads": 12}, "dim 60 is not divisible into 12 heads of even width"),
    ],
)
def test_what_has_no_place_in_a_scan_is_refused_in_a_line(overrides, message):
    registry = zoo.Registry().with_parts([DiGBlock])
    with pytest.raises(RecipeError) as raised:
        zoo.build("dit_b", {"backbone.block": "dig", **overrides}, registry=registry, device="meta")
    assert [message in line for line in str(raised.value).splitlines()] == [True]
