"""List what zoo says when something is wrong: every error message in its code.

    python tools/messages.py           # say whether tests/messages.txt is what the code has, and exit 1 if not
    python tools/messages.py --write   # and write it

Read from the code without running it: what is put in at run time stands between braces, by its name alone.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
LISTED = ROOT / "tests" / "messages.txt"

OWN = {
    node.name
    for node in ast.parse((ROOT / "zoo" / "errors.py").read_text(encoding="utf-8")).body
    if isinstance(node, ast.ClassDef)
}
"""The errors that a user can meet."""

OPTIONS = {"ValueError", "TypeError"}
"""What constructors of parts and calls from Python are refused with; recipes show it behind the key."""

Texts = Mapping[str, list[str]]
"""What names are assigned, where that is text."""


def messages() -> Iterator[tuple[str, str]]:
    """The file below zoo/ and the text of each message, in the order of the code."""
    for path in sorted((ROOT / "zoo").rglob("*.py")):
        if path.parts[-2] != "package":  # what zoo new-plugin writes is of its reader
            place = path.relative_to(ROOT / "zoo").as_posix()
            yield from ((place, text) for text in in_code(path.read_text(encoding="utf-8")))


def in_code(code: str) -> Iterator[str]:
    """The text of each message in a file, once."""
    yield from dict.fromkeys(_of_body(ast.parse(code), {}))


def _of_body(body: ast.AST, outer: Texts) -> Iterator[str]:
    """The messages of a module, class or function, which knows the texts that are assigned around it."""
    known = {**outer, **_assigned(body, outer)}
    for node in _within(body):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield from _of_body(node, known)
        elif isinstance(node, ast.Call) and node.args and _name(node.func) in OWN | OPTIONS:
            below = ":" * (_name(node.func) == "WeightsError" and len(node.args) > 1)  # problems, in lines of their own
            yield from (text + below for each in _problems(node) for text in _texts(each, known))


def _within(body: ast.AST) -> Iterator[ast.AST]:
    """All nodes below, but for those of functions and classes in it, which stand for themselves."""
    for child in ast.iter_child_nodes(body):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.ClassDef):
            yield from _within(child)


def _assigned(body: ast.AST, outer: Texts) -> dict[str, list[str]]:
    """Names that text is assigned to."""
    found: dict[str, list[str]] = {}
    for node in _within(body):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            texts = _texts(node.value, {**outer, **found})
            if not all(text.startswith("{") and text.endswith("}") for text in texts):
                found.setdefault(node.targets[0].id, []).extend(texts)
    return found


def _problems(call: ast.Call) -> list[ast.expr]:
    """The message that an error is made with, or each of the problems in a list; of pairs, what is said there."""
    listed = call.args[0]
    if not isinstance(listed, ast.List):
        return [listed]
    return [each.elts[1] if isinstance(each, ast.Tuple) else each for each in listed.elts]


def _texts(value: ast.expr, known: Texts) -> list[str]:
    """The texts that an expression may be."""
    match value:
        case ast.Constant(value=str() as text):
            return [text]
        case ast.JoinedStr(values=parts):
            return _joined([_texts(part, known) for part in parts])
        case ast.FormattedValue(value=inside):
            return _texts(inside, known)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _joined([_texts(left, known), _texts(right, known)])
        case ast.IfExp(body=one, orelse=other):
            return [*_texts(one, known), *_texts(other, known)]
        case ast.Name(id=name) if name in known:
            return known[name]
    return [f"{{{_name(value) or '...'}}}"]


def _joined(parts: list[list[str]]) -> list[str]:
    """Each text with each that may follow."""
    whole = [""]
    for texts in parts:
        whole = [before + text for before in whole for text in texts]
    return whole


def _name(value: ast.expr) -> str:
    """What an expression is called in a message: the name of what is read or called last."""
    match value:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Call(func=func, args=[first, *_]) if hasattr(builtins, _name(func)) or _name(func) in SHOWING:
            return _name(first)
        case ast.Call(func=ast.Attribute(value=ast.Constant(), attr="join"), args=[listed]):
            return _name(listed)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return f"{_name(left) or '...'}/{_name(right) or '...'}"
        case ast.Call(func=inside) | ast.Subscript(value=inside):
            return _name(inside)
    return ""


SHOWING = {"listed", "shown", "printable", "words_of", "in_words", "first_line", "with_article", "dotted", "shortened"}
"""Functions that show what they are given."""


def lines() -> list[str]:
    """What the list holds: a line for each message."""
    return sorted({f"{place}: {text!a}" for place, text in messages()})


def main(arguments: list[str] | None = None) -> int:
    """Run the tool; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the list")
    write = parser.parse_args(arguments).write
    now = "".join(f"{line}\n" for line in lines())
    if write:
        LISTED.write_text(now, encoding="utf-8")
    same = LISTED.is_file() and LISTED.read_text(encoding="utf-8") == now
    if not same:
        print(f"{LISTED.relative_to(ROOT)}: is not what the code has; run python tools/messages.py --write")
    return int(not same)


if __name__ == "__main__":
    sys.exit(main())
