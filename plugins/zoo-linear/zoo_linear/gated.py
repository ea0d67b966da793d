"""Gated linear attention (Yang et al., 2024): a recurrence, computed chunk by chunk.

Letters in shapes: b samples, h heads, T tokens, K key width and V value width of a head, n chunks, c tokens of a chunk.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from inspect import signature

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from zoo_linear.precision import widened

CHUNK = 16
"""Tokens of a chunk, as DiG is trained."""


def gated_linear_attention(
    q: Float[Tensor, "b h T K"],
    k: Float[Tensor, "b h T K"],
    v: Float[Tensor, "b h T V"],
    log_decay: Float[Tensor, "b h T K"],
) -> Float[Tensor, "b h T V"]:
    """What each token reads of those before it and of itself, which fade channel by channel.

    ``S_t = diag(exp(log_decay_t)) S_(t-1) + k_t v_t^T`` from zero, and ``o_t = S_t^T q_t / sqrt(K)``; in float32 or
    wider. On a CUDA device by flash-linear-attention's kernel where that is installed, else by ``chunked``.
    """
    q, k, v, log_decay = widened(q, k, v, log_decay)
    if KERNEL is not None and q.is_cuda and q.dtype == torch.float32 and not torch.compiler.is_compiling():
        return through_kernel(KERNEL, q, k, v, log_decay)
    return chunked(q * q.shape[3] ** -0.5, k, v, log_decay)


def chunked(
    q: Float[Tensor, "b h T K"],
    k: Float[Tensor, "b h T K"],
    v: Float[Tensor, "b h T V"],
    log_decay: Float[Tensor, "b h T K"],
    chunk: int = CHUNK,
) -> Float[Tensor, "b h T V"]:
    """The recurrence without its scale, but for rounding.

    No product of decays is divided by another, but their logarithms are subtracted, and none that is exponentiated is
    above zero: nothing overflows, however fast a channel fades, as long as the logarithms are finite. Their sums
    round as their size does: in float32, values are within 1e-4 of the largest where they add up to tens in a chunk,
    and within some per cent where to thousands.

    Args:
        q: queries.
        k: keys.
        v: values.
        log_decay: none above zero.
        chunk: tokens that see each other by pairs. The state between chunks is a sum.
    """
    length = q.shape[2]
    split = [_split(each, length, chunk) for each in (q, k, v, log_decay)]
    q, k, v, log_decay = split
    since = log_decay.cumsum(dim=3)  # from the beginning of its chunk to each token, that one's own included
    whole = since[:, :, :, -1:]
    added = (k * (whole - since).exp()).mT @ v
    before = (q * since.exp()) @ _states(whole.exp().mT, added)
    within = _scores(q, k, since) @ v
    return (before + within).flatten(2, 3)[:, :, :length]


def _split(x: Float[Tensor, "b h T d"], length: int, chunk: int) -> Float[Tensor, "b h n c d"]:
    """Chunks, the last filled up: zeros add nothing to a state, and a logarithm of zero keeps it."""
    chunks: Tensor = F.pad(x, (0, 0, 0, -int(length) % chunk)).unflatten(2, (-1, chunk))  # type: ignore[no-untyped-call]
    return chunks


def _states(kept: Float[Tensor, "b h n K one"], added: Float[Tensor, "b h n K V"]) -> Float[Tensor, "b h n K V"]:
    """The state before each chunk, of what each keeps of it and adds to it."""
    state = torch.zeros_like(added[:, :, 0])
    states = []
    for keep, add in zip(kept.unbind(2), added.unbind(2), strict=True):
        states.append(state)
        state = torch.addcmul(add, state, keep)
    return torch.stack(states, dim=2)


def _scores(
    q: Float[Tensor, "b h n c K"], k: Float[Tensor, "b h n c K"], since: Float[Tensor, "b h n c K"]
) -> Float[Tensor, "b h n c c"]:
    """What each token of a chunk (rows) reads of each (columns), none of those after it."""
    chunk = since.shape[3]
    later = torch.ones(chunk, chunk, dtype=torch.bool, device=q.device).triu(1).unsqueeze(2)
    faded = (since.unsqueeze(4) - since.unsqueeze(3)).masked_fill(later, -torch.inf).exp() * k.unsqueeze(3)
    return (faded @ q.unsqueeze(5)).squeeze(5)


Kernel = Callable[..., tuple[Tensor, Tensor | None]]


def through_kernel(kernel: Kernel, q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor) -> Tensor:
    """What ``chunk_gla`` of flash-linear-attention returns, whose tokens come before heads: [b, T, h, d]."""
    output, _ = kernel(*(each.transpose(1, 2).contiguous() for each in (q, k, v, log_decay)), scale=q.shape[3] ** -0.5)
    return output.transpose(1, 2)


def takes_tokens_first(kernel: Kernel) -> bool:
    """Whether it takes tokens before heads unless told otherwise: old versions took heads first, and would not say."""
    try:
        known = signature(kernel).parameters
    except (TypeError, ValueError):  # there is none to be read
        return False
    return "cu_seqlens" in known and ("head_first" not in known or known["head_first"].default is False)


def _installed() -> Kernel | None:
    try:
        found: Kernel = import_module("fla.ops.gla").chunk_gla
    except (ImportError, AttributeError):
        return None
    return found if takes_tokens_first(found) else None


KERNEL = _installed()
"""``chunk_gla`` of flash-linear-attention, where one that takes tokens before heads is installed."""
