"""Installed plug-ins, by entry-point group. One that fails is told, and the rest goes on without it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

UNPACKAGED = "in no package"
"""In place of a version, for a class that was given in Python; the name is then its own."""

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


@dataclass(frozen=True)
class PluginFailure:
    """A plug-in that could not be loaded, and why; ``entry_point`` is None where none of them could be read."""

    plugin: Plugin
    entry_point: str | None
    reason: str
    traceback: str


def visit_plugins(group: str, visit: Callable[[Plugin, metadata.EntryPoint], None]) -> list[PluginFailure]:
    """Call ``visit`` for every entry point of ``group``, by the name of its distribution; return those that failed.

    importlib's own ``entry_points`` drops one of two entry points of equal name, and stops at the first file that it
    cannot read.
    """
    failures = []
    for name, distribution in sorted(_distributions().items()):
        plugin = Plugin(name, "unknown")
        try:
            found = [entry_point for entry_point in distribution.entry_points if entry_point.group == group]
            if found:  # the version is in another file, which costs time to read
                plugin = Plugin(name, distribution.version)
        except Exception as error:
            failures.append(_failure(plugin, None, error))
            continue
        for entry_point in found:
            try:
                visit(plugin, entry_point)
            except (Exception, SystemExit) as error:
                failures.append(_failure(plugin, entry_point.name, error))
    return failures


def _distributions() -> dict[str, metadata.Distribution]:
    """Every installed distribution by name; the first on the path shadows others of its name."""
    found: dict[str, metadata.Distribution] = {}
    for distribution in metadata.distributions():
        try:
            found.setdefault(distribution.name, distribution)
        except Exception:  # noqa: S112 - a folder left behind by an uninstall, without a name to tell
            continue
    return found


def zoo_version() -> str:
    """The version of the installed distribution ``diffusion-zoo``."""
    try:
        return metadata.version("diffusion-zoo")
    except metadata.PackageNotFoundError:
        return "unknown"


def _failure(plugin: Plugin, entry_point: str | None, error: BaseException) -> PluginFailure:
    text = " ".join(str(error).split())
    text = text if len(text) <= 300 else f"{text[:297]}..."
    reason = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return PluginFailure(plugin, entry_point, reason, traceback.format_exc())
