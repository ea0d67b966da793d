"""What a class promises, read off its source: signatures as they are written, what its attributes are."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from manual.text import Docstring, code, docstring, escaped, table
from zoo.kinds import kind_of_base

MUST = "*An author writes it.*"

SPOKEN = ("__len__",)
"""Methods that are told in spite of their underscores."""


@dataclass(frozen=True)
class Method:
    """A method with its signature as the source has it."""

    name: str
    signature: str
    said: Docstring
    is_abstract: bool


@dataclass(frozen=True)
class Attribute:
    """What instances, or the class, say of themselves; ``default`` as the source has it, empty for none."""

    name: str
    type: str
    default: str
    said: str


@cache
def _body(cls: type[Any]) -> tuple[list[ast.stmt], list[str]]:
    lines = inspect.getsource(cls).splitlines()
    indent = len(lines[0]) - len(lines[0].lstrip())
    lines = [line[indent:] for line in lines]
    (node,) = ast.parse("\n".join(lines)).body
    assert isinstance(node, ast.ClassDef)
    return node.body, lines


def methods_of(cls: type[Any]) -> tuple[Method, ...]:
    """Public methods and properties that have a docstring, in their order."""
    body, lines = _body(cls)
    return tuple(
        Method(
            node.name,
            _signature(node, lines),
            docstring(ast.get_docstring(node) or ""),
            any("abstractmethod" in ast.unparse(each) for each in node.decorator_list),
        )
        for node in body
        if isinstance(node, ast.FunctionDef) and _is_told(node.name) and ast.get_docstring(node)
    )


def _is_told(name: str) -> bool:
    return not name.startswith("_") or name in SPOKEN


def _signature(node: ast.FunctionDef, lines: list[str]) -> str:
    marks = [f"@{ast.unparse(each)}" for each in node.decorator_list if "abstract" not in ast.unparse(each)]
    head = inspect.cleandoc("\n" + "\n".join(lines[node.lineno - 1 : node.body[0].lineno - 1]))
    return "\n".join([*marks, re.sub(r"\s+# noqa.*", "", head).removesuffix(":")])


def attributes_of(cls: type[Any]) -> tuple[Attribute, ...]:
    """Public attributes that the class annotates, but for ``kind``."""
    body, _ = _body(cls)
    told = docstring(cls).sections.get("Attributes", {})
    found = []
    for node, after in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign | ast.Assign):
            continue
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        name = ast.unparse(target)
        if name == "kind" or not _is_told(name):
            continue
        said = told.get(name) or _said_after(after)
        kind = ast.unparse(node.annotation) if isinstance(node, ast.AnnAssign) else ""
        found.append(Attribute(name, kind, ast.unparse(node.value) if node.value else "", said))
    return tuple(found)


def _said_after(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return escaped(" ".join(node.value.value.split()))
    return ""


def passed_by(cls: type[Any]) -> tuple[type[Any], ...]:
    """Classes of zoo's that signatures and fields name, of the class and of these: what goes in and comes out.

    Other kinds' base classes are among them, but not what is named by these alone.
    """
    found: list[type[Any]] = []
    for each in (waiting := [cls]):
        for named in _named_by(each):
            if named is not cls and named not in found:
                found.append(named)
                waiting += [] if kind_of_base(named) else [named]
    return tuple(found)


def _named_by(cls: type[Any]) -> Iterator[type[Any]]:
    names = vars(sys.modules[cls.__module__])
    written = [*(method.signature for method in methods_of(cls)), *(each.type for each in attributes_of(cls))]
    for word in re.findall(r"\w+", " ".join(written)):
        named = names.get(word)
        if inspect.isclass(named) and re.match(r"zoo\.(?!recipe\b)", named.__module__):
            yield named


def methods(cls: type[Any], level: str) -> Iterator[str]:
    """Every method under a heading of its own."""
    for method in methods_of(cls):
        told = (code(method.signature, "python"), method.said.whole(), MUST * method.is_abstract)
        yield from (f"{level} {method.name}", *told)


def value(cls: type[Any], level: str) -> Iterator[str]:
    """What passes between parts, under a heading."""
    said = docstring(cls)
    rows = [
        (f"`{each.name}`", f"`{each.type}`" * bool(each.type), f"`{each.default}`" * bool(each.default), each.said)
        for each in attributes_of(cls)
    ]
    yield f"{level} class {cls.__name__}"
    yield said.whole("Attributes")
    yield table(("field", "type", "default", "what it is"), rows)
    for method in methods_of(cls):
        yield from (code(method.signature, "python"), method.said.whole(), MUST * method.is_abstract)
