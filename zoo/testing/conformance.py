"""Parts and their laws, one by one: what pytest and ``zoo check`` run for a package."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from packaging.utils import canonicalize_name

from zoo.errors import PluginError, did_you_mean, listed
from zoo.plugins import DISTRIBUTION, Plugin
from zoo.registry import PartEntry, Registry, part_entry
from zoo.testing.cases import Case
from zoo.testing.check import EXAMPLES, hold, part_cases, part_failure
from zoo.testing.law import Law
from zoo.testing.laws import laws_of


class Examined:
    """A part, and the cases that all of its laws are checked on: drawn once, when the first law asks."""

    def __init__(self, entry: PartEntry, examples: int = EXAMPLES) -> None:
        self.entry, self.examples = entry, examples

    @property
    def name(self) -> str:
        """``kind-name``."""
        return f"{self.entry.kind}-{self.entry.name}"

    @cached_property
    def cases(self) -> list[Case]:
        """See ``part_cases``."""
        return part_cases(self.entry, examples=self.examples)


@dataclass(frozen=True)
class Check:
    """A part and a law of its kind."""

    part: Examined
    law: Law[Case]

    @property
    def name(self) -> str:
        """``kind-name-law``."""
        return f"{self.part.name}-{self.law.__name__}"

    def run(self, again: str, *, traceback: bool = False) -> None:
        """Check it.

        Args:
            again: what to run to see it again.
            traceback: whether to let through what comes out of the law as it is.

        Raises:
            AssertionError: the law is broken, or nothing could be drawn to check it on; in a few lines.
            DataError: the part needs files that the kit has not.
        """
        __tracebackhide__ = True
        try:
            cases = self.part.cases
        except TypeError as error:  # an option that cannot be drawn, or values of which none goes with another
            if traceback:
                raise
            subject = f"{self.part.entry.kind} {self.part.entry.name}: "
            raise AssertionError(f"{subject}{str(error).removeprefix(subject)}") from None
        hold(self.law, cases, None if traceback else partial(part_failure, again=again))


def checks_of(entries: Iterable[PartEntry], examples: int = EXAMPLES) -> Iterator[Check]:
    """Every law of every part, part by part; of kinds without laws there are none."""
    for entry in entries:
        part = Examined(entry, examples)
        for law in laws_of(entry.kind):
            yield Check(part, law)


def entries_of(parts: Iterable[type[Any] | PartEntry]) -> list[PartEntry]:
    """Parts that are given as classes, or as they are registered.

    Raises:
        PluginError: a class breaks the rules of registration.
    """
    under_test = Plugin("under test", "0")
    return [part if isinstance(part, PartEntry) else part_entry(part, under_test) for part in parts]


def parts_of_package(package: str) -> tuple[PartEntry, ...]:
    """The parts of an installed distribution.

    Args:
        package: the distribution's name, as pip writes it or alike; ``diffusion-zoo`` has the built-in parts.

    Raises:
        PluginError: it is not installed, could not be loaded, or gives no part.
    """
    registry, wanted = Registry.installed(), canonicalize_name(package)
    own = "zoo" if wanted == DISTRIBUTION else wanted
    found = tuple(entry for entry in registry.entries() if canonicalize_name(entry.plugin.name) == own)
    for problem in registry.problems:
        if problem.missing and own in {canonicalize_name(plugin.name) for plugin in problem.plugins}:
            raise PluginError(problem.line)
    if found:
        return found
    for name, why in registry.idle_plugins.items():
        if canonicalize_name(name) == own:
            raise PluginError(f"nothing of package {name} is loaded, which {why}")
    names = sorted({*registry.plugins, DISTRIBUTION} - {"zoo"})
    raise PluginError(
        f"no package {package} with parts is installed{did_you_mean(package, names)} (with parts: {listed(names)});"
        " `pip install -e .` in its folder installs it"
    )
