"""Files of weights as others write them, and what is said of those that cannot be read."""

from io import BytesIO

import pytest
import torch
from safetensors.torch import save_file

from zoo.errors import WeightsError
from zoo.weights import read_checkpoint

ONE = {"a": torch.arange(1.0, 5.0), "b.c": -torch.ones(2, 3)}


def message(path, **how):
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(path, **how)
    assert (caught.value.exit_code, caught.value.problems) == (3, ())
    start = f"{path}: "
    assert str(caught.value).startswith(start)
    return str(caught.value).removeprefix(start)


def same(tensors, expected=ONE):
    return tensors.keys() == expected.keys() and all(torch.equal(tensors[key], expected[key]) for key in expected)


def as_zip(content=ONE):
    buffer = BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def as_legacy(content=ONE):
    buffer = BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def as_safetensors(folder, content=ONE):
    save_file(content, folder / "sound")
    return (folder / "sound").read_bytes()


DAMAGED = r"is damaged or cut off: .+; copy or download it again"


def assert_refused_as_damaged(path):
    with pytest.raises(WeightsError, match=rf": {DAMAGED}$") as caught:
        read_checkpoint(path)
    assert len(str(caught.value).splitlines()) == 1
