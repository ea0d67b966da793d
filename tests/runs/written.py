"""Small checkpoints and run folders, and what becomes of them."""

import torch

from tests.train.small import small
from zoo.runs.checkpoint import latest, save
from zoo.runs.run_folder import RunFolder

RUN = "0123456789abcdef"


def tensors(step=1):
    values = torch.arange(12.0).reshape(3, 4) + step
    return {
        "model": {"weight": values, "turned": values.T, "half": values.bfloat16(), "one": torch.tensor(step)},
        "ema": {"weight": values * 2, "empty": torch.empty(0, 3)},
    }


def write(folder, *steps):
    return [save(folder, step, tensors(step), {"run": RUN, "step": step, "text": "größe"}) for step in steps]


def assert_holds(checkpoint, step):
    assert checkpoint.step == step
    assert checkpoint.state() == {"run": RUN, "step": step, "text": "größe"}
    for name, values in tensors(step).items():
        loaded = checkpoint.tensors(name)
        assert loaded.keys() == values.keys()
        for key, value in values.items():
            assert loaded[key].dtype == value.dtype
            assert torch.equal(loaded[key], value)


def assert_newest(folder, step):
    """``step`` is the newest sound one, and nothing looks like a newer one."""
    found, problems = latest(folder)
    assert problems == []
    assert_holds(found, step)


class Crash(BaseException):
    """The end of the process: nothing catches it, nothing cleans up."""


def folder_of(path, registry, recipe=None):
    recipe = recipe or small(registry=registry)
    folder = RunFolder(path)
    folder.create()
    folder.write(recipe)
    folder.unlock()
    return folder
