"""Blocks compiled, each by itself: those of one class and of equal shapes share a graph, where a whole stage would be
traced block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from zoo.errors import ZooError, first_line

GRAPHS = 64
"""Of a class of blocks at most: PyTorch's own limit, 8, counts training and pictures together."""


def compile_blocks(blocks: Iterable[nn.Module], backend: str = "inductor") -> None:
    """Compile blocks in place, for fixed shapes and without a break.

    Hooks, such as FSDP's, stay outside of the graph. PyTorch's limit of graphs is raised for this thread, to stay so.

    Args:
        blocks: called with the groups of all stages.
        backend: of ``torch.compile``.

    Raises:
        ZooError: when it is called, a block cannot be compiled.
    """
    config: Any = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, GRAPHS)
    for block in blocks:
        block.forward = _compiled(block, backend)


def _compiled(block: nn.Module, backend: str) -> Callable[..., Any]:
    forward = torch.compile(block.forward, backend=backend, dynamic=False, fullgraph=True)

    def call(*arguments: Any) -> Any:
        try:
            return forward(*arguments)
        except torch._dynamo.exc.TorchDynamoException as error:
            name, why = type(block).__qualname__, first_line(error)
            raise ZooError(
                f"block {name} cannot be compiled whole: {why}; mend it, or set train.compile to false"
            ) from error

    return call
