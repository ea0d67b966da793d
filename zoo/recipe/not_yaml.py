"""What is wrong with text that is not YAML, in words of who wrote it: PyYAML tells the state of its parser."""

from __future__ import annotations

import yaml

_BEGUN = {"while parsing a flow sequence": "[", "while parsing a flow mapping": "{"}
_COLON = (
    "a ':' where none can stand; put text with ': ' in it in quotes, and begin keys that belong together in one column"
)
_WORDS = (
    ("while scanning a quoted scalar", "", "a quote is not closed"),
    ("while scanning an alias", "", "'*' begins no value; put it in quotes"),
    ("while parsing a flow node", "'<stream end>'", "'[' or '{{' is not closed"),
    ("while parsing a block mapping", "'<scalar>'", "text behind a closed quote; put all of it in quotes"),
    ("while parsing a block", "<block end>", "begins in another column than the lines above it; indent it as they are"),
    ("while scanning a simple key", "", "neither 'key: value' nor text that goes on; indent text that does"),
    ("", "mapping values are not allowed", _COLON),
    ("", r"'\t'", "a tab; indent with spaces"),
    ("", "that cannot start any token", "{found} begins no value; put it in quotes"),
)


def in_words(error: yaml.MarkedYAMLError) -> str:
    """What to mend; the parser's own words where it meets what people seldom write."""
    context, problem = error.context or "", error.problem or ""
    if context in _BEGUN:
        begun, ended = error.context_mark, error.problem_mark
        where = f" of line {begun.line + 1}" if begun and ended and begun.line != ended.line else ""
        return f"{_BEGUN[context]!r}{where} is not closed, or a comma is missing"
    for begin, part, words in _WORDS:
        if context.startswith(begin) and part in problem:
            return words.format(found=problem.removeprefix("found character ").split(" that ")[0])
    return " ".join(filter(None, [context, problem]))
