"""Which packages plug in, and which of them may: read off their metadata, without importing any."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata

from zoo.errors import did_you_mean

DISTRIBUTION = "diffusion-zoo"
PARTS, RECIPES, COMMANDS = "zoo.parts", "zoo.recipes", "zoo.cli"

OWN_NAME = re.compile(r"\s*diffusion[-_.]+zoo(?![-_.\w])", re.IGNORECASE)
"""The beginning of what asks for it, however spelt."""

GROUPS = {PARTS: "parts", RECIPES: "recipes", COMMANDS: "commands"}
"""Entry-point groups, and what is in them."""

ALL = "everything"
"""What is missing of a package that is left out whole."""

VARIABLE = "ZOO_PLUGINS"
"""Of the environment: which plug-ins load, by the names of their distributions, or ``none``; all, if it is not set."""

UNPACKAGED = "in no package"
"""In place of a version, for a class that was given in Python; the name is then its own."""

_READ = vars(metadata.Distribution)["entry_points"].fget

HASHED = "sha256:"
"""What begins the version of a file of parts, which is the hash of what it holds; the name is then the file's."""


@dataclass(frozen=True)
class Plugin:
    """Where parts, recipes or commands come from: a distribution and its version."""

    name: str
    version: str

    @property
    def is_packaged(self) -> bool:
        """Whether it can be installed."""
        return self.version != UNPACKAGED and not self.is_file

    @property
    def is_file(self) -> bool:
        """Whether it is a file of parts, in no package."""
        return self.version.startswith(HASHED)

    @property
    def words(self) -> str:
        """For messages."""
        return f"plug-in {self.name}" if self.is_packaged else self.name

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class PluginProblem:
    """What is wrong with plug-ins, while all else works.

    Attributes:
        plugins: whose it is.
        reason: what is wrong, and how to mend it.
        line: the same as a whole sentence, which names the plug-ins and what of theirs is missing.
        missing: what of theirs is, such as ``parts`` or ``block 'mine'``; empty where all is there.
        error: what was raised, if that is it.
    """

    plugins: tuple[Plugin, ...]
    reason: str
    line: str
    missing: str = ""
    error: BaseException | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Package:
    """An installed distribution with entry points of zoo's.

    Attributes:
        plugin: its name and version.
        requires: the versions of diffusion-zoo that it asks for, such as ``>=0.1``, empty for any; None if it does not
            ask for diffusion-zoo.
        entry_points: those of zoo's groups.
        is_disabled: whether ``ZOO_PLUGINS`` leaves it out.
        fault: why it is not loaded, such as ``needs diffusion-zoo>=2, and ...``; None if it may be.
    """

    plugin: Plugin
    requires: str | None = None
    entry_points: tuple[metadata.EntryPoint, ...] = ()
    is_disabled: bool = False
    fault: str | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing of it is loaded."""
        return self.is_disabled or self.fault is not None

    @property
    def why_idle(self) -> str:
        """What keeps it from being loaded, behind ``which``."""
        return f"{VARIABLE}={os.environ.get(VARIABLE)} leaves out" if self.is_disabled else self.fault or ""

    @property
    def problem(self) -> PluginProblem | None:
        """Its fault; to be disabled is none."""
        if self.fault is None or self.is_disabled:
            return None
        line = f"plug-in {self.plugin} is left out: it {self.fault}"
        return PluginProblem((self.plugin,), self.fault, line, ALL)

    def of(self, group: str) -> Iterator[metadata.EntryPoint]:
        """Its entry points of a group."""
        return (each for each in self.entry_points if each.group == group)


def plugin_packages() -> list[Package]:
    """Every distribution that plugs in, by name; the first on the path shadows others of its name, however spelt.

    One whose entry points nobody can read is among them, since it may. importlib's own ``entry_points`` stops there.
    Few distributions plug in, so that only of theirs the names and versions are read, which takes longer.
    """
    found: dict[str, Package] = {}
    wanted = _wanted()
    for distribution in filter(_may_plug_in, metadata.distributions()):
        name = _told(distribution, "Name")
        if name is None:
            package = _nameless(distribution, wanted)
            found[package.plugin.name] = package
        elif (key := normalised(name)) not in found:
            first = next(iter(metadata.distributions(name=name)), distribution)
            found[key] = _package(_told(first, "Name") or name, first, wanted)
    return [package for _, package in sorted(found.items()) if package.entry_points or package.fault]


def not_installed(names: Iterable[str]) -> list[str]:
    """Those of some distributions that are not here, in order, each once; a name may be spelt in any way."""
    named: dict[str, str] = {}
    for name in names:
        named.setdefault(normalised(name), name)
    return [name for key, name in named.items() if not any(metadata.distributions(name=key))]


def pass_over_unreadable() -> None:
    """Have entry points that nobody can read count as none, where there are any.

    pydantic and PyTorch read those of all packages as they are imported, and fail by one that has nothing to do with
    them. Their own switches would leave out the packages that extend them as well. ``plugin_packages`` tells of it.
    """

    def readable(distribution: metadata.Distribution) -> metadata.EntryPoints:
        try:
            return _entry_points(distribution)
        except Exception:
            return metadata.EntryPoints()

    try:
        for distribution in metadata.distributions():
            _entry_points(distribution)
    except Exception:
        metadata.Distribution.entry_points = property(readable)  # type: ignore[assignment, method-assign]


def unknown_plugins(packages: list[Package]) -> list[str]:
    """A line for each name in ``ZOO_PLUGINS`` that is no plug-in's."""
    names = {normalised(package.plugin.name) for package in packages}
    unknown = sorted((_wanted() or set()).difference(*map(spellings, names)))
    return [f"{VARIABLE}: there is no plug-in {name!r} here{did_you_mean(name, names)}" for name in unknown]


def contested(what: str, claims: Sequence[tuple[Plugin, str]], *, is_own: bool) -> PluginProblem:
    """A name that is claimed twice, which stays zoo's or is nobody's.

    Args:
        what: has the name.
        claims: the plug-ins that claim it, and what of them does, in words.
        is_own: whether it is zoo's.
    """
    plugins, who = tuple(dict.fromkeys(plugin for plugin, _ in claims)), " and ".join(words for _, words in claims)
    if is_own:
        line = f"{what} is zoo's own and stays so, which {who} claims; give that one another name"
    elif len(plugins) == 1:
        line = f"{what} is named twice, by {who}, and is neither; name each once"
    else:
        line = f"{what} is claimed by {who}, and is neither's; uninstall one, or say in {VARIABLE} which to load"
    return PluginProblem(plugins, line, line, what)


def zoo_version() -> str:
    """The version of the installed distribution ``diffusion-zoo``."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown"


def _entry_points(distribution: metadata.Distribution) -> metadata.EntryPoints:
    """Those of a distribution, also after ``pass_over_unreadable``."""
    found: metadata.EntryPoints = _READ(distribution)
    return found


def _may_plug_in(distribution: metadata.Distribution) -> bool:
    """Whether a distribution has entry points of zoo's, or some that nobody can read."""
    try:
        if any(each.group.startswith("zoo.") for each in _entry_points(distribution)):
            return True
        return _unclosed(distribution) is not None
    except Exception:
        return True


def _unclosed(distribution: metadata.Distribution) -> str | None:
    """What is wrong with the head of a section that lacks its bracket: what stands below it belongs to no group."""
    for line in (distribution.read_text("entry_points.txt") or "").splitlines():
        if line.strip().startswith("[zoo.") and not line.strip().endswith("]"):
            return (
                f"has {line.strip()!r} in its entry_points.txt, without a closing bracket; mend it, or install it again"
            )
    return None


def _told(distribution: metadata.Distribution, field: str) -> str | None:
    """A field of the metadata; None where it is missing, which some Pythons raise."""
    try:
        return distribution.metadata[field] or None
    except Exception:
        return None


def _nameless(distribution: metadata.Distribution, wanted: set[str] | None) -> Package:
    """In place of a distribution that nobody can name, ``ZOO_PLUGINS`` neither."""
    where = str(distribution.locate_file(""))
    plugin = Plugin(f"without a name in {where}", _told(distribution, "Version") or "unknown")
    return Package(plugin, is_disabled=wanted is not None, fault="has no Name in its METADATA; install it again")


def _package(name: str, distribution: metadata.Distribution, wanted: set[str] | None) -> Package:
    is_disabled = wanted is not None and not spellings(name) & wanted
    plugin = Plugin(name, "unknown")
    version = _told(distribution, "Version")
    if version is None:
        return Package(plugin, is_disabled=is_disabled, fault="has no Version in its METADATA; install it again")
    try:
        plugin = Plugin(name, version)
        every = _entry_points(distribution)
        entry_points = tuple(each for each in every if each.group in GROUPS)
        requires = _range(distribution.requires or ())
    except Exception as error:
        unread = (
            f"has metadata that cannot be read ({type(error).__name__}: {error}); install it again, or uninstall it"
        )
        return Package(plugin, is_disabled=is_disabled, fault=unread)
    fault = _unclosed(distribution) or _misspelt({each.group for each in every}) or _misfit(plugin, requires)
    return Package(plugin, requires, entry_points, is_disabled, fault)


def _wanted() -> set[str] | None:
    """The normalised names in ``ZOO_PLUGINS``; None for all plug-ins."""
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return None
    return set() if text.lower() == "none" else {normalised(name) for name in text.split(",") if name.strip()}


def normalised(name: str) -> str:
    """A distribution's name as the one of which all others are spellings."""
    from packaging.utils import canonicalize_name  # where there is a plug-in; it takes 20 ms

    return canonicalize_name(name.strip())


def spellings(name: str) -> set[str]:
    """What a distribution may be called: its normalised name, and that without ``diffusion-`` in front."""
    whole = normalised(name)
    return {whole, whole.removeprefix("diffusion-")}


def _range(requires: Sequence[str]) -> str | None:
    """The versions of diffusion-zoo that a distribution asks for, without its extras; None if it asks for none.

    Raises:
        ValueError: nobody can read which.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    ranges = []
    for text in requires:
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            if OWN_NAME.match(text):
                raise ValueError(f"Requires-Dist: {text}") from None
            continue  # of another package, which pip has taken
        if normalised(wanted.name) == DISTRIBUTION and (not wanted.marker or wanted.marker.evaluate({"extra": ""})):
            ranges.append(str(wanted.specifier))
    return ",".join(filter(None, ranges)) if ranges else None


def _misspelt(groups: Collection[str]) -> str | None:
    """What is wrong with a group of entry points that zoo does not read, and that is called almost as one it does."""
    for group in sorted(set(groups) - GROUPS.keys()):
        for meant in difflib.get_close_matches(group.lower(), GROUPS, n=1, cutoff=0.9):
            return f"has entry points in {group!r}, where zoo looks for none; did you mean {meant!r}?"
    return None


def _misfit(plugin: Plugin, requires: str | None) -> str | None:
    from packaging.specifiers import SpecifierSet

    here = zoo_version()
    if here == "unknown" or SpecifierSet(requires or "").contains(here, prereleases=True):
        return None
    wanted = f"{DISTRIBUTION}{requires}"
    return f"needs {wanted}, and {here} is installed: pip install '{wanted}', or another version of {plugin.name}"
