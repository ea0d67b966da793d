"""Errors that a user can meet. Each knows the exit code that a command ends with."""

from __future__ import annotations

import difflib
import traceback
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from pathlib import PurePath

KeyPath = tuple[str | int, ...]

MOST = 500
"""Letters of somebody else's error that a message holds: those of PyTorch go on for pages."""


class ZooError(ValueError):
    """Something that the user can mend; the message says what, where and how.

    Args:
        lines: of the message, mostly one. What a terminal would act on in the names of a stranger is escaped.
    """

    exit_code = 2

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(map(printable, lines)))


class RecipeError(ZooError):
    """A recipe that cannot be read, or cannot be built. The message has a line for every problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(dict.fromkeys(printable(problem) for problem in problems))
        super().__init__(*self.problems)


class PluginError(ZooError):
    """A plug-in that breaks the rules of registration, or two that claim one name."""


class AuditError(ZooError):
    """An assembly that cannot be counted exactly: an operator is neither counted nor negligible."""


class WeightsError(ZooError):
    """A weight file that cannot be written or read, or does not fit.

    Args:
        message: what, where and how to mend it.
        problems: each of what is wrong, in a line of its own below the message.
    """

    exit_code = 3

    def __init__(self, message: str, problems: Iterable[str] = ()) -> None:
        self.problems = tuple(map(printable, problems))
        super().__init__(message + ":" * bool(self.problems), *(f"  {problem}" for problem in self.problems))


class DataError(ZooError):
    """Data that cannot be read, or does not fit the backbone; the message names the file."""

    exit_code = 3


class SampleError(DataError):
    """Samples that cannot be trained on; the message says how to leave them out."""


class MissingFolderError(DataError):
    """A folder of data that is not there."""


class MissingSplitError(DataError):
    """A dataset that has no such split, such as held-out samples."""


class RunError(ZooError):
    """A run folder or a checkpoint that cannot be used."""

    exit_code = 3


class OutputError(RunError):
    """What a command prints cannot be written, though something reads it."""


class ProcessError(RunError):
    """A failure of one process of a job alone, which the others know nothing of."""


class LauncherError(ProcessError):
    """What a launcher tells this process does not say its place among those of its job."""

    exit_code = 2


class FaultError(ZooError):
    """A fault of zoo or of a plug-in on another process of the job, which tells where it is."""

    exit_code = 1


class NumericError(ZooError):
    """A loss or a gradient that is not finite."""

    exit_code = 5


class AllNotFiniteError(NumericError):
    """No sample of a batch of several has a finite loss: the weights are at fault, and not single samples."""


class Preempted(ZooError):  # noqa: N818 - not a mistake of anyone's
    """A run that was asked to stop, and has saved its state."""

    exit_code = 75


class OptionError(ValueError):
    """Raised by a part's constructor when its options do not go together.

    A plain ``ValueError`` does as well; this one also says which option, so that the message carries its line.

    Args:
        problems: pairs of a key path below the part (``("levels", 1, "patch")``; empty for the part itself) and
            what is wrong there.
    """

    def __init__(self, problems: Iterable[tuple[KeyPath, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{dotted(path)}: {text}" if path else text for path, text in self.problems))


def printable(text: str) -> str:
    """``text`` on one line, with what a terminal would act on or cannot show as an escape."""
    if text.isprintable():  # far faster than asking every character, and there may be a million file names
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def lookalike(one: str, other: str) -> str:
    """What to add where two names are told to differ, and look the same; nothing where they do not."""
    same = one != other and unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
    return " (the same letters in another Unicode normalisation)" if same else ""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the known name of these initials, or the nearest; or nothing."""
    meant = near(name, known)
    return "" if meant is None else f"; did you mean {meant!r}?"


def near(name: str, known: Iterable[str]) -> str | None:
    """The known name of these initials, or the nearest; None where none is near."""
    plain = {each.lower().replace("-", "_"): each for each in known}
    given = name.lower().replace("-", "_")
    found = [each for each in plain if "_" in each and "".join(word[:1] for word in each.split("_")) == given]
    found = found or difflib.get_close_matches(given, plain, n=1, cutoff=0.5)
    return plain[found[0]] if found else None


def with_article(noun: str) -> str:
    """``an attention``, ``a block``."""
    return f"an {noun}" if noun[:1].lower() in tuple("aeiou") else f"a {noun}"


def printable_lines(text: str) -> str:
    """``text`` with its lines, each printable."""
    return "\n".join(map(printable, text.split("\n")))


def listed(texts: Collection[str], most: int = 5) -> str:
    """Texts in a line: all, or the first of many and how many more there are."""
    rest = len(texts) - most
    return ", ".join(islice(texts, most)) + (f" and {rest} more" if rest > 0 else "")


def shortened(text: str) -> str:
    """``text``, of which somebody else decides how long it is, within bounds."""
    return text if len(text) <= MOST else f"{text[: MOST - 3]}..."


def text_of(error: BaseException) -> str:
    """An error's message, which may be of somebody else's making; nothing where asking for it fails."""
    try:
        return str(error)
    except Exception:
        return ""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, within bounds; it may have none."""
    return shortened((text_of(error).strip().splitlines() or [""])[0])


def reason_of_network(error: BaseException) -> str:
    """What an error of somebody's network says, on one line; TorchScript's says it last, behind the code."""
    first = first_line(error)
    if "TorchScript" in first:
        return shortened(text_of(error).strip().splitlines()[-1])
    return first or type(error).__name__


def reason_not_saved(error: BaseException) -> str:
    """Why a run could not be saved: what zoo says of it whole, since the command that goes on stands at its end."""
    return str(error) if isinstance(error, RunError) else first_line(error) or type(error).__name__


def words_of(error: BaseException) -> str:
    """An error's message on one line, within bounds; it may have none."""
    return shortened(printable(" ".join(text_of(error).split())))


def in_words(error: BaseException) -> str:
    """An error of somebody's code on one line: ``ValueError: its message``."""
    return f"{type(error).__name__}: {words_of(error)}".removesuffix(": ")


def line_in(error: BaseException, cls: type) -> str:
    """`` (my_mlp.py:12)``: the innermost line of an error that is in a class's own file; nothing where none is."""
    files = {each.__code__.co_filename for each in vars(cls).values() if hasattr(each, "__code__")}
    lines = [each for each in traceback.extract_tb(error.__traceback__) if each.filename in files]
    return f" ({PurePath(lines[-1].filename).name}:{lines[-1].lineno})" if lines else ""


def as_failure(end: BaseException) -> Exception:
    """What a part has raised, as a failure also where it is to end the process: no command of zoo ends so."""
    if isinstance(end, Exception):
        return end
    how = "sys.exit or its like" if isinstance(end, SystemExit) else type(end).__name__
    return RuntimeError(f"a part ends the process, by {how}").with_traceback(end.__traceback__)


def dotted(path: KeyPath) -> str:
    """``("levels", 0, "patch")`` as ``levels.0.patch``, the form that ``--set`` takes."""
    return ".".join(str(key) for key in path)
