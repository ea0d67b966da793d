"""Recipes that zoo wrote: into the folder of a run, a checkpoint or a weight file. Free of torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from zoo.errors import PluginError
from zoo.plugins import Plugin
from zoo.recipe.schema import PartSpec
from zoo.recipe.source import Node
from zoo.registry import Registry


@dataclass(frozen=True)
class Recorded:
    """A resolved recipe as zoo wrote it.

    Attributes:
        where: the folder or file, for messages.
        tree: the recipe, overridden or not.
        plugins: by name, the versions of the plug-ins that it had parts of; zoo is one of them.
        torch: the version of PyTorch; empty where it is not on record.
    """

    where: str
    tree: Node
    plugins: Mapping[str, str]
    torch: str = ""

    def refuse_other_packages(self, parts: Iterable[PartSpec]) -> None:
        """Refuse parts that have the names of recorded ones and are of other packages: they may compute anything.

        Raises:
            PluginError: a part is of a package that is not on record.
        """
        packaged = all(Plugin(name, version).is_packaged for name, version in self.plugins.items())
        for part in parts if self.plugins and packaged else ():  # what was in no package may be in one by now
            plugin = part.entry.plugin
            if plugin.is_packaged and plugin.name not in self.plugins:
                before = [f"{name}=={version}" for name, version in self.plugins.items() if name != "zoo"]
                raise PluginError(
                    f"{self.where}: {part.entry.kind} {part.type!r} is of plug-in {plugin.name} here, and was of"
                    f" {' or '.join(before) or 'zoo'}; uninstall {plugin.name}"
                    + (f" and pip install {' '.join(before)}" if before else "")
                )

    def other_versions(self, parts: Iterable[PartSpec], torch: str) -> str | None:
        """What is of other versions here, among the packages of these parts and PyTorch, in a line; None if nothing.

        Builds of one version, such as PyTorch's for CPUs and for GPUs, count as the same.
        """
        here = {name: version for part in parts for name, version in part.plugins.items()}
        pairs = [(name, self.plugins[name], version) for name, version in here.items() if name in self.plugins]
        pairs += [("torch", self.torch, torch)] if self.torch else []
        other = [(name, one, two) for name, one, two in pairs if one.partition("+")[0] != two.partition("+")[0]]
        if not other:
            return None
        before = ", ".join(f"{name} {version}" for name, version, _ in other)
        now = ", ".join(f"{name} {version}" for name, _, version in other)
        return f"{self.where}: made with {before}; here are {now}"

    def absent(self, registry: Registry) -> dict[str, str]:
        """Those of the plug-ins that are not here in the version that was recorded."""
        here = {entry.plugin.name: entry.plugin.version for entry in registry.entries()}
        return {name: version for name, version in self.plugins.items() if name != "zoo" and here.get(name) != version}

    def refusal(self, parts: Sequence[str], registry: Registry) -> str:
        """One line about parts that are missing, with the packages to install, or the classes to give."""
        here = {entry.plugin.name: entry.plugin.version for entry in registry.entries()}
        broken = {failure.plugin.name: failure.reason for failure in registry.failures}
        told, wanted, classes = [], [], []
        for name, version in self.absent(registry).items():
            if not Plugin(name, version).is_packaged:
                classes.append(name)
            elif name in broken:
                told.append(f"{name} {version}, which failed to load ({broken[name]}; see `zoo parts --debug`)")
            else:
                told.append(f"{name} {version}, " + (f"not {here[name]}" if name in here else "which is not installed"))
                wanted.append(name if version == "unknown" else f"{name}=={version}")
        install = f"; pip install {' '.join(wanted)}" if wanted else ""
        origins = [f"of plug-in {', or '.join(told)}{install}"] if told else []
        if classes:
            given = ", ".join(name.rpartition(".")[2] for name in classes)
            origins.append(f"of {', '.join(classes)}, in no package; give the class in Python, by parts=[{given}]")
        return f"{self.where}: {' and '.join(parts)}: {', or '.join(origins)}"
