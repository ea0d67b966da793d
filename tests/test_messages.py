"""What zoo says when something is wrong: all of it is listed in messages.txt, in a line each that says how to mend"
" it."""

import re

import messages
import pytest

MENDS = re.compile(
    "; |`|must|should|in place of|such as|needs|there are|installed|did_you_mean|pip install|trust"
    "|(give|set|let|take|choose|write|say|start|unset|raise|convert|put|cd|make|leave|call|extract|mend) "
)
"""What tells how to mend it, or what is right."""

ENDS = re.compile(
    r"\{(error|str_?error|_?reason|reason_of|problems?|message|mistake|what|said|refused|wrong|splitlines|mend|advice"
    r"|first|bad|store|lost|line|refusal|\.\.\.)\}$|:$|^(\{[^{}]*\}[:;, ]*)+$"
)
"""Messages that go on in words of the system, of the part that fails, or of another message here; and those with the
problems in lines below."""

BARE = {
    "there is no such": "the name or path that it stands behind is what to give otherwise",
    "another process of the job has ended": "the message of that process says how to mend it",
    "is not finite": "what to do is said by who reads the sample",
    "no recipe that zoo ships": "what is near is told",
    "is not divisible by heads {heads}": "the level says what to change",
    "recipes hold plain values": "the value is told, and the key",
    "the backbone has no part of kind": "those that there are follow",
    "which {why}": "the state of the plug-in says why, and how to mend it",
    "is made with {values} values": "the signature of the kind follows",
    "(and {...} more)": "the first of them is a message of its own",
}
"""Messages that need no way to mend it, and why."""

REASONS = {
    "evaluate/by_class.py": "why a figure is not told",
    "evaluate/frechet.py": "the same",
    "evaluate/mmd.py": "the same",
    "evaluate/precision_recall.py": "the same",
    "evaluate/judging.py": "the same",
    "data/cache.py": "why the cache is made anew",
    "data/tar_cache.py": "the same",
    "json_files.py": "stands behind the file that cannot be read",
    "runs/metrics_file.py": "the same",
    "runs/starts.py": "the same",
    "runs/judged.py": "the same",
    "recipe/versions.py": "the same",
    "train/resuming.py": "the same",
    "plugins.py": "stands behind the plug-in that is not loaded",
}
"""Files with reasons alone, which other messages give."""


def problem(place: str, text: str) -> str | None:
    """What is wrong with a message."""
    if not text.isprintable():
        return "takes more than a line"
    if re.search(r"\w\.$", text):
        return "ends in a full stop"
    if re.match(r"[A-Z][a-z]+ [a-z]", text):
        return "begins in a capital letter"
    if not (MENDS.search(text) or ENDS.search(text) or place in REASONS or any(each in text for each in BARE)):
        return "says not how to mend it"
    return None


@pytest.fixture(scope="module")
def found() -> list[tuple[str, str]]:
    return list(messages.messages())


def test_every_message_is_listed():
    assert messages.LISTED.read_text("utf-8").splitlines() == messages.lines(), "python tools/messages.py --write"


def test_every_message_is_a_line_that_says_how_to_mend_it(found):
    wrong = {f"{place}: {text}": told for place, text in found if (told := problem(place, text))}
    assert wrong == {}


def test_every_exception_is_one(found):
    bare = [(place, text) for place, text in found if not (MENDS.search(text) or ENDS.search(text))]
    assert [each for each in BARE if not any(each in text for _, text in bare)] == []
    assert REASONS.keys() <= {place for place, _ in bare}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{path}: is damaged", "says not how to mend it"),
        ("{path}: is damaged;\ncopy it again", "takes more than a line"),
        ("{path}: is damaged; copy it again.", "ends in a full stop"),
        ("Something is damaged; copy it again", "begins in a capital letter"),
        ("{path}: is damaged; copy it again", None),
    ],
)
def test_a_poor_message_is_seen(text, told):
    assert problem("weights/files.py", text) == told


CODE = """
GONE = "{path}: is gone"

def told(path, error):
    more = "" if error is None else f" and {len(error.parts)} more"
    if path.is_dir():
        raise WeightsError(f"{path / 'x'}: is a folder{more}", error.problems)
    return RecipeError([GONE, "give " + str(path.name)])
    raise OptionError([(("a", "b"), f"{', '.join(path.parts)}: take {Other(error)}")])
"""


def test_messages_are_read_from_the_code():
    assert list(messages.in_code(CODE)) == [
        "{path/...}: is a folder:",
        "{path/...}: is a folder and {parts} more:",
        "{path}: is gone",
        "give {name}",
        "{parts}: take {Other}",
    ]
