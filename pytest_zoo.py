"""``pytest --zoo-plugin PACKAGE``: a test for every part of an installed package and law of its kind.

A module of its own, since every pytest where zoo is installed imports it: zoo itself only where it is asked for.
"""

from __future__ import annotations

from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the option."""
    parser.getgroup("zoo", "parts of diffusion backbones").addoption(
        "--zoo-plugin",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="check the parts of an installed package: a test for every part and law; alone, or beside the tests that"
        " are named; may be given several times",
    )
    # pytest would rewrite the asserts of all packages that have a plugin: what zoo's say is for users, as it is.
    getattr(pluginmanager.rewrite_hook, "_must_rewrite", set()).discard("zoo")


def pytest_configure(config: pytest.Config) -> None:
    """Find the packages, before any test is collected, and leave out the tests that nobody named.

    Raises:
        pytest.UsageError: one is not installed, could not be loaded, or gives no part.
    """
    packages = dict.fromkeys(config.getoption("--zoo-plugin"))
    if not packages:
        return
    from zoo.errors import PluginError
    from zoo.testing.conformance import parts_of_package

    try:
        entries = {package: parts_of_package(package) for package in packages}
    except PluginError as error:
        raise pytest.UsageError(f"--zoo-plugin: {error}") from None
    config.pluginmanager.register(_Packages(entries), "zoo-packages")
    if config.args_source is not config.ArgsSource.ARGS:
        config.args = []


class _Packages:
    def __init__(self, entries: dict[str, Any]) -> None:
        self.entries = entries

    @pytest.hookimpl(tryfirst=True)  # before -k and the like choose
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        from zoo.testing.collect import PackageOfParts

        for package, entries in self.entries.items():
            node = PackageOfParts.from_parent(session, name=package, nodeid=package, entries=entries)
            items.extend(session.genitems(node))
