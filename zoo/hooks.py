"""The classes that a module of a plug-in gives by its hook."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Iterable
from typing import Any

import pluggy

from zoo import hookspecs
from zoo.errors import PluginError
from zoo.plugins import Plugin


def classes_of(module: object, plugin: Plugin) -> list[Any]:
    """What ``module`` returns from its ``zoo_parts`` hook.

    Raises:
        PluginError: a hook that zoo does not have, or one that gives no list of parts.
    """
    manager = pluggy.PluginManager("zoo")
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(module)
        manager.check_pending()
    except pluggy.PluginValidationError as error:  # a hook that zoo does not have
        raise PluginError(f"{plugin.words}: {error}") from error
    found = [cls for hook in manager.hook.zoo_parts.get_hookimpls() for cls in _listed(hook.function(), plugin)]
    if not found:
        raise PluginError(f"{plugin.words} gives no part: mark its zoo_parts() with @zoo.hookimpl; a plain function")
    if len({id(cls) for cls in found}) < len(found):
        raise PluginError(f"{plugin.words} returns a part twice from zoo_parts()")
    return found


def brief(value: object) -> str:
    """A value in a message."""
    return f"{value.__qualname__} itself" if inspect.isclass(value) else reprlib.repr(value)


def _listed(classes: Any, plugin: Plugin) -> Iterable[Any]:
    if isinstance(classes, str) or not isinstance(classes, Iterable):
        raise PluginError(
            f"{plugin.words}: zoo_parts() returns {brief(classes)}; let it return a list of classes, such as [MyBlock]"
        )
    return classes
