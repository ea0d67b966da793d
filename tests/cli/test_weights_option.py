"""One option says of every command which weights of a run it takes."""

import inspect

import pytest

import zoo
from zoo.cli.common import WhichWeights
from zoo.cli.evaluate import evaluate
from zoo.cli.export import export
from zoo.cli.import_checkpoint import import_checkpoint
from zoo.cli.inflate import inflate
from zoo.cli.sample import sample
from zoo.runs.weights import find_weights, open_weights
from zoo.weights import read_checkpoint


@pytest.mark.parametrize("command", [sample, evaluate, export, inflate, import_checkpoint])
def test_every_command_that_reads_a_run_asks_alike(command):
    parameters = inspect.signature(command, eval_str=True).parameters.values()
    assert [each.default for each in parameters if each.annotation == WhichWeights] == ["ema"]
    assert "raw" not in [each.name for each in parameters]


@pytest.mark.parametrize("function", [zoo.load, find_weights, open_weights, read_checkpoint])
def test_python_asks_alike(function):
    assert inspect.signature(function).parameters["weights"].default == "ema"
