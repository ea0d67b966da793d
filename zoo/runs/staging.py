"""Memory on the CPU for copies of what training changes, from which checkpoints are written while it goes on."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from zoo.distributed.failures import lacks_memory

SLAB = 1 << 28
"""Bytes of memory that are asked for at once: of what is pinned, PyTorch takes the next power of two."""
ALIGNED = 64
"""Bytes, at a multiple of which a tensor begins."""

Shapes = dict[str, tuple[torch.Size, torch.dtype]]


class Staging:
    """Tensors on the CPU, kept from one copy to the next; pinned where they are copied from a GPU.

    They are copied on the stream on which training computes, and so before what it asks for next changes anything:
    nobody waits for the copy but that stream, and who writes.

    Args:
        device: where training computes.
    """

    def __init__(self, device: torch.device) -> None:
        self._pinned = device.type == "cuda"
        self._held: dict[str, tuple[Shapes, dict[str, Tensor]]] = {}
        self._copied: torch.cuda.Event | None = None

    def places(self, files: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, Tensor]] | None:
        """Where the tensors of files go, by file and name; others that were asked for before stay.

        Args:
            files: whole tensors, or shards of them.

        Returns:
            None where there is no memory for them; none is kept then.

        Raises:
            RuntimeError: of PyTorch, where something else than memory fails.
        """
        found = {}
        for file, tensors in files.items():
            shapes = {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
            if file not in self._held or self._held[file][0] != shapes:
                self._held.pop(file, None)  # before there is another
                try:
                    self._held[file] = shapes, self._made(shapes)
                except (RuntimeError, MemoryError) as error:
                    if not lacks_memory(error):  # such as a GPU that has failed, which would fail at each step to come
                        raise
                    self._held.clear()
                    return None
            found[file] = self._held[file][1]
        return found

    def mark(self) -> None:
        """All copies have been asked for."""
        if self._pinned:
            self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._copied.record()

    def wait(self) -> None:
        """Wait, in any thread, until a GPU has made the copies."""
        if self._copied is not None:
            self._copied.synchronize()

    def _made(self, shapes: Shapes) -> dict[str, Tensor]:
        slabs: list[dict[str, int]] = [{}]
        sizes = [0]
        for name, (shape, dtype) in shapes.items():
            size = -(-shape.numel() * dtype.itemsize // ALIGNED) * ALIGNED
            if slabs[-1] and sizes[-1] + size > SLAB:
                slabs.append({})
                sizes.append(0)
            slabs[-1][name] = sizes[-1]
            sizes[-1] += size
        made = {}
        for starts, size in zip(slabs, sizes, strict=True):
            slab = torch.empty(size, dtype=torch.uint8, device="cpu", pin_memory=self._pinned)
            for name, start in starts.items():
                shape, dtype = shapes[name]
                made[name] = slab[start : start + shape.numel() * dtype.itemsize].view(dtype).view(shape)
        return made
