"""The bytes of a safetensors file in pieces, which can be hashed as they are written.

An 8-byte length, a header of JSON, and the tensors: those of the largest numbers first, as the library writes them, so
that each begins where its numbers may (https://huggingface.co/docs/safetensors, "Format").
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

PIECE = 1 << 22
"""Bytes of a piece at most: in a processor's cache when they are written after they were hashed."""

NAMES = {
    torch.uint64: "U64",
    torch.int64: "I64",
    torch.float64: "F64",
    torch.complex64: "C64",
    torch.float32: "F32",
    torch.uint32: "U32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.uint16: "U16",
    torch.int16: "I16",
    torch.float8_e8m0fnu: "F8_E8M0",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""What the format calls numbers, in the order in which it has them."""
ORDER = {dtype: place for place, dtype in enumerate(NAMES)}

METADATA = "__metadata__"
"""The key of a header that names no tensor."""


def pieces(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Iterator[bytes | memoryview]:
    """What a file of tensors [any shape] holds, from its beginning to its end.

    Raises:
        RuntimeError: the format has no such numbers, or no tensor of such a name.
    """
    if METADATA in tensors:
        raise RuntimeError(f"{METADATA}: safetensors holds no tensor of this name, which is that of its metadata")
    for name, tensor in tensors.items():
        if tensor.dtype not in NAMES or tensor.layout != torch.strided:
            raise RuntimeError(f"{name}: safetensors holds no tensor of {tensor.dtype}, {tensor.layout}")
    names = sorted(tensors, key=lambda name: (ORDER[tensors[name].dtype], name.encode()))
    header: dict[str, object] = {} if metadata is None else {METADATA: dict(metadata)}
    end = 0
    for name in names:
        begin, end = end, end + tensors[name].nbytes
        tensor = tensors[name]
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for name in names:
        plain = tensors[name].detach().resolve_conj().resolve_neg().cpu().contiguous()
        row = plain.as_strided((plain.numel(),), (1,))  # a single number may have any stride
        data = memoryview(row.view(torch.uint8).numpy().data)
        for start in range(0, len(data), PIECE):
            yield data[start : start + PIECE]
