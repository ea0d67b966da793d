"""What is written is what the safetensors library writes, to the byte."""

import pytest
import torch
from safetensors.torch import load, save

from zoo.tensor_bytes import NAMES, PIECE, pieces


def tensors():
    found = {}
    for number, dtype in enumerate(NAMES):
        for shape in [(3, 2), (), (0, 3), (5,)]:
            name = f'{"zxa"[number % 3]}{number}.{len(shape)}.größe "{shape}"'
            found[name] = torch.arange(1, 1 + torch.Size(shape).numel()).reshape(shape).to(dtype)
    return found


@pytest.mark.parametrize("metadata", [None, {"format": "a line\nand \u2028 another"}])
def test_every_kind_of_number(metadata):
    assert b"".join(pieces(tensors(), metadata)) == save(tensors(), metadata)


def test_what_lies_otherwise_in_memory_and_is_trained_is_written_as_it_reads():
    values = {"turned": torch.arange(12.0).reshape(3, 4).T, "trained": torch.ones(2, requires_grad=True)}
    found = load(b"".join(pieces(values)))
    assert all(torch.equal(found[name], values[name]) for name in values)


def test_no_piece_is_large():
    values = {"a": torch.arange(PIECE // 4 * 2 + 1, dtype=torch.int32)}
    header, *data = pieces(values)
    assert [len(each) for each in data] == [PIECE, PIECE, 4]
    assert b"".join((header, *data)) == save(values)


@pytest.mark.parametrize("tensor", [torch.ones(2, dtype=torch.complex128), torch.eye(2).to_sparse()])
def test_what_the_format_does_not_hold_is_refused(tensor):
    with pytest.raises(RuntimeError, match=r"^x: safetensors holds no tensor of "):
        list(pieces({"x": tensor}))


def test_what_is_conjugate_or_negative_by_a_mark_alone_is_written_as_it_reads():
    values = torch.tensor([1 + 2j, 3 - 4j], dtype=torch.complex64)
    marked = {"conjugate": values.conj(), "negative": values.conj().imag, "one": values[:1].conj().imag}
    assert marked["conjugate"].is_conj()
    assert marked["negative"].is_neg()
    found = load(b"".join(pieces(marked)))
    assert all(found[name].tolist() == tensor.tolist() for name, tensor in marked.items())


def test_a_tensor_of_the_name_of_the_metadata_is_refused():
    with pytest.raises(RuntimeError, match=r"^__metadata__: safetensors holds no tensor of this name"):
        list(pieces({"__metadata__": torch.ones(2)}))
