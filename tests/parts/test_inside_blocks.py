"""Attention, MLPs and norms, the parts inside a block: what they compute, and how a block is put together of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.parts import Group, Layout, Rotary, by_head, rotate, width_of_head
from zoo.parts.attentions import CrossAttention, SoftmaxAttention
from zoo.parts.blocks import DiTBlock
from zoo.parts.mlps import GELUMLP, SwiGLU, hidden_width
from zoo.parts.norms import LayerNorm, RMSNorm
from zoo.registry import Registry
from zoo.testing.cases import randomise

LAYOUT = Layout(m=0, grid=(2, 3), patch=(1, 1))


def random(part, seed=0):
    part = part.double()
    randomise(part, seed)
    return part


def tokens_of(batch: int = 2, count: int = 6, dim: int = 16) -> Tensor:
    return torch.randn(batch, count, dim, dtype=torch.float64)


def angles_of(*shape: int) -> Rotary:
    angles = torch.randn(*shape, dtype=torch.float64).repeat_interleave(2, dim=-1)
    return Rotary(angles.cos(), angles.sin())


def of(part, tokens: Tensor, **changes) -> Tensor:
    """What an attention gives for tokens of one stage."""
    return part.forward_stage(tokens, replace(LAYOUT, **changes))


class TestRotate:
    def test_a_pair_is_a_complex_number_times_its_phase(self):
        x, rotary = torch.randn(2, 3, 1 + 6, 8, dtype=torch.float64), angles_of(6, 4)
        turned = rotate(x, rotary, 1)
        phase = torch.complex(rotary.cos[:, ::2], rotary.sin[:, ::2])
        expected = torch.view_as_complex(x[:, :, 1:].unflatten(-1, (4, 2)).contiguous()) * phase
        assert torch.allclose(turned[:, :, 1:], torch.view_as_real(expected).flatten(-2), atol=1e-12)
        assert torch.equal(turned[:, :, :1], x[:, :, :1])

    def test_angles_of_every_sample_are_its_own(self):
        x, rotary = torch.randn(2, 3, 6, 8, dtype=torch.float64), angles_of(2, 6, 4)
        each = [rotate(x[index : index + 1], Rotary(*(table[index] for table in rotary)), 0) for index in range(len(x))]
        assert torch.equal(rotate(x, rotary, 0), torch.cat(each))

    def test_keeps_the_dtype(self):
        assert rotate(torch.randn(1, 1, 3, 4, dtype=torch.bfloat16), angles_of(2, 2), 1).dtype == torch.bfloat16


class TestSoftmax:
    def test_is_attention_by_hand(self):
        part, tokens = random(SoftmaxAttention(16, 2)), tokens_of()
        q, k, v = part.qkv(tokens).chunk(3, dim=-1)
        heads = []
        for each in (slice(0, 8), slice(8, 16)):
            weights = (q[..., each] @ k[..., each].transpose(1, 2) / 8**0.5).softmax(dim=-1)
            heads.append(weights @ v[..., each])
        assert torch.allclose(of(part, tokens), part.proj(torch.cat(heads, dim=-1)), atol=1e-12)

    def test_turns_by_what_the_positions_give_after_the_norm(self):
        part, tokens = random(SoftmaxAttention(16, 2, qk_norm=lambda dim: RMSNorm(dim, affine=True))), tokens_of()
        assert part.q_norm.weight.shape == (8,)
        still = Rotary(torch.ones(6, 8, dtype=torch.float64), torch.zeros(6, 8, dtype=torch.float64))
        assert torch.allclose(of(part, tokens, rotary=still), of(part, tokens))
        same = Rotary(*(table[:1].expand(6, 8) for table in angles_of(6, 4)))  # all turned alike: nothing is relative
        assert torch.allclose(of(part, tokens, rotary=same), of(part, tokens))
        assert not torch.allclose(of(part, tokens, rotary=angles_of(6, 4)), of(part, tokens))

    def test_normalised_queries_do_not_know_their_length(self):
        part, tokens = random(SoftmaxAttention(16, 2, qk_norm=RMSNorm, bias=False)), tokens_of()
        before = of(part, tokens)
        with torch.no_grad():
            part.qkv.weight[:32] *= 3
        assert torch.allclose(of(part, tokens), before, atol=1e-4)  # eps aside

    def test_bias_is_of_queries_keys_and_values(self):
        names = dict(SoftmaxAttention(16, 2, bias=False).named_parameters()).keys()
        assert names == {"qkv.weight", "proj.weight", "proj.bias"}


class TestCross:
    def test_sees_only_what_is_there(self):
        part, tokens = random(CrossAttention(16, 2, 12)), tokens_of()
        context = torch.randn(2, 5, 12, dtype=torch.float64)
        mask = torch.tensor([[True] * 5, [True, True, False, False, False]])
        seen = of(part, tokens, context=context, context_mask=mask)
        short = of(part, tokens[1:], context=context[1:, :2])
        assert torch.allclose(seen[1:], short, atol=1e-12)
        assert torch.allclose(seen[:1], of(part, tokens[:1], context=context[:1]), atol=1e-12)

    def test_queries_are_of_the_tokens_and_the_rest_of_the_context(self):
        part = random(CrossAttention(16, 2, 12))
        context = torch.randn(2, 1, 12, dtype=torch.float64)
        out = of(part, tokens_of(), context=context)
        value = part.proj(part.kv(context)[..., 16:])  # with one to see, its value alone counts
        assert torch.allclose(out, value.expand_as(out), atol=1e-12)

    def test_starts_at_nothing_if_asked_to(self):
        assert not CrossAttention(16, 2, init="zero").proj.weight.any()
        assert CrossAttention(16, 2).proj.weight.any()


class TestMLPs:
    def test_swiglu_by_hand(self):
        part, tokens = random(SwiGLU(16, ratio=3.0)), tokens_of()
        gate, value = F.linear(tokens, part.gate_value.weight, part.gate_value.bias).chunk(2, dim=-1)
        assert torch.allclose(part(tokens), part.out(gate / (1 + torch.exp(-gate)) * value), atol=1e-12)
        assert part.out.weight.shape == (16, 32)

    def test_gelu_is_as_asked(self):
        tokens = tokens_of()
        for approximate in ("tanh", "none"):
            part = random(GELUMLP(16, approximate=approximate))
            assert torch.equal(part(tokens), part.fc2(F.gelu(part.fc1(tokens), approximate=approximate)))

    @pytest.mark.parametrize(
        ("width", "multiple_of", "rounding", "expected"),
        [
            (2730.67, 1, "down", 2730),
            (2730.67, 1, "nearest", 2731),
            (20.0, 8, "down", 16),
            (20.1, 8, "nearest", 24),
            (16.1, 8, "up", 24),
            (16.0, 8, "up", 16),
        ],
    )
    def test_the_hidden_width_is_a_multiple(self, width, multiple_of, rounding, expected):
        assert hidden_width(width, multiple_of, rounding) == expected

    @pytest.mark.parametrize("part", [GELUMLP, SwiGLU])
    def test_no_hidden_width_is_refused(self, part):
        with pytest.raises(ValueError, match=r"0\.\d+ hidden units, rounded down to a multiple of 8, are none"):
            part(8, ratio=0.01, multiple_of=8)

    @pytest.mark.parametrize("part", [GELUMLP, SwiGLU])
    def test_bias_may_be_left_out(self, part):
        assert all(name.endswith("weight") for name, _ in part(8, bias=False).named_parameters())

    @pytest.mark.parametrize("entry", Registry().entries("mlp"), ids=lambda entry: entry.name)
    def test_what_is_per_token_does_not_mind_the_order(self, entry):
        part, tokens, order = random(entry.cls(16)), tokens_of(), torch.randperm(6)
        assert part.per_token
        assert torch.allclose(part(tokens[:, order], LAYOUT), part(tokens, LAYOUT)[:, order], atol=1e-12)


class TestNorms:
    def test_layer(self):
        tokens = tokens_of()
        plain = (tokens - tokens.mean(-1, keepdim=True)) / (tokens.var(-1, keepdim=True, correction=0) + 1e-6).sqrt()
        assert torch.allclose(LayerNorm(16)(tokens), plain)
        part = random(LayerNorm(16, affine=True))
        assert torch.allclose(part(tokens), plain * part.weight + part.bias)

    def test_rms(self):
        tokens = tokens_of()
        plain = tokens / (tokens.square().mean(-1, keepdim=True) + 0.5).sqrt()
        assert torch.allclose(RMSNorm(16, eps=0.5)(tokens), plain)
        part = random(RMSNorm(16, affine=True, eps=0.5))
        assert torch.allclose(part(tokens), plain * part.weight)

    @pytest.mark.parametrize("part", [LayerNorm, RMSNorm])
    def test_has_weights_only_if_asked_to(self, part):
        assert not part(16).state_dict()
        assert part(16, affine=True)(torch.ones(1, 16)).isfinite().all()

    @pytest.mark.parametrize("part", [LayerNorm, RMSNorm])
    def test_takes_narrow_queries_with_wide_weights(self, part):
        assert part(8, affine=True)(torch.randn(1, 8, dtype=torch.bfloat16)).dtype == torch.bfloat16


class TestDiTBlock:
    @pytest.fixture
    def vectors(self):
        return tuple(torch.randn(6, 2, 16, dtype=torch.float64))

    def test_the_published_layers_are_the_default(self):
        assert [name.removesuffix(".weight") for name in DiTBlock(16, 2).state_dict() if "bias" not in name] == [
            "attention.qkv", "attention.proj", "mlp.fc1", "mlp.fc2"
        ]  # fmt: skip

    def test_is_put_together_of_classes(self, vectors):
        block = random(DiTBlock(16, 2, attention=SoftmaxAttention, mlp=SwiGLU, norm=RMSNorm))
        tokens = tokens_of()
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = (each.unsqueeze(1) for each in vectors)
        h = tokens + gate * block.attention.forward_stage(RMSNorm(16)(tokens) * (1 + scale) + shift, LAYOUT)
        expected = h + mlp_gate * block.mlp(RMSNorm(16)(h) * (1 + mlp_scale) + mlp_shift)
        assert torch.allclose(block.forward_stage(tokens, vectors, LAYOUT), expected, atol=1e-12)

    def test_cross_attention_stands_between_as_it_is(self, vectors):
        block = random(DiTBlock(16, 2, cross=CrossAttention))
        layout = replace(LAYOUT, context=torch.randn(2, 4, 16, dtype=torch.float64))
        tokens, without = tokens_of(), DiTBlock(16, 2).double()
        without.load_state_dict({key: value for key, value in block.state_dict().items() if "cross" not in key})
        no_mlp = (*vectors[:5], torch.zeros(2, 16, dtype=torch.float64))
        attended = without.forward_stage(tokens, no_mlp, layout)
        assert torch.allclose(
            block.forward_stage(tokens, no_mlp, layout),
            attended + block.cross.forward_stage(attended, layout),
            atol=1e-12,
        )

    def test_without_shift_it_takes_four_vectors(self, vectors):
        block = random(DiTBlock(16, 2, shift=False))
        assert block.modulation_vectors == 4
        shifted, tokens, nothing = DiTBlock(16, 2).double(), tokens_of(), torch.zeros(2, 16, dtype=torch.float64)
        shifted.load_state_dict(block.state_dict())
        scale1, gate1, scale2, gate2 = vectors[:4]
        expected = shifted.forward_stage(tokens, (nothing, scale1, gate1, nothing, scale2, gate2), LAYOUT)
        assert torch.allclose(block.forward_stage(tokens, vectors[:4], LAYOUT), expected, atol=1e-12)

    def test_linears_run_once_for_all_groups(self, vectors):
        block, calls = random(DiTBlock(16, 2)), []
        for name, module in block.named_modules():
            if isinstance(module, torch.nn.Linear):
                module.register_forward_hook(lambda *_, name=name: calls.append(name))
        block([Group(tokens_of(2), vectors, LAYOUT), Group(tokens_of(2), vectors, LAYOUT)])
        assert calls == ["attention.qkv", "attention.proj", "mlp.fc1", "mlp.fc2"]

    @pytest.mark.parametrize("mixed_in", [False, True])
    def test_what_derives_from_it_and_writes_one_stage_alone_is_heard(self, vectors, mixed_in):
        class Turns:
            def forward_stage(self, tokens, vectors, layout, *taken):
                return -DiTBlock.forward_stage(self, tokens, vectors, layout)

        class Mixed(Turns, DiTBlock):
            pass

        class Turned(DiTBlock):
            forward_stage = Turns.forward_stage

        block, plain, tokens = random(Turned(16, 2)), random(DiTBlock(16, 2)), tokens_of()
        group = Group(tokens, vectors, LAYOUT)
        assert torch.equal(block([group])[0], -plain([group])[0])


def test_tensors_are_split_by_head():
    x = torch.arange(2 * 3 * 24.0).view(2, 3, 24)
    q, k, v = by_head(x, 4)
    assert torch.equal(k[1, 3, 2], x[1, 2, 14:16])  # behind the 8 columns of q and 6 of the heads before it
    (whole,) = by_head(x, 4, 1)
    assert torch.equal(whole.transpose(1, 2).flatten(2), x)
    assert q.shape == v.shape == (2, 4, 3, width_of_head(8, 4))
    with pytest.raises(ValueError, match="dim 8 is not divisible by heads 3"):
        width_of_head(8, 3)
