"""Recipes that zoo wrote: into the folder of a run, a checkpoint or a weight file. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zoo.companions import pip_install
from zoo.plugins import Plugin
from zoo.recipe.source import Node
from zoo.recipe.versions import Made, PartVersion
from zoo.registry import Registry
from zoo.shell import command


@dataclass(frozen=True)
class Recorded:
    """A resolved recipe as zoo wrote it.

    Attributes:
        where: the folder or file, for messages.
        tree: the recipe, overridden or not.
        made: what it was trained with, if that is on record.
    """

    where: str
    tree: Node
    made: Made | None = None

    @property
    def packages(self) -> Mapping[str, str]:
        """The versions of the packages on record, by name."""
        return self.made.versions.packages if self.made else {}

    def part(self, kind: str, name: str) -> PartVersion | None:
        """A part as it was recorded, if it was."""
        return self.made.versions.part(kind, name) if self.made else None

    def absent(self, registry: Registry) -> dict[str, str]:
        """Those of the plug-ins that are not here in the version that was recorded."""
        here = registry.plugins
        plugins = {name: version for name, version in self.packages.items() if name not in ("zoo", "torch")}
        return {name: version for name, version in plugins.items() if here.get(name) != version}

    def refusal(self, parts: Sequence[str], registry: Registry) -> str:
        """One line about parts that are missing, with the packages to install, or the classes to give."""
        here, idle = registry.plugins, registry.idle_plugins
        broken = {plugin.name: each.reason for each in registry.problems if each.missing for plugin in each.plugins}
        told, wanted, classes, files = [], [], [], []
        for name, version in self.absent(registry).items():
            plugin = Plugin(name, version)
            if plugin.is_file:
                files.append(plugin)
            elif not plugin.is_packaged:
                classes.append(name)
            elif name in idle:
                told.append(f"{name} {version}, which {idle[name]}")
            elif name in broken:
                told.append(f"{name} {version}, which failed to load ({broken[name]}; see `zoo plugins`)")
            else:
                told.append(f"{name} {version}, " + (f"not {here[name]}" if name in here else "which is not installed"))
                wanted.append(plugin)
        install = f"; {pip_install(*wanted)}" if wanted else ""
        origins = [f"{', or '.join(told)}{install}"] if told else []
        if classes:
            given = ", ".join(name.rpartition(".")[2] for name in classes)
            origins.append(f"{', '.join(classes)}, in no package; give the class in Python, by parts=[{given}]")
        if files:
            origins.append(self._files_to_give(files))
        come = "comes" if len(parts) == 1 else "come"
        return f"{self.where}: {' and '.join(parts)} {come} from {', or '.join(origins)}"

    def _files_to_give(self, files: Sequence[Plugin]) -> str:
        """How to give the files of parts that are on record: zoo runs none because a run or weight file names it."""
        kept = [self.made.copy_of(file) if self.made else None for file in files]
        names = [file.name if copy else f"{file.name} ({file.version})" for file, copy in zip(files, kept, strict=True)]
        words = [word for file, copy in zip(files, kept, strict=True) for word in ("--parts", copy or file.name)]
        given = f"{command(*words)} (in Python, parts=)"
        return f"{' and '.join(names)}, in no package, which zoo does not run by itself; give {given}"
