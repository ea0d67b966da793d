"""Parts by (kind, name), and where each came from. Importing this module does not import torch."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field
from importlib import import_module, metadata
from os import PathLike
from typing import Any, TypeVar

import pluggy
from pydantic import BaseModel

from zoo import hookspecs
from zoo.attributes import mistakes
from zoo.errors import PluginError, did_you_mean, with_article
from zoo.kinds import KINDS, base_of
from zoo.parts_file import read_parts_file
from zoo.plugins import UNPACKAGED, Plugin, PluginFailure, visit_plugins, zoo_version
from zoo.signature import MARK, Signature, read_signature

PARTS_GROUP = "zoo.parts"
BUILT_IN = ("zoo.parts", "zoo.flow", "zoo.data", "zoo.evaluate")

PartsLike = type[Any] | str | PathLike[str] | Iterable[type[Any] | str | PathLike[str]]
"""Parts that are in no package: classes marked by ``@zoo.part``, and paths of files with such."""

T = TypeVar("T")


def part(kind: str, name: str) -> Callable[[type[T]], type[T]]:
    """Mark a class as the part ``name`` of ``kind``. It is registered when its plug-in's ``zoo_parts`` returns it.

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


class Registry:
    """The parts that recipes can name.

    ``Registry.installed()`` holds the built-in parts and those of every installed plug-in; ``Registry()`` the built-in
    ones alone. There is no global registry.
    """

    def __init__(self) -> None:
        self.failures: list[PluginFailure] = []
        self._parts: dict[tuple[str, str], PartEntry] = {}
        self._manager = pluggy.PluginManager("zoo")
        self._manager.add_hookspecs(hookspecs)
        for module in BUILT_IN:
            self.register(import_module(module), Plugin("zoo", zoo_version()))

    @classmethod
    def installed(cls) -> Registry:
        """The built-in parts and those of every installed plug-in.

        A plug-in that fails to load is set aside in ``failures``, and the rest goes on without it.

        Raises:
            PluginError: two plug-ins claim one name.
        """
        registry = cls()
        claims: list[list[PartEntry]] = []

        def visit(plugin: Plugin, entry_point: metadata.EntryPoint) -> None:
            claims.append(registry._claims(entry_point.load(), plugin))

        registry.failures = visit_plugins(PARTS_GROUP, visit)
        for each in claims:
            registry._add(each)
        return registry

    def register(self, module: object, plugin: Plugin) -> None:
        """Register the parts that ``module`` returns from its ``zoo_parts`` hook, all of them or none.

        Raises:
            PluginError: a hook that zoo does not have, a part that breaks the rules, or a name that is taken.
        """
        self._add(self._claims(module, plugin))

    def with_parts(self, parts: PartsLike) -> Registry:
        """These parts and some that are in no package: classes marked by ``@zoo.part``, and paths of files with such.

        Of a file, its ``zoo_parts`` hook tells the parts or, where it has none, they are all that it marks.

        Raises:
            PluginError: a class that breaks the rules, a file that cannot be run or has no parts, or a name that is
                taken.
        """
        registry = copy(self)
        known = {entry.cls for entry in self._parts.values()}
        claims: list[PartEntry] = []
        for each in dict.fromkeys(each_of(parts)):
            own = (
                self._claims_of_file(each) if isinstance(each, str | PathLike) else [part_entry(each, unpackaged(each))]
            )
            claims.extend(entry for entry in own if entry.cls not in known)
            known |= {entry.cls for entry in own}
        registry._add(claims)
        return registry

    def entries(self, kind: str | None = None) -> tuple[PartEntry, ...]:
        """Every part, or every part of one kind, by kind and then by name."""
        order = list(KINDS)
        found = [entry for entry in self._parts.values() if kind in (None, entry.kind)]
        return tuple(sorted(found, key=lambda entry: (order.index(entry.kind), entry.name)))

    def get(self, kind: str, name: str) -> PartEntry:
        """The part ``name`` of ``kind``.

        Raises:
            PluginError: there is no such part; the message offers the nearest name, or the plug-in that failed.
        """
        if (kind, name) in self._parts:
            return self._parts[kind, name]
        names = [entry.name for entry in self.entries(kind)]
        message = f"there is no {kind} {name!r}{did_you_mean(name, names)} (installed: {', '.join(names)})"
        if self.failures:
            failed = "; ".join(f"{failure.plugin.name} ({failure.reason})" for failure in self.failures)
            message += f". A plug-in that failed to load may hold it: {failed}; see `zoo parts --debug`"
        raise PluginError(message)

    def entry_of(self, cls: type[Any]) -> PartEntry:
        """The part that a class is.

        Raises:
            PluginError: it is none of these.
        """
        found = self._parts.get(getattr(cls, MARK))
        if found is None or found.cls is not cls:
            raise PluginError(f"{name_of(cls)} is not registered; return it from the zoo_parts() of its plug-in")
        return found

    def _claims_of_file(self, path: str | PathLike[str]) -> list[PartEntry]:
        file = read_parts_file(path)
        module = file.load()
        if hasattr(module, "zoo_parts"):
            return self._claims(module, file)
        own = [cls for cls in vars(module).values() if inspect.isclass(cls) and cls.__module__ == module.__name__]
        marked = [cls for cls in dict.fromkeys(own) if MARK in vars(cls)]
        if not marked:
            raise PluginError(f"{file.path}: has no parts; put @zoo.part(kind, name) above a class")
        return [part_entry(cls, file) for cls in marked]

    def _claims(self, module: object, plugin: Plugin) -> list[PartEntry]:
        name = self._manager.register(module, name=f"{plugin.name} #{len(self._manager.list_name_plugin())}")
        try:
            self._manager.check_pending()
            hooks = [hook for hook in self._manager.hook.zoo_parts.get_hookimpls() if hook.plugin is module]
            found = [cls for hook in hooks for cls in _returned(hook.function(), plugin)]
            if not found:
                raise PluginError(f"{plugin.words} gives no part: mark its zoo_parts() with @zoo.hookimpl")
            if len({id(cls) for cls in found}) < len(found):
                raise PluginError(f"{plugin.words} returns a part twice from zoo_parts()")
            return [part_entry(cls, plugin) for cls in found]
        except pluggy.PluginValidationError as error:  # a hook that zoo does not have
            raise PluginError(f"{plugin.words}: {error}") from error
        finally:
            self._manager.unregister(name=name)  # all has been asked of it

    def _add(self, claims: Iterable[PartEntry]) -> None:
        parts = dict(self._parts)
        for entry in claims:
            taken = parts.get((entry.kind, entry.name))
            if taken is not None:
                both = f"{_origin(taken)} and {_origin(entry)}"
                if entry.plugin.is_packaged:
                    raise PluginError(
                        f"two plug-ins claim {entry.kind} {entry.name!r}: {both}; uninstall one of them, or rename its"
                        " part"
                    )
                raise PluginError(f"two parts claim {entry.kind} {entry.name!r}: {both}; give yours another name")
            parts[entry.kind, entry.name] = entry
        self._parts = parts


def each_of(parts: PartsLike) -> list[Any]:
    """Several classes and paths, or the one that stands alone."""
    return [parts] if isinstance(parts, type | str | PathLike) else list(parts)


def _returned(classes: Any, plugin: Plugin) -> Iterable[Any]:
    if isinstance(classes, str) or not isinstance(classes, Iterable):
        raise PluginError(
            f"{plugin.words}: zoo_parts() returns {_brief(classes)}; let it return a list of classes, such as [MyBlock]"
        )
    return classes


def _brief(value: object) -> str:
    return f"{value.__qualname__} itself" if inspect.isclass(value) else reprlib.repr(value)


def part_entry(cls: type[Any], plugin: Plugin) -> PartEntry:
    """Describe a marked class.

    Raises:
        PluginError: it breaks the rules of its kind.
    """
    where = f"{plugin.words if plugin.is_packaged or plugin.is_file else 'parts'}: {name_of(cls)}"
    if not inspect.isclass(cls) or MARK not in vars(cls):
        raise PluginError(f"{where} is not marked; put @zoo.part(kind, name) above the class")
    kind, name = getattr(cls, MARK)
    if base_of(kind) not in cls.__mro__:
        raise PluginError(f"{where} is marked as {with_article(kind)}, but does not derive from that kind's base class")
    missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
    if missing:
        raise PluginError(f"{where} leaves out what {with_article(kind)} must have: {missing}")
    version = getattr(cls, "version", 1)
    if type(version) is not int or version < 1:
        raise PluginError(f"{where} has version = {_brief(version)}; let it be a whole number, 1 or more")
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


def name_of(cls: object) -> str:
    """``module.Class``."""
    return f"{getattr(cls, '__module__', '?')}.{getattr(cls, '__qualname__', repr(cls))}"


def _origin(entry: PartEntry) -> str:
    plugin = entry.plugin
    if plugin.is_file:
        return f"{plugin.name} ({entry.cls.__qualname__})"
    return f"{plugin.name} {plugin.version} ({name_of(entry.cls)})" if plugin.is_packaged else plugin.name
