"""Blocks compiled, each by itself: those of one class and of equal shapes share a graph, where a whole stage would be
traced block by block."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from zoo.errors import ZooError, first_line

GRAPHS = 64
"""Of a class of blocks at most: PyTorch's own limit, 8, counts training and pictures together."""


def compile_blocks(blocks: Iterable[nn.Module], backend: str = "inductor", option: str = "train.compile") -> None:
    """Compile blocks in place, for fixed shapes and without a break; those that are compiled already stay so.

    Hooks, such as FSDP's, stay outside of the graph. PyTorch's limit of graphs is raised for this thread, to stay so.

    Args:
        blocks: called with the groups of all stages.
        backend: of ``torch.compile``.
        option: of a recipe, which asks for it.

    Raises:
        ZooError: there is no such backend; or, when it is called, a block cannot be compiled.
    """
    config: Any = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, GRAPHS)
    for block in blocks:
        if not isinstance(block.forward, Compiled):
            block.forward = Compiled(block, backend, option)


def check_backend(backend: str, where: str = "") -> None:
    """Refuse a backend that PyTorch does not know, which it takes a second to tell; ``where`` stands in front.

    Raises:
        ZooError: says which there are.
    """
    backends = torch.compiler.list_backends(exclude_tags=())
    if backend not in backends:
        raise ZooError(f"{where}train.compile_backend: there is no {backend!r}; there are: {', '.join(backends)}")


class Compiled:
    """The forward pass of a block, compiled."""

    def __init__(self, block: nn.Module, backend: str, option: str) -> None:
        self.name, self.option = type(block).__qualname__, option
        try:
            self.forward = torch.compile(block.forward, backend=backend, dynamic=False, fullgraph=True)
        except torch._dynamo.exc.InvalidBackend:
            check_backend(backend)
            raise

    def __call__(self, *arguments: Any) -> Any:
        """What the block gives.

        Raises:
            ZooError: it cannot be compiled.
        """
        try:
            return self.forward(*arguments)
        except torch._dynamo.exc.TorchDynamoException as error:
            raise ZooError(
                f"block {self.name} cannot be compiled whole: {first_line(error)}; mend it, or set {self.option} to"
                " false"
            ) from error
