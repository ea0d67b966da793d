"""Blocks that are compiled, each by itself, and that compute their activations anew in the backward pass.

Compiled ones of one class and of equal shapes share a graph, where a whole stage would be traced block by block.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from zoo.errors import ZooError, first_line

GRAPHS = 64
"""Of a class of blocks at most: PyTorch's own limit, 8, counts training and pictures together."""


def compile_blocks(
    blocks: Iterable[nn.Module], backend: str = "inductor", option: str = "train.compile", kept: float = 1.0
) -> None:
    """Compile blocks in place, for fixed shapes and without a break; those that are compiled already stay so.

    Hooks, such as FSDP's, stay outside of the graph. PyTorch's limit of graphs is raised for this thread, to stay so.

    Args:
        blocks: called with the groups of all stages.
        backend: of ``torch.compile``.
        option: of a recipe, which asks for it.
        kept: the share of the activations that is kept for the backward pass, by memory; what is cheapest to compute
            is computed anew. Only of backends that choose what is kept, as inductor does.

    Raises:
        ZooError: there is no such backend; or, when it is called, a block cannot be compiled.
    """
    config: Any = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, GRAPHS)
    for block in blocks:
        if not isinstance(block.forward, Compiled):
            block.forward = Compiled(block, backend, option, kept)


def recompute_blocks(blocks: Iterable[nn.Module]) -> None:
    """Have blocks keep nothing but their inputs for the backward pass, and compute the rest anew, in place."""
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


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

    def __init__(self, block: nn.Module, backend: str, option: str, kept: float) -> None:
        self.name, self.option, self.kept = type(block).__qualname__, option, kept
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
            if self.kept == 1.0:
                return self.forward(*arguments)
            config: Any = torch._functorch.config
            with config.patch(activation_memory_budget=self.kept):  # heeded in the first call, which compiles
                return self.forward(*arguments)
        except torch._dynamo.exc.TorchDynamoException as error:
            raise ZooError(
                f"block {self.name} cannot be compiled whole: {first_line(error)}; mend it, or set {self.option} to"
                " false"
            ) from error
