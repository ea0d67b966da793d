"""Commands of plug-ins: their names are known without an import, and one is imported when it is asked for or listed."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Collection
from importlib import metadata
from typing import Any

import typer
from typer.main import get_command, get_group

from zoo.cli.common import warn
from zoo.errors import PluginError
from zoo.plugin_loading import LoadError, guarded
from zoo.plugins import COMMANDS, Package, Plugin, PluginProblem, contested


class PluginCommands:
    """The commands that packages add. A name that two of them claim is neither's, and zoo's own go first.

    Args:
        packages: the plug-ins.
        taken: the names of zoo's own commands.

    Attributes:
        problems: what has been told to be wrong.
        tell: how.
    """

    def __init__(self, packages: Collection[Package] = (), taken: Collection[str] = ()) -> None:
        claims: defaultdict[str, list[tuple[Plugin, metadata.EntryPoint]]] = defaultdict(list)
        for package in packages:
            for entry_point in () if package.is_idle else package.of(COMMANDS):
                claims[entry_point.name].append((package.plugin, entry_point))
        self.problems: list[PluginProblem] = []
        self.tell: Callable[[PluginProblem], None] = lambda each: warn([each], debug="--debug" in sys.argv)
        self._lost: dict[str, PluginProblem] = {}
        self._points: dict[str, tuple[Plugin, metadata.EntryPoint]] = {}
        self._loaded: dict[str, Any] = {}
        for name, own in claims.items():
            is_own = name in taken
            if is_own or len(own) > 1:
                claimants = [(plugin, str(plugin)) for plugin, _ in own]
                self._lost[name] = contested(f"command {name!r}", claimants, is_own=is_own)
            else:
                (self._points[name],) = own

    def names(self) -> list[str]:
        """All of them, which are loaded; what is wrong with some is told."""
        for name in [*self._lost, *self._points]:
            self.get(name)
        return list(self._loaded)

    def get(self, name: str) -> Any:
        """A command; None where there is none of that name, or it cannot be had, which is told."""
        if name in self._lost:
            self._put_down(self._lost.pop(name))
        if name in self._points:
            plugin, entry_point = self._points.pop(name)
            try:
                self._loaded[name] = guarded(plugin, lambda: _command(entry_point), self._put_down)
            except LoadError as failure:
                line = f"command {name!r} comes from {plugin}, which failed to load: {failure}"
                reason, what = str(failure), f"command {name!r}"
                self._put_down(PluginProblem((plugin,), reason, line, what, failure.__cause__))
        return self._loaded.get(name)

    def _put_down(self, problem: PluginProblem) -> None:
        self.problems.append(problem)
        self.tell(problem)


def _command(entry_point: metadata.EntryPoint) -> Any:
    """Import a command.

    Raises:
        PluginError: it is none.
    """
    loaded = entry_point.load()
    if isinstance(loaded, typer.Typer):
        command: Any = get_group(loaded)
    elif callable(loaded):
        alone = typer.Typer(add_completion=False)
        alone.command()(loaded)
        command = get_command(alone)
    else:
        raise PluginError(f"{entry_point.value} is not callable; let the entry point name a function or a Typer app")
    command.name = entry_point.name
    return command
