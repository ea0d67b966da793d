import sys
from types import SimpleNamespace

import pytest
import torch

from zoo_linear import gated
from zoo_linear.gated import chunked, gated_linear_attention, through_kernel

K, V = 3, 5


def recurrence(q, k, v, log_decay):
    """``S_t = diag(alpha_t) S_(t-1) + k_t v_t^T``, ``o_t = S_t^T q_t``, token by token."""
    state, outputs = torch.zeros(*q.shape[:2], K, V, dtype=q.dtype), []
    for t in range(q.shape[2]):
        state = log_decay[:, :, t].exp().unsqueeze(-1) * state + k[:, :, t].unsqueeze(-1) * v[:, :, t].unsqueeze(-2)
        outputs.append(torch.einsum("bhkv,bhk->bhv", state, q[:, :, t]))
    return torch.stack(outputs, dim=2)


def case(length: int, spread: float = 1.0, dtype: torch.dtype = torch.float64):
    torch.manual_seed(0)
    q, k, log_decay = torch.randn(3, 2, 2, length, K, dtype=dtype)
    v = torch.randn(2, 2, length, V, dtype=dtype)
    inputs = (q, k, v, torch.nn.functional.logsigmoid(spread * log_decay))
    return tuple(each.detach().requires_grad_() for each in inputs)


def gradients(output, inputs):
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
    return torch.autograd.grad((output * weights).sum(), inputs)


@pytest.mark.parametrize("length", [1, 15, 16, 17, 40])
def test_chunks_are_the_recurrence(length):
    inputs = case(length)
    expected, found = recurrence(*inputs), chunked(*inputs)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients(found, inputs), gradients(expected, inputs), rtol=1e-11, atol=1e-11)


def test_the_length_of_chunks_changes_nothing():
    inputs = case(23)
    for chunk in (1, 4, 23, 64):
        torch.testing.assert_close(chunked(*inputs, chunk=chunk), chunked(*inputs), rtol=1e-12, atol=1e-12)


def test_channels_that_fade_at_once_overflow_nowhere():
    """Where products of decays were divided by one another, float32 would end at exp(88)."""
    inputs = case(40, spread=1e4, dtype=torch.float32)
    wide = tuple(each.detach().double().requires_grad_() for each in inputs)
    found, expected = chunked(*inputs), recurrence(*wide)
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-3)
    for own, exact in zip(gradients(found, inputs), gradients(expected, wide), strict=True):
        torch.testing.assert_close(own.double(), exact, rtol=1e-3, atol=1e-3)


def test_what_is_read_is_scaled_and_in_float32_at_least():
    inputs = case(7)
    torch.testing.assert_close(gated_linear_attention(*inputs), recurrence(*inputs) * K**-0.5)
    assert gated_linear_attention(*(each.bfloat16() for each in inputs)).dtype == torch.float32


def test_the_kernel_gets_tokens_before_heads():
    """flash-linear-attention's, which no test runs; in its place one with its layout."""

    def kernel(q, k, v, g, scale):
        swapped = [each.transpose(1, 2) for each in (q, k, v, g)]
        return recurrence(*swapped).transpose(1, 2) * scale, None

    inputs = case(9)
    torch.testing.assert_close(through_kernel(kernel, *inputs), gated_linear_attention(*inputs))


def test_the_kernel_is_for_cuda_alone(monkeypatch):
    monkeypatch.setattr(gated, "KERNEL", None)
    inputs = case(9, dtype=torch.float32)
    plain = gated_linear_attention(*inputs)
    monkeypatch.setattr(gated, "KERNEL", "is not called")
    assert torch.equal(gated_linear_attention(*inputs), plain)


@pytest.mark.parametrize(
    ("kernel", "used"),
    [
        (lambda q, k, v, g, scale=None, cu_seqlens=None, **rest: None, True),
        (lambda q, k, v, g, scale=None, head_first=False, cu_seqlens=None: None, True),
        (lambda q, k, v, g, scale=None, head_first=True, cu_seqlens=None: None, False),
        (lambda q, k, v, g, scale=-1, initial_state=None: None, False),
    ],
    ids=["of today", "heads first if asked", "heads first", "heads first of old"],
)
def test_a_kernel_that_takes_heads_first_is_left_alone(kernel, used, monkeypatch):
    """Such a one would return wrong values, and not complain."""
    monkeypatch.setitem(sys.modules, "fla.ops.gla", SimpleNamespace(chunk_gla=kernel))
    monkeypatch.setitem(sys.modules, "fla.ops", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "fla", SimpleNamespace())
    assert gated._installed() is (kernel if used else None)
