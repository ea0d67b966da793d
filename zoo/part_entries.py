"""What is known of a registered part: its class, whose it is, and the options that its constructor takes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from zoo.attributes import mistakes
from zoo.errors import PluginError, with_article
from zoo.hooks import brief
from zoo.kinds import KINDS, base_of
from zoo.parts_file import name_of
from zoo.plugins import UNPACKAGED, Plugin
from zoo.signature import MARK, Signature, read_signature


@dataclass(frozen=True)
class PartEntry:
    """A registered part."""

    kind: str
    name: str
    cls: type[Any]
    plugin: Plugin
    signature: Signature = field(repr=False)

    @property
    def summary(self) -> str:
        """The first line of the part's docstring."""
        return (inspect.getdoc(self.cls) or "").split("\n", 1)[0].strip()

    @property
    def is_example(self) -> bool:
        """Whether the docstring is still, as it says, of the example that ``zoo new-plugin`` wrote."""
        return self.summary.startswith("Example:")

    @property
    def origin(self) -> str:
        """The package and the class, for messages."""
        if self.plugin.is_file:
            return f"{self.plugin.name} ({self.cls.__qualname__})"
        return f"{self.plugin} ({name_of(self.cls)})" if self.plugin.is_packaged else self.plugin.name

    @property
    def version(self) -> int:
        """Of the part itself: another one computes something else from the same options and weights."""
        return getattr(self.cls, "version", 1)

    def create(self, options: BaseModel, supplied: Mapping[str, Any], parts: Mapping[str, Any] | None = None) -> Any:
        """Construct the part.

        Args:
            options: its values.
            supplied: by name; it gets those that it asks for.
            parts: by option, what makes the parts inside it; those that are left out are as its constructor says.
        """
        wanted = {name: supplied[name] for name in self.signature.supplied}
        values = {name: getattr(options, name) for name in type(options).model_fields}
        return self.cls(**wanted, **values, **(parts or {}))

    def __reduce__(self) -> tuple[Any, ...]:
        return part_entry, (self.cls, self.plugin)  # the signature is read off the class again


def part_entry(cls: type[Any], plugin: Plugin) -> PartEntry:
    """Describe a marked class.

    Raises:
        PluginError: it breaks the rules of its kind.
    """
    whose = plugin.words if plugin.is_packaged or plugin.is_file else "parts"
    where = f"{whose}: {name_of(cls).removeprefix(f'{whose}: ')}"
    if not inspect.isclass(cls) or MARK not in vars(cls):
        raise PluginError(f"{where} is not marked; put @zoo.part(kind, name) above the class")
    kind, name = getattr(cls, MARK)
    if base_of(kind) not in cls.__mro__:
        raise PluginError(
            f"{where} is marked as {with_article(kind)}, but does not derive from {base_of(kind).__name__}; let it"
        )
    missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
    if missing:
        raise PluginError(f"{where} leaves out what {with_article(kind)} must have: {missing}")
    version = getattr(cls, "version", 1)
    if type(version) is not int or version < 1:
        raise PluginError(f"{where} has version = {brief(version)}; let it be a whole number, 1 or more")
    for mistake in mistakes(cls, kind):
        raise PluginError(f"{where} {mistake}")
    signature = read_signature(cls, KINDS[kind].supplied)  # type: ignore[arg-type]  # a class is hashable
    options = {*signature.options.model_fields, *signature.parts}
    for key in options.intersection(KINDS[kind].beside):
        raise PluginError(f"{where} has an option {key!r}, which stands beside the part in a recipe; call it otherwise")
    return PartEntry(kind, name, cls, plugin, signature)


def unpackaged(cls: object) -> Plugin:
    """In place of a plug-in, for a part that is in no package."""
    return Plugin(name_of(cls), UNPACKAGED)
