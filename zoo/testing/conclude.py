"""What comes of every law of some parts, told: one after the other, as a report in JSON, and as a badge."""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined

from zoo.errors import DataError, first_line
from zoo.plugins import zoo_version
from zoo.testing.conformance import Check
from zoo.testing.law import FollowsError, NotRun

State = Literal["kept", "broken", "not required", "not run"]
"""``not required``: broken by a part that need not keep it; ``not run``: files or a device are not there."""

MOST_KINDS = 3
"""That a badge names."""


@dataclass(frozen=True)
class Outcome:
    """What came of a law and a part.

    Attributes:
        kind: of the part.
        part: its name.
        law: its name.
        state: what came of it.
        seconds: that it took; the first law of a part draws the cases, too.
        message: why it was not kept.
        follows: the law that the part breaks as well, if it breaks this one for that reason alone.
        likely: whether that is likely, and not known.
    """

    kind: str
    part: str
    law: str
    state: State
    seconds: float
    message: str = ""
    follows: str = ""
    likely: bool = False


def outcome(check: Check, again: str, clock: Callable[[], float] = time.perf_counter) -> Outcome:
    """Check a law of a part, and say what came of it.

    Args:
        check: what to check.
        again: what to run to see it again.
        clock: tells the time in seconds.
    """
    start = clock()
    state: State = "kept"
    message, follows, likely = "", "", False
    try:
        check.run(again)
    except NotRun as why:
        state, message = "not run", str(why)
    except DataError as error:
        state, message = "not run", f"needs files: {first_line(error)}"
    except AssertionError as error:
        state, message = "broken" if check.law.required else "not required", str(error)
        follows, likely = (error.of, error.likely) if isinstance(error, FollowsError) else ("", False)
    entry = check.part.entry
    seconds = round(clock() - start, 3)
    return Outcome(entry.kind, entry.name, check.law_name, state, seconds, message, follows, likely)


@dataclass(frozen=True)
class Conclusion:
    """What came of all laws of some parts.

    Attributes:
        of: whose parts: packages with their versions, or files.
        outcomes: of every law and part, part by part.
        loading: seconds that PyTorch's compiler took to load, which are no part's.
    """

    of: Sequence[str]
    outcomes: Sequence[Outcome]
    loading: float = 0.0

    @property
    def counts(self) -> Counter[str]:
        """How many laws came to each state."""
        return Counter(each.state for each in self.outcomes)

    @property
    def is_sound(self) -> bool:
        """Whether some law is kept, and none is broken that has to be."""
        return self.counts["kept"] > 0 and not self.counts["broken"]

    def by_part(self) -> Iterator[tuple[tuple[str, str], list[Outcome]]]:
        """The outcomes of each part, by its kind and name."""
        parts = dict.fromkeys((each.kind, each.part) for each in self.outcomes)
        yield from ((part, [each for each in self.outcomes if (each.kind, each.part) == part]) for part in parts)

    def report(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "of": list(self.of),
            "diffusion-zoo": zoo_version(),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "laws": {state: self.counts[state] for state in ("kept", "broken", "not required", "not run")},
            "seconds": round(sum(each.seconds for each in self.outcomes), 3),
            "seconds_to_load_the_compiler": round(self.loading, 3),
            "outcomes": [asdict(each) for each in self.outcomes],
        }

    def words(self) -> str:
        """In a line: ``134 laws kept · block, mlp · torch 2.13``."""
        kinds = dict.fromkeys(each.kind for each in self.outcomes)
        named = ", ".join(kinds) if len(kinds) <= MOST_KINDS else f"{len(kinds)} kinds"
        kept, broken = self.counts["kept"], self.counts["broken"]
        laws = f"{kept} law{'s' * (kept != 1)} kept" if kept else "nothing checked"
        if broken:
            laws = f"{broken} of {kept + broken} laws broken"
        return f"{laws} · {named} · torch {'.'.join(torch.__version__.split('.')[:2])}"

    def badge(self) -> str:
        """The same as an SVG, for a README: green; red where a law is broken, and grey where nothing was checked."""
        environment = Environment(
            loader=PackageLoader("zoo.testing", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        colour = "#2e7d32" if self.is_sound else "#b71c1c" if self.counts["broken"] else "#757575"
        return environment.get_template("badge.svg.jinja").render(words=self.words(), colour=colour)
