"""The classes that a module of a plug-in gives by its hooks."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import pluggy

from zoo import hookspecs
from zoo.errors import PluginError
from zoo.plugins import Plugin
from zoo.signature import MARK

FORMATS = "zoo_weight_formats"


def parts_of(module: object, plugin: Plugin) -> list[Any]:
    """What ``module`` returns from its ``zoo_parts`` hook; none where it gives weight formats alone.

    Raises:
        PluginError: a hook that zoo does not have, or one that gives no list of parts.
    """
    hooks = _hooks_of(module, plugin)
    found = _returned(hooks.zoo_parts, plugin)
    if not found and not hooks.zoo_weight_formats.get_hookimpls():
        hook = FORMATS if hasattr(module, FORMATS) else "zoo_parts"
        raise PluginError(f"{plugin.words} gives no part: mark its {hook}() with @zoo.hookimpl; a plain function")
    if len({id(cls) for cls in found}) < len(found):
        raise PluginError(f"{plugin.words} returns a part twice from zoo_parts(); return each once")
    return found


def formats_of(module: object, plugin: Plugin) -> list[Any]:
    """What ``module`` returns from its ``zoo_weight_formats`` hook; none where it has no such.

    Raises:
        PluginError: a hook that zoo does not have, or one that gives no list of formats.
    """
    hook = _hooks_of(module, plugin).zoo_weight_formats
    if hasattr(module, FORMATS) and not hook.get_hookimpls():
        raise PluginError(f"{plugin.words} gives no format: mark its {FORMATS}() with @zoo.hookimpl; a plain function")
    return list(dict.fromkeys(_returned(hook, plugin)))


def marked_in(*modules: ModuleType) -> list[type[Any]]:
    """All classes that modules mark with ``@zoo.part``, under a name of their own or in a collection that has one."""
    found: dict[type[Any], None] = {}
    for module in modules:
        for value in vars(module).values():
            many = value.values() if isinstance(value, dict) else value
            for cls in many if isinstance(value, dict | list | tuple | set) else [value]:
                if inspect.isclass(cls) and cls.__module__ == module.__name__ and MARK in vars(cls):
                    found[cls] = None
    return list(found)


def brief(value: object) -> str:
    """A value in a message."""
    return f"{value.__qualname__} itself" if inspect.isclass(value) else reprlib.repr(value)


def _hooks_of(module: object, plugin: Plugin) -> Any:
    manager = pluggy.PluginManager("zoo")
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(module)
        manager.check_pending()
    except pluggy.PluginValidationError as error:  # a hook that zoo does not have
        raise PluginError(f"{plugin.words}: {error}") from error
    return manager.hook


def _returned(hook: pluggy.HookCaller, plugin: Plugin) -> list[Any]:
    return [cls for each in hook.get_hookimpls() for cls in _listed(each.function(), hook.name, plugin)]


def _listed(classes: Any, hook: str, plugin: Plugin) -> Iterable[Any]:
    if isinstance(classes, str) or not isinstance(classes, Iterable):
        such = "MyFormat" if hook == FORMATS else "MyBlock"
        raise PluginError(
            f"{plugin.words}: {hook}() returns {brief(classes)}; let it return a list of classes, such as [{such}]"
        )
    return classes
