from functools import partial

import pytest
import torch
import torch.nn.functional as F

import zoo
from zoo.parts import ClassCondition, ClassConditioner, Layout, Linear, RMSNorm
from zoo_linear import relu
from zoo_linear.relu import LiTAttention, MixFFN, SANAAttention, linear_attention

DIM, HEADS, M, GRID = 12, 3, 2, (3, 5)
LAYOUT = Layout(M, GRID, (2, 2))


def random(part):
    torch.manual_seed(0)
    part = part.double()
    for parameter in part.parameters():
        torch.nn.init.normal_(parameter)
    return part


def tokens():
    return torch.randn(2, M + 15, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def quadratic(qkv, floor, eps):
    """Every query with every key: weights are their products over the sum of these; and the values."""
    q, k, v = qkv.view(2, M + 15, 3, HEADS, DIM // HEADS).permute(2, 0, 3, 1, 4)
    scores = (q.clamp(min=0) + floor) @ (k.clamp(min=0) + floor).mT
    return (scores / (scores.sum(-1, keepdim=True) + eps)) @ v, v


def test_lit_is_the_quadratic_formula_and_a_convolution_of_each_head():
    part, x = random(LiTAttention(DIM, HEADS)), tokens()
    attended, v = quadratic(part.qkv(x), 1e-6, 1e-6 * (M + 15))
    for head in range(HEADS):
        image = v[:, head, M:].mT.reshape(2, -1, *GRID)
        near = F.conv2d(image, part.depthwise.weight, part.depthwise.bias, padding=2, groups=DIM // HEADS)
        attended[:, head, M:] += near.flatten(2).mT
    torch.testing.assert_close(part.forward_stage(x, LAYOUT), part.proj(attended.transpose(1, 2).flatten(2)))


@pytest.mark.parametrize("norm", [None, partial(RMSNorm, affine=True, eps=1e-5)], ids=["1.0", "1.5"])
def test_sana_is_the_quadratic_formula(norm):
    part, x = random(SANAAttention(DIM, HEADS, qk_norm=norm)), tokens()
    q, k, v = part.qkv(x).chunk(3, dim=2)
    if norm:
        q, k = (
            each / (each.square().mean(2, keepdim=True) + 1e-5).sqrt() * own.weight
            for each, own in ((q, part.q_norm), (k, part.k_norm))
        )
    attended, _ = quadratic(torch.cat([q, k, v], dim=2), 0.0, 1e-8)
    torch.testing.assert_close(part.forward_stage(x, LAYOUT), part.proj(attended.transpose(1, 2).flatten(2)))


def test_dead_queries_read_nothing():
    part, x = random(SANAAttention(DIM, HEADS)), tokens().requires_grad_()
    with torch.no_grad():
        part.qkv.weight[:DIM] = 0
    output = part.forward_stage(x, LAYOUT)
    assert torch.equal(output, part.proj.bias.expand_as(output))
    output.sum().backward()
    assert x.grad.isfinite().all()


def test_mix_ffn_is_its_convolutions():
    part, x = random(MixFFN(DIM)), tokens()
    found = part(x, LAYOUT)

    def pointwise(linear, image):
        return F.conv2d(image, linear.weight[:, :, None, None], linear.bias)

    image = F.silu(pointwise(part.expand, x[:, M:].mT.reshape(2, DIM, *GRID)))
    image = F.conv2d(image, part.depthwise.weight, part.depthwise.bias, padding=1, groups=60)
    image = pointwise(part.out, image[:, :30] * F.silu(image[:, 30:]))
    torch.testing.assert_close(found[:, M:], image.flatten(2).mT)
    value, gate = F.silu(part.expand(x[:, :M])).chunk(2, dim=2)
    torch.testing.assert_close(found[:, :M], part.out(value * F.silu(gate)))


@pytest.mark.parametrize("kind", [SANAAttention, LiTAttention])
def test_sums_are_in_float32_under_autocast(kind, monkeypatch):
    """What is summed is not rounded, nor does autocast round it in products."""
    part, met = random(kind(DIM, HEADS)).float(), []

    def watched(q, k, v, eps):
        met.append(({q.dtype, k.dtype, v.dtype}, torch.is_autocast_enabled("cpu")))
        return linear_attention(q, k, v, eps)

    monkeypatch.setattr(relu, "linear_attention", watched)
    with torch.autocast("cpu", torch.bfloat16):
        assert part.forward_stage(tokens().float(), LAYOUT).dtype == torch.bfloat16
    assert met == [({torch.float32}, False)]


def test_linears_start_xavier_uniform_and_convolutions_as_pytorchs():
    torch.manual_seed(0)
    for part, fan_in in ((LiTAttention(48, 3), 25), (MixFFN(48), 9)):
        assert part.depthwise.weight.detach().abs().max() == pytest.approx(fan_in**-0.5, rel=0.05)
    for part in (LiTAttention(48, 3), SANAAttention(48, 3)):
        assert part.qkv.weight.detach().abs().max() == pytest.approx((6 / (4 * 48)) ** 0.5, rel=0.05)
        assert part.proj.weight.detach().abs().max() == pytest.approx((6 / (2 * 48)) ** 0.5, rel=0.05)
        assert not part.proj.bias.any()


@zoo.part("class_conditioner", "captions")
class Captions(ClassConditioner):
    """Features of a text through an MLP and a norm: SANA's, for its counts."""

    gives = frozenset({"context"})

    def __init__(self, dim: int, *, length: int = 300, features: int = 2304) -> None:
        super().__init__()
        self.size = (length, features)
        self.fc1, self.fc2 = Linear(features, dim), Linear(dim, dim)
        self.norm = RMSNorm(dim, affine=True)

    def forward(self, labels):
        return ClassCondition(context=self.norm(self.fc2(F.gelu(self.fc1(labels), approximate="tanh"))))

    def null(self, labels):
        return torch.zeros_like(labels)

    def example_labels(self, batch, device=None):
        return torch.ones(batch, *self.size, device=device)

    def check_labels(self, labels, batch):
        """Nothing is ever asked for here but a count."""


SANA = {
    "0.6B at 256": ((8, 1152, 28, 36), 591.748, 57.1),
    "0.6B at 1024": ((32, 1152, 28, 36), 591.748, 560.7),
    "1.6B": ((32, 2240, 20, 70), 1604.463, None),
}
"""Side of the latents, width, blocks and heads; millions of parameters and billions of multiply-adds."""


@pytest.mark.slow
@pytest.mark.parametrize("size", SANA)
def test_sana_itself_has_its_published_size(size):
    """With text, as published: there is no recipe of it, as zoo has no conditioner that reads text."""
    (side, dim, depth, heads), parameters, macs = SANA[size]
    backbone = {
        "latent": {"channels": 32, "height": side, "width": side},
        **{"num_classes": 0, "dim": dim, "depth": depth, "heads": heads},
        "patch_schedule": {"type": "uniform", "patch": 1},
        "class_conditioner": "captions",
        "block": {"type": "dit", "attention": "sana", "cross": "cross", "mlp": "mix_ffn"},
        "modulation": "adaln_single",
        "position": "none",
    }
    registry = zoo.Registry().with_parts([Captions, SANAAttention, MixFFN])
    cost = zoo.cost({"name": "sana", "backbone": backbone}, registry=registry)
    assert round(cost.params.total / 1e6, 3) == parameters
    assert macs is None or round(cost.macs / 1e9, 1) == macs


def test_a_block_of_sana_has_its_published_size():
    attention, mlp = SANAAttention(768, 24), MixFFN(768)
    assert sum(each.numel() for each in (*attention.parameters(), *mlp.parameters())) == 6_825_984
