"""Files with a few changes that a disk, a careless hand or a stranger could have made."""

from __future__ import annotations

import json
from random import Random
from typing import Any

TOKENS = (
    *(b"{", b"}", b"[", b"]", b'"', b",", b":", b"\n", b"\0", b"-", b"#", b"&a", b"*a", b"!!python/object:os.system"),
    *(b"null", b"true", b"-1", b"0", b"1e999", b"NaN", b"-Infinity", b"9" * 5000, b"[" * 100_000, b'{"a":' * 100_000),
    *(b"\x1b[2J", b"\xff", "\u202e".encode(), b"../../x", b"/dev/zero", b"\x80\x04", b"\xff" * 8, b"\x7f" * 8),
)
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 0.5, 2**31, 2**63, 10**30, 1e308, float("nan"), float("inf"), "", "x\x1b[2J\n", "../../x"),
    *([], {}, [[]], [1, 2], {"a": 1}, "a" * 10_000, [0] * 1000, {"type": "x"}, "step_00000001", "NaN", "1e999"),
)


def mutated(content: bytes, random: Random) -> bytes:
    """The content with one to three changes: of its bytes, or of a value where it is JSON."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        try:
            values = json.loads(content)
        except (ValueError, RecursionError):
            values = None
        changed = values is not None and random.random() < 0.7
        content = _with_another_value(values, random) if changed else _with_other_bytes(content, random)
    return content


def _with_other_bytes(content: bytes, random: Random) -> bytes:
    place = random.randrange(len(content) + 1)
    if random.random() < 0.5:  # near the start, where headers are
        place = min(place, random.randrange(200))
    length = random.choice((1, 2, 8, random.randrange(len(content) + 1)))
    head, cut, tail = content[:place], content[place : place + length], content[place + length :]
    kind = random.randrange(6)
    if kind == 0:
        return head
    if kind == 1:
        return head + tail
    if kind == 2:
        return head + cut + cut + tail
    if kind == 3:
        return head + random.choice(TOKENS) + cut + tail
    if kind == 4:
        return head + bytes(random.randrange(256) for _ in cut[:16]) + cut[16:] + tail
    return head + bytes([cut[0] ^ 1 << random.randrange(8)]) + cut[1:] + tail if cut else head


def _with_another_value(values: Any, random: Random) -> bytes:
    """One value somewhere inside is another, gone, or there twice under another name."""
    places: list[tuple[Any, Any]] = []

    def visit(value: Any) -> None:
        keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        for key in list(keys):
            places.append((value, key))
            visit(value[key])

    visit(values)
    if not places:
        return json.dumps(random.choice(VALUES)).encode()
    within, key = random.choice(places)
    kind = random.randrange(5)
    if kind == 0:
        del within[key]
    elif kind == 1 and isinstance(within, dict):
        within[random.choice(("", "a", "x\x1b\n", "../x"))] = within[key]
    else:
        within[key] = random.choice(VALUES)
    return json.dumps(values).encode()
