"""Strangers' blocks compile whole; long skips and routes cost a graph or two, however many blocks there are."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.strangers.compiled import BLOCKS, COMPILED

pytestmark = pytest.mark.slow  # torch.compile takes seconds, whatever it compiles


@pytest.fixture(scope="module")
def told() -> dict[str, dict[str, Any]]:
    """What came of each, by its name."""
    command = [sys.executable, "-m", "tests.strangers.compiled"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["parts"]: line for line in lines}


@pytest.mark.parametrize("parts", COMPILED)
def test_compiled_blocks_compute_the_same(told: dict[str, dict[str, Any]], parts: str) -> None:
    assert told[parts]["error"] < 1e-9
    assert told[parts]["graphs"] >= 1


def test_long_skips_cost_two_graphs_at_most(told: dict[str, dict[str, Any]]) -> None:
    stack = told["stack"]
    assert 1 <= stack["graphs"] < BLOCKS / 4
    assert stack["graphs"] < stack["with skips"] <= stack["graphs"] + 2


def test_a_route_costs_as_many_graphs_again_at_most(told: dict[str, dict[str, Any]]) -> None:
    router = told["router"]
    assert 1 <= router["graphs"] < BLOCKS / 4
    assert router["graphs"] < router["with a route"] <= 2 * router["graphs"]


def test_a_pass_compiles_whole(told: dict[str, dict[str, Any]]) -> None:
    """With what is checked of labels and scores on its way."""
    assert told["whole"]["graphs"] == 1
    assert told["whole"]["error"] < 1e-9
