"""Who claims which part, known without an import where entry points name parts one by one.

Such as ``"block/mine" = "my_parts.block:MyBlock"``.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from zoo.errors import PluginError, did_you_mean
from zoo.kinds import KINDS
from zoo.plugins import PARTS, Package, Plugin, PluginProblem
from zoo.signature import MARK

Key = tuple[str, str]
"""Of a part: its kind and its name."""


@dataclass(frozen=True)
class NamedPart:
    """A part before its class is imported."""

    kind: str
    name: str
    plugin: Plugin
    entry_point: metadata.EntryPoint

    @property
    def origin(self) -> str:
        """The package and the class, for messages."""
        return f"{self.plugin} ({self.entry_point.value.replace(':', '.')})"

    def __str__(self) -> str:
        return words(self.kind, self.name)

    def load(self) -> type[Any]:
        """Import the class.

        Raises:
            PluginError: it is no class, or marked as another part.
        """
        cls = self.entry_point.load()
        where = f"plug-in {self.plugin.name}: entry point {self.entry_point.name!r}"
        if not inspect.isclass(cls):
            raise PluginError(f"{where} names {self.entry_point.value}, no class; let it be 'module:Class'")
        kind, name = vars(cls).get(MARK, (self.kind, self.name))
        if (kind, name) != (self.kind, self.name):
            raise PluginError(
                f"{where} names {self.entry_point.value}, which is marked as {words(kind, name)}; let both say the same"
            )
        return cls


def is_named(entry_point: metadata.EntryPoint) -> bool:
    """Whether an entry point names one part, and not a module with a hook."""
    return "/" in entry_point.name


def named_part(plugin: Plugin, entry_point: metadata.EntryPoint) -> NamedPart:
    """The part that an entry point names.

    Raises:
        PluginError: no such kind, or no name that a part can have.
    """
    kind, _, name = entry_point.name.partition("/")
    where = f"plug-in {plugin.name}: entry point {entry_point.name!r}"
    if kind not in KINDS:
        raise PluginError(f"{where}: there is no kind {kind!r}{did_you_mean(kind, KINDS)}")
    if not name.isidentifier() or name != name.lower():
        raise PluginError(f"{where}: a part's name is a lower-case identifier, such as 'linear_mlp'")
    return NamedPart(kind, name, plugin, entry_point)


def load_module(plugin: Plugin, entry_point: metadata.EntryPoint) -> Any:
    """The module, or object, whose hook gives parts.

    Raises:
        PluginError: it is a part itself.
    """
    loaded = entry_point.load()
    if inspect.isclass(loaded) and MARK in vars(loaded):
        kind, name = vars(loaded)[MARK]
        raise PluginError(
            f"plug-in {plugin.name}: entry point {entry_point.name!r} names the class of {words(kind, name)}; call it"
            f" '{kind}/{name}'"
        )
    return loaded


def parts_left_out(package: Package) -> dict[Key, PluginProblem]:
    """The parts that an idle package names, and what to say to those who ask for one."""
    found = {}
    for entry_point in filter(is_named, package.of(PARTS)):
        kind, _, name = entry_point.name.partition("/")
        line = f"{words(kind, name)} comes from {package.plugin}, which {package.why_idle}"
        found[kind, name] = PluginProblem((package.plugin,), package.why_idle, line, words(kind, name))
    return found


def words(kind: str, name: str) -> str:
    """A part, for messages."""
    return f"{kind} {name!r}"
