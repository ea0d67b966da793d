"""``--kind``: one kind or several, as every command that takes it reads it."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.errors import PluginError, did_you_mean
from zoo.kinds import KINDS

ALL = "all"


def kinds_asked(given: Sequence[str]) -> list[str]:
    """The kinds of one option or several, each with commas in it or not, in zoo's own order.

    Raises:
        PluginError: there is no such kind.
    """
    asked = []
    for each in given:
        words = [word.strip() for word in each.split(",")]
        if "" in words:
            raise PluginError(f"--kind {each!r}: no kind where one is due; such as --kind block,mlp")
        asked += words
    if ALL in asked:
        return list(KINDS)
    for word in asked:
        if word not in KINDS:
            offer = did_you_mean(word, KINDS)
            raise PluginError(f"--kind: there is no kind {word!r}{offer} (there are: {', '.join(KINDS)}, or all)")
    return [kind for kind in KINDS if kind in asked]
