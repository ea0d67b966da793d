"""Blocks compiled, each by itself: those of one class and of equal shapes share a graph, where a whole stage would be
traced block by block."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

GRAPHS = 64
"""Of a class of blocks at most: PyTorch's own limit, 8, counts training and pictures together."""


def compile_blocks(blocks: Iterable[nn.Module], backend: str = "inductor") -> None:
    """Compile blocks in place, for fixed shapes and without a break.

    Hooks, such as FSDP's, stay outside of the graph.

    Args:
        blocks: called with the groups of all stages.
        backend: of ``torch.compile``.
    """
    config: Any = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, GRAPHS)
    for block in blocks:
        block.forward = torch.compile(block.forward, backend=backend, dynamic=False, fullgraph=True)
