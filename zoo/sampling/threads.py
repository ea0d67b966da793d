"""What a few threads do meanwhile, in order as far as anybody sees: pictures that are written, or read ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

THREADS = 4
"""Few: they are for what leaves Python's lock alone, as making a PNG file does, beside what draws."""

T = TypeVar("T")
S = TypeVar("S")


class Threads:
    """Threads that do what they are handed. What has been handed is done when the block ends, however it ends.

    Args:
        most: of what has been handed, so much may be left to do; who hands more waits.

    Attributes:
        done: how many of those that have been handed are done, as far as has been looked.
    """

    def __init__(self, most: int) -> None:
        self.done = 0
        self._most = most
        self._left: deque[Future[object]] = deque()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="zoo pictures")

    def hand(self, work: Callable[..., object], *arguments: object) -> None:
        """Have ``work`` be called with ``arguments``.

        Raises:
            BaseException: as the first of those handed earlier has failed, if one has by now.
        """
        while self._left and (len(self._left) >= self._most or self._left[0].done()):
            self._look()
        self._left.append(self._pool.submit(work, *arguments))

    def finish(self) -> None:
        """Wait until all is done.

        Raises:
            BaseException: as the first that has failed.
        """
        while self._left:
            self._look()

    def _look(self) -> None:
        self._left.popleft().result()
        self.done += 1

    def __enter__(self) -> Threads:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()


def ahead(work: Callable[[T], S], items: Iterable[T]) -> Iterator[S]:
    """What ``work`` gives of every item, in order; threads are some items ahead, and no more of them in memory.

    Raises:
        BaseException: as the first that has failed.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        left = deque[Future[S]]()
        for item in items:
            left.append(pool.submit(work, item))
            if len(left) > 2 * THREADS:
                yield left.popleft().result()
        while left:
            yield left.popleft().result()
