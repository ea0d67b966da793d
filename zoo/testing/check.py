"""Run the laws over cases that hypothesis draws."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from zoo.assembly import load_recipe
from zoo.errors import RecipeError, with_article
from zoo.plugins import Plugin
from zoo.recipe import Recipe
from zoo.registry import PartEntry, Registry, part_entry
from zoo.testing.assemblies import ASSEMBLY_LAWS, AssemblyLaw
from zoo.testing.cases import Case, Law, cases
from zoo.testing.laws import laws_of
from zoo.testing.recipes import recipes


def check_part(
    part: type[Any] | PartEntry,
    *,
    laws: Sequence[Law] | None = None,
    options: st.SearchStrategy[dict[str, Any]] | None = None,
    supplied: Mapping[str, Any] | None = None,
    examples: int = 25,
) -> None:
    """Check that a part keeps the laws of its kind, for options and sizes that hypothesis draws.

    Args:
        part: a class marked with ``@zoo.part``, of any kind but ``patch_schedule`` and ``dataset``.
        laws: those to check; all of its kind if left out.
        options: a strategy of the part's options; drawn from its derived schema if left out.
        supplied: values that the backbone supplies, for parts that need their own: ``{"dim": 128, "heads": 2}``.
        examples: cases to draw.

    Raises:
        AssertionError: a law is broken; hypothesis shows the smallest case that it found.
        PluginError: the class breaks the rules of registration.
        TypeError: nothing would be checked: a part of this kind cannot be checked by itself, zoo supplies no such value
            to it, there is no law, or every example is refused.
    """
    entry = part if isinstance(part, PartEntry) else part_entry(part, Plugin("under test", "0"))
    if entry.kind == "patch_schedule":
        raise TypeError("a patch schedule has no forward pass; check_assemblies covers it")
    chosen = laws_of(entry.kind) if laws is None else laws
    if laws is None and not chosen:
        raise TypeError(
            f"there are no laws for {with_article(entry.kind)}: what it gives depends on files that the kit has not"
        )
    _refuse_no_laws(chosen)
    refused: list[str] = []

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=cases(entry, options, supplied))
    def run(case: Case) -> None:
        refusal = case.refusal()
        if refusal is not None:
            refused.append(refusal)
        assume(refusal is None)
        for law in chosen:
            law(case)

    _check(run, refused)


def check_assemblies(
    registry: Registry, *, laws: Sequence[AssemblyLaw] = ASSEMBLY_LAWS, examples: int = 25, **fixed: str
) -> None:
    """Check that random assemblies of the registry's parts keep the laws.

    Args:
        registry: the parts to choose from.
        laws: those to check.
        examples: assemblies to draw.
        fixed: kinds whose part is not drawn, such as ``block="my_block"``.

    Raises:
        AssertionError: a law is broken; hypothesis shows the smallest assembly that it found.
        RecipeError: a part fails, or breaks the rules of its kind.
        PluginError: there is no such part.
        TypeError: nothing would be checked: there is no such kind, no law, or every assembly is refused.
    """
    _refuse_no_laws(laws)
    refused: list[str] = []

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(values=recipes(registry, **fixed))
    def run(values: dict[str, Any]) -> None:
        recipe = load_or_pass(values, registry, refused)
        for law in laws:
            law(recipe)

    _check(run, refused)


def _refuse_no_laws(laws: Sequence[Any]) -> None:
    if not laws:
        raise TypeError("laws: there is none to check; leave them out for all")


def _check(run: Callable[[], None], refused: Sequence[str]) -> None:
    """Run a test of hypothesis, and say why where no example comes through."""
    try:
        run()
    except Unsatisfiable as error:
        alike: dict[str, list[str]] = {}
        for each in refused:
            alike.setdefault(re.sub(r"\d+", "", each), []).append(each)
        reason = f", mostly so: {max(alike.values(), key=len)[0]}" if refused else ""
        raise TypeError(f"every example is refused, and nothing was checked{reason}") from error


def load_or_pass(values: dict[str, Any], registry: Registry, refused: list[str] | None = None) -> Recipe:
    """The recipe of drawn values; a combination that is refused is passed over, but not what a part itself fails at.

    Args:
        values: the recipe.
        registry: the parts to choose from.
        refused: takes what was wrong with a combination.

    Raises:
        RecipeError: a part fails, or breaks the rules of its kind.
    """
    try:
        return load_recipe(values, registry=registry)
    except RecipeError as error:
        if error.__cause__ is None:
            if refused is not None:
                refused.extend(error.problems)
            assume(False)
        raise
