"""The laws one by one, each with what it keeps, what to do about it, and a part that breaks it."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import FunctionType, ModuleType
from typing import Any

from manual.packages import ROOT
from manual.text import code, docstring, escaped, page, table
from zoo.kinds import BACKBONE_KINDS, KINDS
from zoo.testing import ASSEMBLY_LAWS, LAWS, laws_of
from zoo.testing.format_laws import FORMAT_LAWS
from zoo.testing.law import Law

FORWARD, ASSEMBLIES, FORMATS = "forward", "assemblies", "weight_formats"
"""Pages of laws that are no kind's own."""


@dataclass(frozen=True)
class Breach:
    """What breaks a law, for the tests of the kit: its name, its source, what the kit says of it, and its kind."""

    name: str
    source: str
    says: str = ""
    kind: str = ""


def pages() -> dict[str, tuple[Law[Any], ...]]:
    """The laws of each page, by the page's name."""
    own = {kind: tuple(law for law in laws_of(kind) if law not in LAWS) for kind in KINDS}
    kinds = {kind: found for kind, found in own.items() if found}
    return {FORWARD: LAWS, ASSEMBLIES: ASSEMBLY_LAWS, **kinds, FORMATS: FORMAT_LAWS}


TITLES = {
    FORWARD: ("parts with a forward pass", "These are kept by every part of " + ", ".join(
        f"[{kind}](../parts/{kind}.md)" for kind, record in KINDS.items() if record.has_forward
    ) + ", whatever else its kind asks."),
    ASSEMBLIES: ("assemblies", "Each part of a backbone (" + ", ".join(
        f"[{kind}](../parts/{kind}.md)" for kind in BACKBONE_KINDS
    ) + ") is put into random assemblies with others, which keep these."),
    FORMATS: ("weight formats", "`zoo.testing.check_format` tries them on a format of published weights."),
}  # fmt: skip


def index() -> str:
    """How laws are tried, and all of them in a table."""
    rows = [
        (f"[{law.__name__}]({name}.md#{law.__name__})", title_of(name), escaped(law.summary))
        for name, laws in pages().items()
        for law in laws
    ]
    return page(
        "# Laws",
        "A law is what every part of a kind keeps, whoever wrote it. The kit, `zoo.testing`, draws options, places and"
        " inputs, builds the part and looks. What breaks a law is told with the options that it did so by, and with the"
        " law's advice.",
        code("from zoo.testing import check_part, laws_of_parts\n\n"
             "test_laws = laws_of_parts(MyBlock, MyMLP)  # in a file of tests: a test for every part and law\n"
             "check_part(MyBlock)  # all at once, and an AssertionError for what is broken", "python"),
        "`zoo check` does the same from the command line, of a package or of a file with parts."
        " Beside each law stands a part that breaks it: what the kit's own tests show it to catch. Most of these change"
        " one thing of a part that keeps every law, such as this one:",
        code(inspect.getsource(_tests("broken.modules").Sound), "python"),
        "## All laws",
        table(("law", "of", "what is kept"), rows),
    )  # fmt: skip


def title_of(name: str) -> str:
    """What the laws of a page are of."""
    return TITLES[name][0] if name in TITLES else name


def law_page(name: str) -> str:
    """The laws of a page."""
    if name in TITLES:
        title, words = TITLES[name]
    else:
        title = name
        words = f"Parts of kind [{name}](../parts/{name}.md) keep these"
        more = [FORWARD] * KINDS[name].has_forward + [ASSEMBLIES] * (name in BACKBONE_KINDS)
        words += ", and those of " + " and of ".join(f"[{title_of(each)}]({each}.md)" for each in more) if more else ""
        others = [law for law in laws_of(name) if law in LAWS] if not KINDS[name].has_forward else []
        linked = [f"[{law.__name__}]({FORWARD}.md#{law.__name__})" for law in others]
        words += f", and of those of parts with a forward pass {', '.join(linked)}." if linked else "."
    return page(f"# Laws of {title}", words, *(block for law in pages()[name] for block in _law(name, law)))


def _law(name: str, law: Law[Any]) -> Iterator[str]:
    said = docstring(law.check.__doc__ or "").text.split("\n\n")
    yield f"## {law.__name__}"
    yield "\n\n".join([f"**{escaped(law.summary)}**", *said[1:]])
    if not law.required:
        yield "A part need not keep it: what comes out is reported alone."
    yield f"*Advice*: {escaped(law.advice)}"
    first, *others = breaches(name, law)
    yield f"*Broken by* this one{f', of which the kit says “{escaped(first.says)}”' if first.says else ''}:"
    yield code(first.source, "python")
    if others:
        yield "And by:"
        yield "\n".join(f"- `{each.name}`" + f": “{escaped(each.says)}”" * bool(each.says) for each in others)


def breaches(name: str, law: Law[Any]) -> tuple[Breach, ...]:
    """What the tests of the kit show a law to catch, those of the page's kind first and then the shortest; there is at
    least one."""
    if name == ASSEMBLIES:
        found = _of_assemblies().get(law.__name__, [])
    elif name == FORMATS:
        found = _of_formats().get(law.__name__, [])
    else:
        found = _of_parts().get(id(law), [])
    assert found, f"no test shows that the law {law.__name__} catches what breaks it"
    return tuple(sorted(found, key=lambda each: (each.kind != name, len(each.source))))


@cache
def _of_parts() -> dict[int, list[Breach]]:
    broken = _tests("broken")
    found: dict[int, list[Breach]] = {}
    for each in iter_modules(broken.__path__):
        module = _tests(f"broken.{each.name}")
        for law, cls, says in module.BROKEN:
            source, (kind, _) = _source(sys.modules[cls.__module__], cls), cls.__zoo_part__
            breach = Breach(cls.__qualname__, source, _plain(says), kind)
            found.setdefault(id(law), []).append(breach)
    return found


@cache
def _of_assemblies() -> dict[str, list[Breach]]:
    module = _tests("test_assemblies")
    found: dict[str, list[Breach]] = {}
    for law, cls in module.BROKEN:
        found.setdefault(law.__name__, []).append(Breach(cls.__qualname__, inspect.getsource(cls)))
    for law, method, wrong in module.BROKEN_METHODS:
        source = f"{inspect.getsource(wrong)}\n\nBackbone.{method} = {wrong.__name__}"
        found.setdefault(law.__name__, []).append(Breach(f"Backbone.{method}", source))
    return found


@cache
def _of_formats() -> dict[str, list[Breach]]:
    found: dict[str, list[Breach]] = {}
    for cls, law, says in _tests("test_format_laws").BROKEN:
        found.setdefault(law, []).append(Breach(cls.__qualname__, inspect.getsource(cls), says))
    return found


def _tests(name: str) -> ModuleType:
    """A module of the tests of the kit."""
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    return import_module(f"tests.testing.{name}")


def _source(module: ModuleType, cls: type[Any]) -> str:
    """How a broken part is written: as a class, or as a call that makes one, which is given its name first."""
    try:
        return inspect.getsource(cls)
    except OSError:  # no class statement has its name
        text = inspect.getsource(module)
        calls = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call) and node.args)
        made = next(call for call in calls if ast.unparse(call.args[0]) == repr(cls.__name__))
        written = inspect.cleandoc("\n" + (ast.get_source_segment(text, made, padded=True) or ""))
        return "\n\n\n".join([*_functions(module, made), written])


def _functions(module: ModuleType, made: ast.Call) -> Iterator[str]:
    """The module's own functions that a call is given."""
    for node in (each for argument in made.keywords for each in ast.walk(argument)):
        function = getattr(module, node.id, None) if isinstance(node, ast.Name) else None
        if isinstance(function, FunctionType) and function.__module__ == module.__name__:
            yield inspect.getsource(function).rstrip()


def _plain(pattern: str) -> str:
    """What a regular expression looks for, as plain words."""
    words = re.sub(r"\(\?s\)|\[\\w\.\]\*|\.\*\??", "...", pattern).removeprefix("...")
    words = re.sub(r"\[(\d)\d*\]|(?<!\\)\(([^()|]+)\|[^()]*\)", r"\1\2", words)  # the first of several
    words = words.partition("|")[0]
    return re.sub(r"\\d\+?", "1", re.sub(r"\\([^dws])", r"\1", words))
