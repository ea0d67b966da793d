"""Gated linear attention in chunks beside softmax attention: time of a forward and a backward pass, and peak memory.

    python plugins/zoo-linear/bench.py               # in a clone, with the package installed

DiG-B's heads beside DiT-B's, both of width 768, in float32 at batch 1. Every round runs both once, in turn, so that
they meet the same neighbours; a ratio is that of one round, and the table has the medians. On one thread, CPU seconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from zoo_linear.gated import chunked

HEADS, WIDTH = 12, 64


def gated(tokens: int) -> tuple[Callable[..., Tensor], list[Tensor]]:
    """DiG's, on random queries, keys, values and decays."""
    q, k, log_decay = torch.randn(3, 1, HEADS, tokens, WIDTH // 2)
    return chunked, [q, k, torch.randn(1, HEADS, tokens, WIDTH), F.logsigmoid(log_decay) / 16]


def softmax(tokens: int) -> tuple[Callable[..., Tensor], list[Tensor]]:
    """DiT's, on random queries, keys and values."""
    return F.scaled_dot_product_attention, list(torch.randn(3, 1, HEADS, tokens, WIDTH))


def training_pass(attend: Callable[..., Tensor], inputs: list[Tensor]) -> Callable[[], None]:
    """Forward and backward, for gradients of all inputs."""
    leaves = [each.requires_grad_() for each in inputs]

    def run() -> None:
        output = attend(*leaves)
        torch.autograd.grad(output, leaves, torch.ones_like(output))

    return run


def seconds(run: Callable[[], None]) -> float:
    """CPU seconds of this process."""
    start = time.process_time()
    run()
    return time.process_time() - start


def peak_megabytes(run: Callable[[], None]) -> float:
    """The most that PyTorch's allocator has handed out in a run, beyond what was there before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        run()
    events = found.profiler.kineto_results.events()  # the public lists keep no order of time
    held = peak = 0
    for _, change in sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"):
        held += change
        peak = max(peak, held)
    return peak / 2**20


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, nargs="+", default=[256, 1024, 4096])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"PyTorch {torch.__version__}, 1 thread, CPU seconds; medians of {options.rounds} interleaved rounds\n")
    print("| tokens | gated, chunks of 16 | softmax | gated / softmax | peak: gated | softmax | gated / softmax |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for tokens in options.tokens:
        own, other = training_pass(*gated(tokens)), training_pass(*softmax(tokens))
        rounds = [(seconds(own), seconds(other)) for _ in range(options.rounds + 1)][1:]  # the first warms up
        a, b, ratio = (median(each) for each in zip(*((x, y, x / y) for x, y in rounds), strict=True))
        held, beside = peak_megabytes(own), peak_megabytes(other)
        print(
            f"| {tokens} | {1000 * a:.0f} ms | {1000 * b:.0f} ms | {ratio:.2f} x"
            f" | {held:.0f} MB | {beside:.0f} MB | {held / beside:.2f} x |"
        )


if __name__ == "__main__":
    main()
