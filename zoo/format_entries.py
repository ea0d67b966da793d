"""Which weight formats there are, by the hook ``zoo_weight_formats``, and whose each is."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from zoo.claims import words
from zoo.errors import PluginError, ZooError, in_words
from zoo.hooks import brief, formats_of
from zoo.parts_file import PartsFile, name_of
from zoo.plugin_loading import LoadError, guarded
from zoo.plugins import Plugin, PluginProblem, contested, zoo_version

BUILT_IN = "zoo.weights.published"
BASE = "WeightFormat"
"""The class in it that formats derive from. Named so, since it knows recipes and backbones, which know the registry."""

RESERVED = ("diffusers", "zoo")
"""What ``zoo export --to`` takes besides, and no format can be called."""

Check = tuple[Callable[[Any], bool], str]
"""Whether a value is such as it has to be, and what to say of one that is not."""


def _is_keyed(value: Any) -> bool:
    return isinstance(value, Mapping)


def _are_lines(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)


def _is_name(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _one_of(*choices: str) -> Check:
    listed = ", ".join(map(repr, choices))
    return lambda value: value is None or value in choices, f"let it be None or one of {listed}"


RETURNED: Mapping[str, Check] = {
    "infer": (_is_keyed, "let it return a mapping by key"),
    "settled": (_is_keyed, "let it return a mapping by key"),
    "misfits": (_are_lines, "let it yield lines, or return a list of them"),
    "family": (_is_name, "let it return the name of a recipe, or None"),
}
"""By method of a format, what it has to return."""

SAID: Mapping[str, Check] = {
    "prediction": _one_of("velocity", "noise", "data"),
    "path": (_is_name, "let it be the name of a path, or None"),
    "clock": _one_of("noise", "data"),
}
"""By attribute of a format, what it may be."""

FORMATS = "weight formats"
"""What is missing of a plug-in whose hook fails."""


@dataclass(frozen=True)
class FormatEntry:
    """A weight format, which is a ``zoo.weights.WeightFormat``, and whose it is."""

    format: Any
    plugin: Plugin

    @property
    def name(self) -> str:
        """As ``--format`` and ``--to`` take it."""
        return str(self.format.name)

    @property
    def words(self) -> str:
        """The format, and whose it is."""
        return f"weight format {self.name!r} of {self.origin}"

    @property
    def is_own(self) -> bool:
        """Whether it came with zoo."""
        return self.plugin.name == "zoo"

    @property
    def origin(self) -> str:
        """The package and the class, for messages."""
        cls = type(self.format)
        return f"{self.plugin.name} ({cls.__qualname__})" if self.plugin.is_file else f"{self.plugin} ({name_of(cls)})"

    def ask(self, method: str, *given: Any) -> Any:
        """What one of its methods returns; what it yields, as a list.

        Raises:
            ZooError: what the format has to say itself.
            PluginError: the method of a plug-in's fails otherwise; in a line.
        """
        with self.at_work(f"{method}()"):
            found = getattr(self.format, method)(*given)
            found = list(found) if isinstance(found, Iterator) else found
            if method in RETURNED:
                is_right, mend = RETURNED[method]
                if not is_right(found):
                    raise TypeError(f"it returns {brief(found)}; {mend}")
            return found

    @contextmanager
    def at_work(self, where: str) -> Iterator[None]:
        """While code of the format's runs.

        Raises:
            ZooError, PluginError: as ``ask``.
        """
        try:
            yield
        except Exception as error:
            if self.is_own or isinstance(error, ZooError):
                raise
            raise PluginError(f"{self.words} fails in {where}: {in_words(error)}; --debug shows where") from error

    def recognises(self, keys: Collection[str]) -> bool:
        """Whether these may be the keys of such a checkpoint."""
        return bool(self.ask("recognises", keys))

    @property
    def tells_by_keys(self) -> bool:
        """Whether it can recognise any."""
        return type(self.format).recognises is not _base().recognises


def format_entry(cls: Any, plugin: Plugin) -> FormatEntry:
    """Make a format.

    Raises:
        PluginError: the class breaks the rules.
    """
    where = f"{plugin.words}: {name_of(cls)}"
    if not inspect.isclass(cls) or _base() not in cls.__mro__:
        raise PluginError(f"{where} does not derive from zoo.weights.{BASE}, as what zoo_weight_formats() returns must")
    missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
    if missing:
        raise PluginError(f"{where} leaves out what a weight format must have: {missing}")
    name = getattr(cls, "name", None)
    if not isinstance(name, str) or not name.isidentifier() or name != name.lower():
        raise PluginError(f"{where} has name = {brief(name)}; let it be a lower-case identifier, such as 'mpditv2'")
    for attribute, (is_right, mend) in SAID.items():
        value = getattr(cls, attribute)
        if not is_right(value):
            raise PluginError(f"{where} has {attribute} = {brief(value)}; {mend}")
    return FormatEntry(cls(), plugin)


def gathered(
    givers: Iterable[tuple[Plugin, Any]], tell: Callable[[PluginProblem], None]
) -> tuple[dict[str, FormatEntry], dict[str, PluginProblem]]:
    """The formats of zoo and of modules, by name; and by name those that nobody can have.

    Args:
        givers: modules of packages that may have the hook, and files that have been run.
        tell: what is wrong with packages, while the rest works.

    Raises:
        PluginError: a file's hook fails, or it gives what breaks the rules, or a name that is taken.
    """
    own = _entries_of(import_module(BUILT_IN), Plugin("zoo", zoo_version()))
    found = {entry.name: entry for entry in own}
    claims: defaultdict[str, list[FormatEntry]] = defaultdict(list)
    of_files: list[FormatEntry] = []
    for plugin, module in givers:
        if isinstance(plugin, PartsFile):
            with plugin.running():
                of_files += _entries_of(module, plugin)
            continue
        try:
            entries = guarded(plugin, lambda each=module, its=plugin: _entries_of(each, its), tell)  # type: ignore[misc]
        except LoadError as failure:
            line = f"plug-in {plugin} failed to give its {FORMATS}, which are missing: {failure}"
            tell(PluginProblem((plugin,), str(failure), line, FORMATS, failure.__cause__))
            continue
        for entry in entries:
            claims[entry.name].append(entry)
    lost = {}
    for name, claimants in claims.items():
        is_own = name in found or name in RESERVED
        if is_own or len(claimants) > 1:
            origins = [(claim.plugin, claim.origin) for claim in claimants]
            lost[name] = contested(words("weight format", name), origins, is_own=is_own)
            tell(lost[name])
        else:
            found[name] = claimants[0]
    for entry in of_files:
        if entry.name in found or entry.name in RESERVED:
            whose = found[entry.name].origin if entry.name in found else "zoo"
            raise PluginError(
                f"two claim the weight format {entry.name!r}: {whose} and {entry.origin}; give yours another name"
            )
        found[entry.name] = entry
    return found, lost


def _entries_of(module: object, plugin: Plugin) -> list[FormatEntry]:
    return [format_entry(cls, plugin) for cls in formats_of(module, plugin)]


def _base() -> Any:
    return getattr(import_module(BUILT_IN), BASE)
