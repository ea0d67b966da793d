"""Docstrings, tables and links as Markdown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

_SECTION = re.compile(r"(Args|Attributes|Options|Raises|Returns|Yields):")
_CODE = re.compile(r"(``.+?``|`[^`]+`)", re.DOTALL)
_ENTRY = re.compile(r"    (?P<name>\w[\w., ]*): (?P<text>.*)")

WORDS = {"Args": "Takes", "Attributes": "Has", "Options": "Options", "Raises": "Raises", "Returns": "Returns"}
"""What stands above what a section of a docstring says."""


@dataclass(frozen=True)
class Docstring:
    """A docstring in its pieces.

    Attributes:
        text: what is in no section, as Markdown.
        sections: by title, what is said of each name, as Markdown; of no name where a section is plain text.
    """

    text: str
    sections: Mapping[str, Mapping[str, str]]

    @property
    def first(self) -> str:
        """The first sentence."""
        return first_sentence(self.text)

    def lists(self, *but: str) -> Iterator[str]:
        """Every section as a list of its own, but for those of these titles."""
        for title, said in self.sections.items():
            if title in but:
                continue
            yield f"{WORDS.get(title, title)}:\n\n" + "\n".join(
                f"- `{name}`: {text}" if name else f"- {text}" for name, text in said.items()
            )

    def whole(self, *but: str) -> str:
        """All of it, but for sections of these titles."""
        return "\n\n".join([self.text, *self.lists(*but)])


def docstring(documented: object) -> Docstring:
    """That of a class, function or module, or a text that is one."""
    found = documented if isinstance(documented, str) else getattr(documented, "__doc__", None)
    lines, text, sections = inspect.cleandoc(found or "").splitlines(), [], {}
    while lines:
        line = lines.pop(0)
        if _SECTION.fullmatch(line):
            inside = list(takewhile(lambda each: not each or each.startswith(" "), lines))
            del lines[: len(inside)]
            sections[line[:-1]] = dict(_entries(inside))
        else:
            text.append(line)
    return Docstring(_fenced(text), sections)


def _entries(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    name, said = "", []
    for line in filter(None, lines):
        if found := _ENTRY.fullmatch(line):
            if said:
                yield name, escaped(" ".join(said))
            name, said = found["name"], [found["text"]]
        else:
            said.append(line.strip())
    if said:
        yield name, escaped(" ".join(said))


def _fenced(lines: Iterable[str]) -> str:
    """Paragraphs as Markdown; what is indented behind a ``::`` is code."""
    done: list[str] = []
    for block in re.split(r"\n{2,}(?=\S|    )", "\n".join(lines).strip()):
        if done and done[-1].endswith("::") and block.startswith("    "):
            done[-1] = done[-1][:-1]
            done.append(code(inspect.cleandoc(block), "python"))
        else:
            done.append(escaped(block))
    return "\n\n".join(done)


def escaped(text: str) -> str:
    """Prose, of which Markdown changes nothing but what is code."""
    pieces = _CODE.split(text)
    return "".join(each if index % 2 else re.sub(r"([*\\])", r"\\\1", each).replace("<", "&lt;")
                   for index, each in enumerate(pieces))  # fmt: skip


def first_sentence(text: str) -> str:
    """The text up to the first full stop, or colon of a constructor, that ends a sentence, on one line."""
    line = " ".join(text.split("\n\n", 1)[0].split())
    found = re.match(r".+?\.(?=\s+[A-Z`]|$)", line)
    return found[0] if found else line


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; empty where there are no rows."""
    found = [f"| {' | '.join(' '.join(cell.split()) for cell in row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}", *found]) if found else ""


def code(text: str, language: str = "") -> str:
    """A block of code."""
    return f"```{language}\n{text.strip(chr(10))}\n```"


def page(*blocks: str) -> str:
    """Blocks as one page, without those that are empty."""
    return "\n\n".join(block.strip("\n") for block in blocks if block.strip()) + "\n"


def slug(heading: str) -> str:
    """The anchor of a heading, as Python-Markdown makes it."""
    words = re.sub(r"[^\w\s-]", "", heading).strip().lower()
    return re.sub(r"[-\s]+", "-", words)
