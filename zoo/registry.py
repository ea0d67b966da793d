"""Parts by (kind, name), and where each came from. Importing this module does not import torch."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from importlib import import_module, metadata
from typing import Any, TypeVar

from zoo.claims import Key, NamedPart, is_named, load_module, named_part, parts_left_out, words
from zoo.companions import hint_of_part
from zoo.errors import PluginError, did_you_mean
from zoo.format_entries import FORMATS, FormatEntry, gathered
from zoo.hooks import parts_of
from zoo.kinds import KINDS
from zoo.loose_parts import PartsLike, classes_given, read_loose
from zoo.part_entries import PartEntry, part_entry, unpackaged
from zoo.parts_file import PartsFile, name_of, refuse_namesakes
from zoo.plugin_loading import LoadError, guarded, visit_plugins
from zoo.plugins import ALL, GROUPS, PARTS, Package, Plugin, PluginProblem, contested, plugin_packages, zoo_version
from zoo.signature import MARK

MODULES = (ALL, GROUPS[PARTS], FORMATS)
"""What is missing where it cannot be told which parts or formats are."""

BUILT_IN = ("zoo.parts", "zoo.flow", "zoo.data", "zoo.optim", "zoo.callbacks", "zoo.evaluate")

T = TypeVar("T")


def part(kind: str, name: str) -> Callable[[type[T]], type[T]]:
    """Mark a class as the part ``name`` of ``kind``. It is registered where an entry point of its plug-in names it.

    A class may say ``version = 2``, a whole number, 1 if left out. Raise it whenever the part comes to compute
    something else from the same options and weights, such as by another formula; not for what is faster, nor for new
    options whose defaults do as before. Where a part had another version in training, going on with the run and using
    its weights are refused, but for starting another run from them.

    Raises:
        PluginError: there is no such kind, or the name is not a plain lower-case identifier.
    """
    if kind not in KINDS:
        raise PluginError(f"there is no kind {kind!r}{did_you_mean(kind, KINDS)}")
    if not name.isidentifier() or name != name.lower():
        raise PluginError(f"{kind} {name!r}: a part's name is a lower-case identifier, such as 'linear_mlp'")

    def mark(cls: type[T]) -> type[T]:
        setattr(cls, MARK, (kind, name))
        return cls

    return mark


Claim = PartEntry | NamedPart
"""A part whose class is here, or one whose class is imported when the part is asked for."""


class Registry:
    """The parts that recipes can name.

    ``Registry.installed()`` holds the built-in parts and those of every installed plug-in; ``Registry()`` the built-in
    ones alone. There is no global registry.

    Attributes:
        problems: of plug-ins, while the rest works.
        tell: called with those that show later, where a part is imported that is asked for.
    """

    def __init__(self) -> None:
        self.problems: list[PluginProblem] = []
        self.tell: Callable[[PluginProblem], None] = lambda problem: None
        self._parts: dict[Key, Claim] = {}
        self._lost: dict[Key, PluginProblem] = {}
        self._idle: list[Package] = []
        self._givers: list[tuple[Plugin, Any]] = []
        self._formats: tuple[dict[str, FormatEntry], dict[str, PluginProblem]] | None = None
        zoo = Plugin("zoo", zoo_version())
        for module in BUILT_IN:
            self.register(import_module(module), zoo)

    @classmethod
    def installed(cls) -> Registry:
        """The built-in parts and those of every installed plug-in that ``ZOO_PLUGINS`` does not leave out.

        What is wrong with a plug-in is set down in ``problems``, and the rest goes on without it. A name that two
        plug-ins claim is neither's.
        """
        registry = cls()
        registry._plug_in(plugin_packages())
        return registry

    def register(self, module: object, plugin: Plugin) -> None:
        """Register the parts that ``module`` returns from its ``zoo_parts`` hook, all of them or none.

        Its ``zoo_weight_formats`` hook is called when formats are asked for.

        Raises:
            PluginError: a hook that zoo does not have, a part that breaks the rules, or a name that is taken.
        """
        self._add(part_entry(cls, plugin) for cls in parts_of(module, plugin))
        self._give([(plugin, module)])

    def with_parts(self, parts: PartsLike) -> Registry:
        """These parts and some that are in no package: classes marked by ``@zoo.part``, and paths of files with such.

        Of a file, its ``zoo_parts`` hook tells the parts or, where it has none, they are all that it marks; and its
        ``zoo_weight_formats`` hook the formats.

        Raises:
            PluginError: a class that breaks the rules, a file that cannot be run or has no parts, or a name that is
                taken.
        """
        registry = copy(self)
        registry.problems, registry._lost = list(self.problems), dict(self._lost)
        loose = read_loose(parts)
        given = [part_entry(cls, file or unpackaged(cls)) for cls, file in classes_given(loose)]
        refuse_namesakes(each.plugin for each in (*self._parts.values(), *given))
        first = {entry.cls: entry for entry in reversed(given)}
        registry._add(entry for entry in given if first[entry.cls] is entry and not self._knows(entry.cls))
        registry._give([(file, file.load()) for file in loose if isinstance(file, PartsFile)])
        return registry

    @property
    def plugins(self) -> dict[str, str]:
        """The versions of the packages that parts are of, by name; imports none."""
        return {claim.plugin.name: claim.plugin.version for claim in self._parts.values()}

    @property
    def idle_plugins(self) -> dict[str, str]:
        """Installed packages that were not loaded, and what keeps each from it, behind ``which``."""
        return {package.plugin.name: package.why_idle for package in self._idle}

    def names(self, kind: str) -> list[str]:
        """The names of all parts of a kind; imports none."""
        return sorted(name for each, name in self._parts if each == kind)

    def entries(self, kind: str | None = None) -> tuple[PartEntry, ...]:
        """Every part, or every part of one kind, by kind and then by name."""
        order = list(KINDS)
        keys = [key for key in self._parts if kind in (None, key[0])]
        found = []
        for key in sorted(keys, key=lambda key: (order.index(key[0]), key[1])):
            entry = self._entry(key)
            if entry is None:
                self.tell(self._lost[key])
            else:
                found.append(entry)
        return tuple(found)

    def get(self, kind: str, name: str) -> PartEntry:
        """The part ``name`` of ``kind``.

        Raises:
            PluginError: there is no such part, or none that can be had; the message names the plug-in that may hold it,
                or offers the nearest name.
        """
        found = self._entry((kind, name))
        if found is not None:
            return found
        lost = self._lost.get((kind, name))
        if lost is not None:
            raise PluginError(lost.line) from lost.error
        raise self._unknown(kind, name, self.names(kind))

    @property
    def formats(self) -> Mapping[str, FormatEntry]:
        """The weight formats, by name: zoo's own, and those that the hooks of packages and files give.

        Hooks are called when this is first asked for. What is wrong with a package's is a problem like any other.

        Raises:
            PluginError: a file's hook fails, or gives what breaks the rules, or a name that is taken.
        """
        return self._all_formats()[0]

    def get_format(self, name: str, beside: Iterable[str] = ()) -> FormatEntry:
        """The weight format ``name``.

        Args:
            name: of it.
            beside: what may be asked for in its place, for the message.

        Raises:
            PluginError: there is no such format, or none that can be had.
        """
        found, lost = self._all_formats()
        if name in found:
            return found[name]
        raise PluginError(lost[name].line) if name in lost else self._unknown("weight format", name, [*found, *beside])

    def entry_of(self, cls: type[Any]) -> PartEntry:
        """The part that a class is.

        Raises:
            PluginError: it is none of these.
        """
        found = self._entry(getattr(cls, MARK))
        if found is None or found.cls is not cls:
            raise PluginError(f"{name_of(cls)} is not registered; name it in an entry point of its plug-in")
        return found

    def _plug_in(self, packages: list[Package]) -> None:
        claims: defaultdict[Key, list[Claim]] = defaultdict(list)

        def visit(plugin: Plugin, entry_point: metadata.EntryPoint) -> None:
            found: list[Claim]
            if is_named(entry_point):
                found = [named_part(plugin, entry_point)]
            else:
                module = load_module(plugin, entry_point)
                found = [part_entry(cls, plugin) for cls in parts_of(module, plugin)]
                self._give([(plugin, module)])
            for claim in found:
                claims[claim.kind, claim.name].append(claim)

        self._idle = [package for package in packages if package.is_idle]
        self.problems = [package.problem for package in self._idle if package.problem is not None]
        self.problems += visit_plugins(PARTS, packages, visit)
        for package in self._idle:
            self._lost |= parts_left_out(package)
        for key, claimants in claims.items():
            is_own = key in self._parts
            if len(claimants) == 1 and not is_own:
                self._parts[key] = claimants[0]
            else:
                origins = [(claim.plugin, claim.origin) for claim in claimants]
                self._lost[key] = contested(words(*key), origins, is_own=is_own)
                self.problems.append(self._lost[key])

    def _give(self, givers: Iterable[tuple[Plugin, Any]]) -> None:
        """Keep modules that may have more hooks, and files once however often they are given."""
        there = {plugin for plugin, _ in self._givers if plugin.is_file}
        self._givers = [*self._givers, *(each for each in dict(givers).items() if each[0] not in there)]
        self._formats = None

    def _all_formats(self) -> tuple[dict[str, FormatEntry], dict[str, PluginProblem]]:
        if self._formats is None:
            self._formats = gathered(self._givers, self._remark)
        return self._formats

    def _unknown(self, kind: str, name: str, names: list[str]) -> PluginError:
        """What to say of a name that is nobody's, and of plug-ins that may hold it."""
        installed = [*self.plugins, *self.idle_plugins]
        near = hint_of_part(kind, name, installed) or did_you_mean(name, names)
        message = f"there is no {kind} {name!r}{near} (installed: {', '.join(names)})"
        if not near:
            message += "; install a package that has it, or give a file by --parts FILE, in Python by parts="
        failed = [f"{each.plugins[0].name} ({each.reason})" for each in self.problems if each.missing in MODULES]
        if failed:
            message += f". A plug-in that failed to load may hold it: {'; '.join(failed)}; see `zoo plugins`"
        for package in self._idle:
            if package.is_disabled and not all(map(is_named, package.of(PARTS))):
                message += f". {package.plugin.name} may hold it, which {package.why_idle}"
        return PluginError(message)

    def _entry(self, key: Key) -> PartEntry | None:
        """A part; None if there is none, or its class cannot be had."""
        claim = self._parts.get(key)
        if not isinstance(claim, NamedPart):
            return claim
        plugin = claim.plugin
        try:
            entry = guarded(plugin, lambda: part_entry(claim.load(), plugin), self._remark)
        except LoadError as failure:
            line = f"{claim} comes from {plugin}, which failed to load: {failure}"
            self._lost[key] = PluginProblem((plugin,), str(failure), line, str(claim), failure.__cause__)
            self.problems.append(self._lost[key])
            del self._parts[key]
            return None
        self._parts[key] = entry
        return entry

    def _remark(self, problem: PluginProblem) -> None:
        self.problems.append(problem)
        self.tell(problem)

    def _knows(self, cls: Any) -> bool:
        """Whether a class is one of these parts."""
        key = vars(cls).get(MARK) if inspect.isclass(cls) else None
        found = self._entry(key) if key else None
        return found is not None and found.cls is cls

    def _add(self, claims: Iterable[PartEntry]) -> None:
        parts = dict(self._parts)
        for entry in claims:
            taken = parts.get((entry.kind, entry.name))
            if taken is not None:
                both = f"{taken.origin} and {entry.origin}"
                if entry.plugin.is_packaged:
                    raise PluginError(
                        f"two plug-ins claim {entry.kind} {entry.name!r}: {both}; uninstall one of them, or rename its"
                        " part"
                    )
                raise PluginError(f"two parts claim {entry.kind} {entry.name!r}: {both}; give yours another name")
            parts[entry.kind, entry.name] = entry
        self._parts = parts
