"""The law of torch.compile: one graph, which computes the same and serves again."""

from __future__ import annotations

import gc
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from jaxtyping import config
from torch.fx import GraphModule

from zoo.parts.values import tensors_in
from zoo.testing.asserts import assert_close
from zoo.testing.cases import BATCH, Case
from zoo.testing.law import law


@law(
    "Let forward print nothing, ask no tensor for its value (.item(), if x.sum() > 0), call PyTorch's functions alone,"
    " and change no attribute of self, on which graphs depend.",
    examples=1,
)
def compiles_whole(case: Case) -> None:
    """``torch.compile(fullgraph=True)`` makes one graph of a part, which computes the same and is used again."""
    part, inputs = case.build(), case.inputs(BATCH)
    expected = tensors_in(case.call(part, inputs))
    graphs: list[GraphModule] = []

    def eager(graph: GraphModule, _: Any) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    compiled: Any = torch.compile(case.caller(part), fullgraph=True, dynamic=False, backend=eager)
    for _ in range(2):
        with _no_checks_of_shapes(), _no_log(), _told_where():
            found = tensors_in(compiled(*inputs))
        assert_close(found, expected, "compiled, it computes something else")
        assert len(graphs) <= 1, "a second call of the same shapes is compiled anew"


@cache
def load_compiler() -> None:
    """Have PyTorch load what it loads when something is first compiled or differentiated forwards.

    That takes seconds of a process, which are no part's. What is loaded stays, and is looked through no more for what
    could be freed: tracing asks for that often.
    """
    # RMSNorm is traced into torch/nn/functional.py, a file that the compiler takes .2 s to read.
    layer = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.RMSNorm(2))
    ones = torch.ones(1, 2)
    with _no_log():
        torch.compile(layer, backend=lambda graph, _: graph.forward)(ones)
    torch.func.jvp(layer, (ones,), (ones,))
    gc.collect()
    gc.freeze()


_no_checks_of_shapes = partial(patch.object, config, "jaxtyping_disable", True)
"""Without those of jaxtyping, where an author's tests install them, which no graph can have."""

_no_log = partial(patch.object, logging.getLogger("torch.__trace"), "disabled", True)
"""Without what PyTorch tells tools of a trace, of which pytest would show thousands of lines."""


@contextmanager
def _told_where() -> Iterator[None]:
    """Say of what cannot be traced in which line of the part it is: PyTorch does so at the end of a page."""
    from torch._dynamo.exc import TorchDynamoException  # a second, for those who run other laws alone

    try:
        yield
    except TorchDynamoException as error:
        reason, _, frames = str(error).partition("from user code:")
        lines = re.findall(r'File "(.*)", line (\d+), in (\w+)\n *(.*)', frames)
        if not lines:
            raise
        path, number, name, text = lines[-1]
        place = f"{Path(path).name}:{number}, in {name}: {text}"
        raise AssertionError(f"is not one graph, at {place} ({reason.splitlines()[0]})") from error
