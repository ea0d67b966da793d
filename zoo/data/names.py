"""Names of many samples, in one block of bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int


@dataclass(frozen=True)
class Names:
    """Not a list: forked data workers would copy every page of a million strings.

    Attributes:
        text: all of them, one behind the other.
        ends: where in it each ends [n].
    """

    text: bytes
    ends: Int[np.ndarray, " n"]

    @classmethod
    def of(cls, names: Iterable[bytes]) -> Names:
        """These names, in order."""
        all_of_them = list(names)
        return cls(b"".join(all_of_them), np.cumsum([len(name) for name in all_of_them], dtype=np.int64))

    @classmethod
    def join(cls, parts: Sequence[Names]) -> Names:
        """Those of the first, then of the second, and so on."""
        starts = np.cumsum([0, *(len(part.text) for part in parts)])
        ends = [part.ends + start for part, start in zip(parts, starts[:-1], strict=True)]
        return cls(b"".join(part.text for part in parts), np.concatenate(ends))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> bytes:
        return self.text[self.ends[index - 1] if index else 0 : self.ends[index]]

    def where(self, mask: Bool[np.ndarray, " n"]) -> Names:
        """Those that a mask has, in order."""
        return Names.of(self[index] for index in np.flatnonzero(mask).tolist())

    def part(self, first: int, stop: int) -> Names:
        """Those from ``first`` up to ``stop``."""
        start, end = (int(self.ends[place - 1]) if place else 0 for place in (first, stop))
        return Names(self.text[start:end], self.ends[first:stop] - start)
