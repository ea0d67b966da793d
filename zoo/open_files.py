"""The limit of open files (``ulimit -n``), and how its want is told. Free of torch."""

from __future__ import annotations

import sys

from zoo.errors import ZooError, text_of

NEEDED = 64
"""Of several processes, or of one with data workers. With fewer, threads of libraries print tracebacks without end, and
PyTorch's launcher waits for ever."""

_WORDS = ("Too many open files", "EMFILE", "received 0 items of ancdata")


def are_too_many(error: BaseException) -> bool:
    """Whether an error comes of that limit, which PyTorch and multiprocessing tell in words alone."""
    return any(each in text_of(error) for each in _WORDS)


def refuse_few(who: str, kind: type[ZooError]) -> None:
    """Refuse to begin what is bound to come to that limit.

    Args:
        who: needs more files, for the message.
        kind: of the error.

    Raises:
        ZooError: the limit is too low.
    """
    if sys.platform == "win32":  # which has no such limit
        return
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and limit < NEEDED:
        raise kind(f"{who} need at least {NEEDED} open files, and may have {limit}: raise that by `ulimit -n {NEEDED}`")
