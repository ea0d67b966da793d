"""One shard of latents: checked when opened, and mapped into memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8
from safetensors import SafetensorError, safe_open
from torch import Tensor

from zoo.data.folders import shown
from zoo.data.latent_index import Layout
from zoo.errors import DataError, printable
from zoo.mapped import named_in_text

_DTYPES = {"float16": "F16", "float32": "F32"}


@dataclass(frozen=True)
class Shard:
    """The tensors of a shard; those that were opened are parts of the file, read when they are touched.

    Attributes:
        moments: means and then log-variances of the posteriors; means alone where the VAE has no posterior.
        moments_flipped: those of the mirrored pictures, if stored.
        labels: class indices.
        ids: names in UTF-8, padded with zeros.
    """

    moments: Float[Tensor, "n P H W"]
    moments_flipped: Float[Tensor, "n P H W"] | None
    labels: Int[Tensor, " n"]
    ids: UInt8[Tensor, "n L"]

    def id(self, row: int) -> str:
        """The name of a sample, printable."""
        return _name(bytes(self.ids[row].tolist()).rstrip(b"\0"))

    def all_ids(self) -> list[str]:
        """The names of all samples, in order, printable."""
        rows = np.ascontiguousarray(self.ids.numpy()).view(f"S{self.ids.shape[1]}").ravel()
        return list(map(_name, rows.tolist()))


def open_shard(path: Path, count: int, layout: Layout) -> Shard:
    """Map a shard, after checking that it is what the index says.

    Raises:
        DataError: it is missing, cannot be read, or is not what the index says.
    """
    planes = [count, layout.planes, layout.height, layout.width]
    moments = {"moments"} | ({"moments_flipped"} if layout.flip == "stored" else set())
    try:
        with named_in_text(path) as named, safe_open(named, "pt") as file:
            for name in sorted(moments | {"labels", "ids"}):
                if name not in file.keys():  # noqa: SIM118 - not a mapping
                    raise DataError(
                        f"{shown(path)}: holds no tensor {name!r}, which the index asks for; extract it again with"
                        " --resume"
                    )
                tensor = file.get_slice(name)
                shape, dtype = tensor.get_shape(), tensor.get_dtype()
                expected = (_DTYPES[layout.dtype], planes)
                if name == "labels":
                    expected = ("I64", [count])
                elif name == "ids":
                    expected = ("U8", [count, shape[1] if len(shape) == 2 else 1])
                if (dtype, shape) != expected:
                    raise DataError(
                        f"{shown(path)}: {name} is {dtype} {shape}, and the index says {expected[0]} {expected[1]};"
                        " extract it again with --resume"
                    )
            tensors = {name: file.get_tensor(name) for name in moments | {"labels", "ids"}}
    except FileNotFoundError:
        raise DataError(f"{shown(path)}: is missing, and the index lists it; extract it again with --resume") from None
    except (SafetensorError, OSError, RuntimeError) as error:
        raise DataError(f"{shown(path)}: cannot be read: {_reason(error)}; extract it again with --resume") from error
    return Shard(tensors["moments"], tensors.get("moments_flipped"), tensors["labels"], tensors["ids"])


def _name(encoded: bytes) -> str:
    return printable(encoded.decode(errors="backslashreplace"))


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())
