"""Commands in messages, which a user pastes into a shell."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass


@dataclass(frozen=True)
class Commands:
    """Commands of a run.

    Attributes:
        check: looks at its data, and lists what is wrong beside what is left out already.
        go_on: goes on with it.
    """

    check: str
    go_on: str


def command(*words: str | os.PathLike[str]) -> str:
    """A command as one printable line that a shell takes for these words, whatever is in them."""
    return " ".join(_quoted(os.fspath(word)) for word in words)


def _quoted(word: str) -> str:
    """Quoted if need be: as shlex does, or as bash and zsh read what cannot be shown."""
    if word.isprintable():
        return shlex.quote(word)
    shown = (f"\\x{byte:02x}" if byte < 32 or byte > 126 or byte in b"\\'" else chr(byte) for byte in os.fsencode(word))
    return f"$'{''.join(shown)}'"
