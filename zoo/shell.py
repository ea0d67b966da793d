"""Commands in messages, which a user pastes into a shell."""

from __future__ import annotations

import os
import shlex


def command(*words: str | os.PathLike[str]) -> str:
    """A command as one printable line that a shell takes for these words, whatever is in them."""
    return " ".join(_quoted(os.fspath(word)) for word in words)


def _quoted(word: str) -> str:
    """Quoted if need be: as shlex does, or as bash and zsh read what cannot be shown."""
    if word.isprintable():
        return shlex.quote(word)
    shown = (f"\\x{byte:02x}" if byte < 32 or byte > 126 or byte in b"\\'" else chr(byte) for byte in os.fsencode(word))
    return f"$'{''.join(shown)}'"
