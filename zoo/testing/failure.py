"""What the author of a part reads where a law is broken: a few lines, the same whatever comes out of the part."""

from __future__ import annotations

import linecache
import re
import textwrap
import traceback
from collections.abc import Collection, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from zoo.testing.law import Law

WIDTH = 160
"""Letters of a line that is wrapped."""

MOST = 420
"""Letters of an error: messages of PyTorch go on for pages."""

ADVICE: Mapping[str, tuple[str, str]] = {
    "dtype": (
        r"same dtype|dtypes? (do not )?match|scalar type|same data type",
        "Bring what meets in one operator to one dtype: make tensors and constants in that of the inputs or parameters,"
        " as torch.zeros(..., dtype=x.dtype), and cast labels to that of the weights.",
    ),
    "device": (
        r"same device|different devices",
        "Make tensors on the device of the inputs, as torch.zeros(..., device=x.device), and keep tables in buffers.",
    ),
    "contiguous": (
        r"view size is not compatible|must be contiguous",
        "Give it a copy of what lies otherwise in memory: to_map(...).contiguous() to nn.GroupNorm, for one; and write"
        " reshape() in place of view().",
    ),
}
"""By a word, what PyTorch says of such an error, and what to do, whatever the law was about in which it came up."""


def told(law: Law[Any], subject: str, error: Exception, roots: Collection[str], detail: str, again: str) -> str:
    """The message: the law and who breaks it, what came out, for what, what to do, and how to see it again.

    Args:
        law: which is broken.
        subject: who breaks it.
        error: what came out of the law.
        roots: top packages, or modules, of the authors' code.
        detail: what it is broken for.
        again: the call that shows the error with its traceback.
    """
    frames = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    found = isinstance(error, AssertionError) and _module(frames[-1][0]).startswith("zoo.testing")
    summary = law.summary.replace("``", "`")
    breaks = f"breaks the law {law.__name__}" if law.required else f"does not keep the law {law.__name__}"
    lines = [
        f"{subject} {breaks}: {summary}",
        *_wrapped(f"{'found' if found else 'fails'}: {_words(error, bare=found)}", 3 if found else 2),
        *([] if found else _place(frames, roots)),
        *_wrapped(detail, 2),
        *_wrapped(f"advice: {law.advice if found else _advice(law, error)}", 2),
        f"  again, with the whole traceback: {again}",
    ]
    return "\n".join(lines)


def _advice(law: Law[Any], error: Exception) -> str:
    """To an error that came out of a part: what is known of its kind, unless the law's own advice speaks of that."""
    for word, (pattern, advice) in ADVICE.items():
        if re.search(pattern, str(error)):
            return law.advice if word in law.advice else advice
    return law.advice


def _wrapped(text: str, lines: int) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent="  ", subsequent_indent="    ", max_lines=lines, placeholder=" ..."
    )


def _words(error: Exception, *, bare: bool) -> str:
    text = " ".join(str(error).split())
    text = text if len(text) <= MOST else f"{text[:MOST]}..."
    return text if bare else f"{type(error).__name__}: {text}".removesuffix(": ")


def _place(frames: list[tuple[FrameType, int]], roots: Collection[str]) -> list[str]:
    """Where the author's own code was, the deepest of it, or else the deepest that is not the kit's."""
    own = [each for each in frames if _module(each[0]).split(".")[0] in roots]
    outside = [each for each in own or frames if not _module(each[0]).startswith("zoo.testing")]
    if not outside:
        return []
    frame, line = outside[-1]
    code = frame.f_code
    text = linecache.getline(code.co_filename, line).strip()
    return [f"    at {Path(code.co_filename).name}:{line}, in {code.co_name}{f': {text}' if text else ''}"]


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
