"""Which real images figures stand beside: figures beside others cannot be compared with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import get_args

from zoo.data import Dataset, Split
from zoo.data.fingerprint import digest
from zoo.data.left_out import open_kept
from zoo.errors import MissingSplitError


def digest_of_real(dataset: Dataset, leave_out: str | tuple[str, ...] | None) -> str:
    """A digest that tells the samples of all splits, as far as they are not left out, from others.

    It is the same for a copy of the files, which need not keep their times.

    Raises:
        DataError: the data, or the list of what is left out, cannot be read.
    """

    def parts() -> Iterator[bytes]:
        for split in get_args(Split):
            with suppress(MissingSplitError):
                source, left_out = open_kept(dataset, split, leave_out)
                yield f"{split} {source.fingerprint().contents()}".encode()
                yield left_out.mask.tobytes()

    return digest(parts())
