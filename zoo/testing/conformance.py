"""Parts and their laws, one by one: what pytest and ``zoo check`` run for a package."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from packaging.utils import canonicalize_name

from zoo.companions import UNKNOWN, companion, pip_install
from zoo.devices import set_aside
from zoo.errors import PluginError, RecipeError, did_you_mean, listed
from zoo.kinds import BACKBONE_KINDS
from zoo.part_entries import PartEntry, part_entry
from zoo.plugins import DISTRIBUTION, Plugin, spellings
from zoo.registry import Registry
from zoo.testing.assemblies import ASSEMBLY_LAWS, build_random
from zoo.testing.cases import Case
from zoo.testing.check import EXAMPLES, assembly_failure, hold, keeps, part_cases, part_failure, recipe_of
from zoo.testing.law import FollowsError, Law, NotRun
from zoo.testing.laws import OF_DRAWING, laws_of
from zoo.testing.mixing import FOLLOW
from zoo.testing.random_assemblies import Drawn, random_assemblies
from zoo.testing.still import still
from zoo.testing.strategies import Given, NotDrawnError

ASSEMBLIES = 2
"""That a part is tried in, which with all that is in them are dear."""


class Examined:
    """A part, and the cases and the assemblies that its laws are checked on: drawn once, when the first law asks."""

    def __init__(
        self, entry: PartEntry, registry: Registry, examples: int = EXAMPLES, given: Given | None = None
    ) -> None:
        self.entry, self.registry, self.examples, self.given = entry, registry, examples, given or {}
        self.with_held = [entry.cls, *_held(entry)]

    @property
    def name(self) -> str:
        """``kind-name``."""
        return f"{self.entry.kind}-{self.entry.name}"

    @cached_property
    def cases(self) -> list[Case] | Exception:
        """See ``part_cases``; or why there is none, which each law would find anew."""
        try:
            return part_cases(self.entry, self.given.get(key_of(self.entry)), examples=self.examples)
        except NotDrawnError as error:
            return NotRun(str(error))
        except Exception as error:  # what the part raises as it is built, too
            return error

    @cached_property
    def assemblies(self) -> list[Drawn] | Exception:
        """Assemblies with the part; or why there is none, which each law would find anew.

        The other parts are built in, or those that it holds, so that none answers for another's fault. Where all are
        refused, as where the part needs what no built-in part gives, they are of those beside it too.
        """
        for registry in (Registry().with_parts(self.with_held), self.registry):
            try:
                found = random_assemblies(
                    registry, min(ASSEMBLIES, self.examples), {self.entry.kind: self.entry.name}, self.given
                )
            except NotDrawnError as error:  # most likely of this part, of which all laws tell the same
                return NotRun(str(error))
            except TypeError as error:
                refused = error
            except Exception as error:  # what the part raises as it is built, too
                return error
            else:
                return _unmade(found) or found
        return NotRun(f"in assemblies, {refused}")

    @cached_property
    def law_of_drawing(self) -> Law[Case] | None:
        """The law that tells of a part that it draws in forward; None where it does not."""
        if isinstance(self.cases, Exception):
            return None
        for law in OF_DRAWING:
            if law in laws_of(self.entry.kind) and not keeps(law, self.cases):
                with still():
                    return law if keeps(law, self.cases) else None
        return None

    @cached_property
    def laws_of_mixing(self) -> list[str]:
        """The laws that tell of mixing the samples of a batch, and that the part breaks, whatever it draws."""
        if isinstance(self.cases, Exception):
            return []
        with still():
            laws = [law for law in laws_of(self.entry.kind) if law.__name__ in FOLLOW]
            return [law.__name__ for law in laws if not keeps(law, self.cases)]


@dataclass(frozen=True)
class Check:
    """A part and a law: of its kind, or of the assemblies that it is in."""

    part: Examined
    law: Law[Any]
    is_of_assemblies: bool = False

    @property
    def law_name(self) -> str:
        """Of the law; those of assemblies have names that others have too."""
        return f"assembly-{self.law.__name__}" if self.is_of_assemblies else self.law.__name__

    @property
    def name(self) -> str:
        """``kind-name-law``."""
        return f"{self.part.name}-{self.law_name}"

    @property
    def call(self) -> str:
        """What checks it again in Python, and shows the whole traceback."""
        entry, rest = self.part.entry, f'laws=["{self.law.__name__}"], traceback=True)'
        if self.is_of_assemblies:
            names = ", ".join(cls.__qualname__ for cls in self.part.with_held)
            return f'check_assemblies(zoo.Registry().with_parts([{names}]), {entry.kind}="{entry.name}", {rest}'
        return f"check_part({entry.cls.__qualname__}, {rest}"

    def run(self, again: str, *, traceback: bool = False) -> None:
        """Check it.

        Args:
            again: what to run to see it again.
            traceback: whether to let through what comes out of the law as it is.

        Raises:
            AssertionError: the law is broken, or nothing could be drawn to check it on; in a few lines.
            FollowsError: the law is broken by what the part draws alone, or likely by its mixing of samples, of which
                another law tells.
            DataError: the part needs files that the kit has not.
            NotRun: the law cannot be tried here, or in no assembly, or an option of the part cannot be drawn.
        """
        __tracebackhide__ = True
        with set_aside():
            self._run(again, traceback=traceback)

    def _run(self, again: str, *, traceback: bool) -> None:
        __tracebackhide__ = True
        try:
            drawn: Any = self.part.assemblies if self.is_of_assemblies else self.part.cases
            if isinstance(drawn, Exception):
                raise drawn
        except (TypeError, RecipeError) as error:  # what cannot be drawn, goes with no other, or fails as it is built
            if traceback:
                raise
            subject = f"{self.part.entry.kind} {self.part.entry.name}: "
            raise AssertionError(f"{subject}{str(error).removeprefix(subject)}") from None
        failure = assembly_failure if self.is_of_assemblies else part_failure
        of = recipe_of if self.is_of_assemblies else _itself
        try:
            hold(self.law, drawn, None if traceback else partial(failure, again=again), of)
        except AssertionError as error:
            if traceback:
                raise
            follows = self._by_what_it_draws(drawn, of) or self._by_mixing(error)
            if follows is None:
                raise
        else:
            return
        raise follows

    def _by_what_it_draws(self, drawn: Any, of: Callable[[Any], Any]) -> FollowsError | None:
        cause = self.part.law_of_drawing
        if cause in (None, self.law):
            return None
        with still():
            if not keeps(self.law, drawn, of):
                return None
        what = f"{self.part.entry.kind} {self.part.entry.name} breaks the law {self.law.__name__}"
        told = f"{what} by the numbers that it draws alone: mend what breaks {cause.__name__} first"
        return FollowsError(told, cause.__name__)

    def _by_mixing(self, error: AssertionError) -> FollowsError | None:
        """Not where the part failed, at a line of its own, instead of giving something else."""
        asks = any(self.law_name in names for names in FOLLOW.values()) and "\n    at " not in str(error)
        for cause in self.part.laws_of_mixing if asks else ():
            if self.law_name in FOLLOW[cause]:
                told = f"likely for the reason for which it breaks {cause}: mend that first, and check again"
                return FollowsError(f"{error}\n  {told}", cause, likely=True)
        return None


def _itself(case: Case) -> Case:
    return case


def _unmade(assemblies: Sequence[Drawn]) -> RecipeError | None:
    """What is refused once there are numbers, such as weights that nobody makes: they break no law of what is built.

    Of all else that fails as it is built the laws tell, and where.
    """
    for each in assemblies:
        try:
            build_random(each.recipe)
        except RecipeError as error:
            return error
        except Exception:
            return None
    return None


def _held(entry: PartEntry) -> Iterator[type[Any]]:
    """The parts that a part holds by default, and those in them, that are not built in."""
    for nested in entry.signature.parts.values():
        if nested.default is not None and not nested.default.__module__.startswith("zoo."):
            yield nested.default
            yield from _held(part_entry(nested.default, entry.plugin))


def key_of(entry: PartEntry) -> str:
    """``kind/name``, as in entry points."""
    return f"{entry.kind}/{entry.name}"


def checks_of(entries: Sequence[PartEntry], examples: int = EXAMPLES, options: Given | None = None) -> Iterator[Check]:
    """Every law of every part, part by part, and of the assemblies that those of the backbone are in.

    Args:
        entries: the parts.
        examples: cases to draw of each.
        options: those of parts that are not drawn from the schema, or strategies of them, by ``kind/name``.

    Raises:
        TypeError: there is no such part among them.
    """
    keys = [key_of(entry) for entry in entries]
    for key in options or ():
        if key not in keys:
            raise TypeError(f"options: there is no part {key!r}{did_you_mean(key, keys)} (there are {', '.join(keys)})")
    return _checks(entries, examples, options)


def _checks(entries: Sequence[PartEntry], examples: int, options: Given | None) -> Iterator[Check]:
    registry = Registry().with_parts([cls for entry in entries for cls in (entry.cls, *_held(entry))])
    for entry in entries:
        part = Examined(entry, registry, examples, options)
        yield from (Check(part, law) for law in laws_of(entry.kind))
        if entry.kind in BACKBONE_KINDS:
            yield from (Check(part, law, is_of_assemblies=True) for law in ASSEMBLY_LAWS)


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
        package: the distribution's name, as pip writes it or alike, or without ``diffusion-``; ``diffusion-zoo`` has
            the built-in parts.

    Raises:
        PluginError: it is not installed, could not be loaded, or gives no part.
    """
    registry, wanted = Registry.installed(), canonicalize_name(package)

    def is_meant(name: str) -> bool:
        return wanted in spellings(DISTRIBUTION if name == "zoo" else name)

    found = tuple(entry for entry in registry.entries() if is_meant(entry.plugin.name))
    for problem in registry.problems:
        if problem.missing and any(is_meant(plugin.name) for plugin in problem.plugins):
            raise PluginError(problem.line)
    if found:
        return found
    for name, why in registry.idle_plugins.items():
        if is_meant(name):
            raise PluginError(f"nothing of package {name} is loaded, which {why}")
    names = sorted({*registry.plugins, DISTRIBUTION} - {"zoo"})
    beside = companion(package)
    near = "" if beside else did_you_mean(package, names)
    mend = pip_install(Plugin(beside.name, UNKNOWN)) if beside else "`pip install -e .` in its folder installs it"
    raise PluginError(f"no package {package} with parts is installed{near} (with parts: {listed(names)}); {mend}")
