"""Tests of pytest: one for every part and law."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from zoo.errors import DataError
from zoo.part_entries import PartEntry
from zoo.testing.conformance import Check, checks_of, entries_of, parts_of_package
from zoo.testing.strategies import Given


def laws_of_package(package: str, *, options: Given | None = None) -> Callable[..., None]:
    """A test for every part and law of an installed package: ``test_laws = laws_of_package("my-package")``.

    Args:
        package: its name.
        options: those of parts that are not drawn from the schema, or strategies of them, by ``kind/name``.

    Raises:
        PluginError: it is not installed, could not be loaded, or gives no part.
        TypeError: it gives no part that options are given for.
    """
    return _tests(parts_of_package(package), options)


def laws_of_parts(*parts: type[Any] | PartEntry, options: Given | None = None) -> Callable[..., None]:
    """A test for every law of some parts: ``test_laws = laws_of_parts(MyBlock, MyMLP)``.

    Args:
        parts: their classes.
        options: those that are not drawn from the schema, or strategies of them: ``{"block/mine": {"name": "a"}}``.

    Raises:
        PluginError: a class breaks the rules of registration.
        TypeError: options are given for another part.
    """
    return _tests(entries_of(parts), options)


def _tests(entries: Sequence[PartEntry], options: Given | None) -> Callable[..., None]:
    @pytest.mark.parametrize(
        "check", [pytest.param(check, id=check.name) for check in checks_of(entries, options=options)]
    )
    def test_laws(check: Check, request: pytest.FixtureRequest) -> None:
        run(check, request.config, f"pytest {request.node.nodeid}")

    return test_laws


class PackageOfParts(pytest.Collector):
    """What ``pytest --zoo-plugin PACKAGE`` runs."""

    def __init__(self, *, entries: Sequence[PartEntry], **rest: Any) -> None:
        super().__init__(**rest)
        self.entries = entries

    def collect(self) -> Iterator[LawItem]:
        """A test for every part and law."""
        for check in checks_of(self.entries):
            yield LawItem.from_parent(self, name=check.name, check=check)


class LawItem(pytest.Item):
    """A part and a law."""

    def __init__(self, *, check: Check, **rest: Any) -> None:
        super().__init__(**rest)
        self.check = check

    def runtest(self) -> None:
        """Check it."""
        assert self.parent is not None
        run(self.check, self.config, f"pytest --zoo-plugin {self.parent.name} -k {self.name}")

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """In place of the file that it is in."""
        assert self.parent is not None
        return self.parent.name, None, self.name


def run(check: Check, config: pytest.Config, again: str) -> None:
    """Check it, and fail in a few lines, or with the whole traceback for ``--tb=long``.

    A law that a part need not keep is expected to fail where it does; a part that needs files is skipped.
    """
    __tracebackhide__ = True
    whole = config.getoption("tbstyle") in ("long", "native") or config.getoption("fulltrace")
    broken = None
    try:
        check.run(f"{again} --tb=long", traceback=whole and check.law.required)
    except DataError as error:
        pytest.skip(f"{check.part.entry.kind} {check.part.entry.name} needs files: {error}")
    except AssertionError as error:
        if whole and check.law.required:
            raise
        broken = str(error)
    if broken is not None:  # not beneath the error, which pytest would print too
        if check.law.required:
            pytest.fail(broken, pytrace=False)
        pytest.xfail(f"not required: {broken}")
