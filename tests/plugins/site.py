"""Distributions as strangers ship them, made in a folder, and zoo run with these installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from tests.forked import run_zoo

Run = subprocess.CompletedProcess[str]


def environment(site: Path) -> dict[str, str]:
    """Of a process that has the distributions under ``site`` installed."""
    # Wide help, whatever the terminal; and nothing of what the tests run under leaks in.
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "PYTHON", "COV"))}
    return {**clean, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "140"}


def python(site: Path, *args: str, timeout: float = 240, **variables: str) -> Run:
    """Run Python with the distributions under ``site`` installed, in a folder without recipes."""
    return subprocess.run(
        [sys.executable, *args],
        env={**environment(site), **variables},
        cwd=site.parent,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def zoo(site: Path, *args: str, plugins: str = "") -> Run:
    """Run zoo so; ``plugins`` says which of them load."""
    return run_zoo(*args, folder=site.parent, path=[site], variables={"ZOO_PLUGINS": plugins})


def install(package: Path, folder: Path, site: Path | None = None) -> Path:
    """Install a package, from a copy in ``folder / "source"``, so that building it leaves nothing in the repository.

    Returns where it is: ``site``, where others may be too, or a ``folder / "site"`` of its own.
    """
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    source, site = shutil.copytree(package, folder / "source", ignore=ignored), site or folder / "site"
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    done = python(site, *pip, "--no-build-isolation", "--target", str(site), str(source))
    assert done.returncode == 0, done.stderr
    return site


def fake(
    site: Path, name: str, entry_points: Mapping[str, str], source: str | None = None, *, requires: str = ""
) -> Path:
    """Install a distribution ``name`` 1.0 with one module of that name; ``entry_points`` by group."""
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    wanted = f"Requires-Dist: {requires}\n" if requires else ""
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{wanted}")
    (info / "entry_points.txt").write_text("".join(f"[{group}]\n{line}\n" for group, line in entry_points.items()))
    if source is not None:
        (site / f"{name}.py").write_text(textwrap.dedent(source))
    return site


def block(name: str, *, hook: str = "zoo_parts", kind: str = "block", options: str = "") -> str:
    """The source of a plug-in with one part."""
    return f"""
        import zoo
        from zoo.parts.blocks import DiTBlock

        @zoo.part("{kind}", "{name}")
        class Fake(DiTBlock):
            '''DiT's block under another name.'''

            def __init__(self, dim: int, heads: int{options}) -> None:
                super().__init__(dim, heads)

        @zoo.hookimpl
        def {hook}():
            return [Fake]
    """


def layout(name: str, *, base: str = "WeightFormat", entries: str = "", returned: str = "[Fake]") -> str:
    """The source of a plug-in with one weight format: zoo's names behind the format's, if not said otherwise."""
    entries = entries or f'(Entry(f"{name}.{{own}}", own) for own in backbone.state_dict())'
    return f"""
        import zoo
        from zoo.weights import Entry, WeightFormat

        class Fake({base}):
            name = "{name}"

            def recognises(self, keys):
                return any(key.startswith("{name}.") for key in keys)

            def entries(self, recipe, backbone):
                return {entries}

        @zoo.hookimpl
        def zoo_weight_formats():
            return {returned}
    """
