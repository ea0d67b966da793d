"""Run the laws, one after the other, each over the cases that were drawn for all of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar

import torch
from hypothesis.strategies import SearchStrategy

from zoo.devices import set_aside
from zoo.errors import DataError, did_you_mean
from zoo.part_entries import PartEntry, part_entry
from zoo.parts_file import name_of
from zoo.plugins import Plugin
from zoo.recipe import Recipe
from zoo.registry import Registry
from zoo.testing.assemblies import ASSEMBLY_LAWS
from zoo.testing.cases import Case
from zoo.testing.draw import Refused, draw
from zoo.testing.drawn_sites import axes_given, corners
from zoo.testing.failure import told
from zoo.testing.law import Law, NotRun
from zoo.testing.laws import laws_of
from zoo.testing.random_assemblies import Drawn, random_assemblies
from zoo.testing.random_cases import cases
from zoo.testing.strategies import Given, Options, strategy_of
from zoo.train.process import put_back

Subject = TypeVar("Subject")

EXAMPLES = 8
"""Cases of a part, or assemblies, where no other number is asked for: enough to catch each broken part of the tests."""

PATIENCE = 100
"""Cases that are tried before a part is said to refuse all."""

IN_A_CORNER = (3, 8)
"""Cases that are drawn in a corner, of which one that is not refused is taken; the more where all are."""

TRIES = 20
"""Simpler cases that are tried at most, once a law is broken."""


def check_part(
    part: type[Any] | PartEntry,
    *,
    laws: Sequence[Law[Case] | str] | None = None,
    options: Options | None = None,
    supplied: Mapping[str, Any] | None = None,
    examples: int = EXAMPLES,
    traceback: bool = False,
) -> None:
    """Check that a part keeps the laws of its kind, for options and sizes that hypothesis draws: always the same.

    Args:
        part: a class marked with ``@zoo.part``.
        laws: those to check, or their names; all of its kind if left out, and of those that a part need not keep it
            warns alone.
        options: the part's options, or a strategy of them; drawn from its derived schema if left out.
        supplied: values that the backbone supplies, for parts that need their own: ``{"dim": 128, "heads": 2}``.
        examples: cases to draw; however few, a part of the backbone is tried with tokens in front and without, on all
            axes that it takes, with grid and patches that are not square.
        traceback: whether to let through what comes out of a law as it is, with its traceback.

    Raises:
        AssertionError: a law is broken, or the part fails: a few lines that say for what, and what to do. Of a law
            that is not required a warning says it, unless the law is named in ``laws``.
        DataError: the part needs files that the kit has not.
        PluginError: the class breaks the rules of registration.
        TypeError: nothing would be checked: zoo supplies no such value to it, there is no such law, or every example is
            refused.
    """
    __tracebackhide__ = True
    entry = part if isinstance(part, PartEntry) else part_entry(part, Plugin("under test", "0"))
    known = laws_of(entry.kind)
    chosen = known if laws is None else _named(laws, known)
    call = f'check_part({entry.cls.__qualname__}, laws=["{{law}}"], traceback=True)'
    with set_aside():
        drawn = part_cases(entry, options, supplied, examples)
        for law in chosen:
            with suppress(NotRun), warned(unless=law.required or laws is not None):
                hold(law, drawn, None if traceback else partial(part_failure, again=call))


def part_cases(
    entry: PartEntry,
    options: Options | None = None,
    supplied: Mapping[str, Any] | None = None,
    examples: int = EXAMPLES,
) -> list[Case]:
    """Cases of a part that it does not refuse, in any order and then in the corners; see ``check_part``.

    Raises:
        TypeError: zoo supplies no such value, or every case is refused.
    """
    given = None if options is None else strategy_of(options)
    tried = corners(entry, axes_given(supplied or {}))
    found = draw(cases(entry, given, supplied), _accepted, max(1, examples - len(tried)), patience=PATIENCE)
    for number, corner in enumerate(tried):
        found += _in_corner(cases(entry, given, supplied, corner), number)
    return found


def _in_corner(strategy: SearchStrategy[Case], seed: int) -> list[Case]:
    for tries in IN_A_CORNER:
        drawn = draw(strategy, lambda case: case, tries, seed=seed)
        for case in reversed(drawn):  # the first is the plainest
            if case.refusal() is None:
                return [case]
    return []


def _accepted(case: Case) -> Case:
    refusal = case.refusal()
    if refusal is not None:
        raise Refused(refusal)
    return case


def part_failure(law: Law[Case], case: Case, error: Exception, *, again: str) -> str:
    """What the author reads of a law that a part breaks."""
    entry = case.entry
    subject = f"{entry.kind} {entry.name} ({name_of(entry.cls)})"
    roots = {entry.cls.__module__.split(".")[0]}
    detail = f"options: {case.written or 'as they are by default'}; site: {case.place}"
    return told(law, subject, error, roots, detail, again.format(law=law.__name__))


def check_assemblies(
    registry: Registry,
    *,
    laws: Sequence[Law[Recipe] | str] = ASSEMBLY_LAWS,
    options: Given | None = None,
    examples: int = EXAMPLES,
    traceback: bool = False,
    **fixed: str,
) -> None:
    """Check that random assemblies of the registry's parts keep the laws: always the same assemblies.

    Args:
        registry: the parts to choose from, such as ``zoo.Registry().with_parts([MyBlock])``.
        laws: those to check, or their names.
        options: those of parts that are not drawn from the schema, or strategies of them, by ``kind/name``.
        examples: assemblies to draw.
        traceback: whether to let through what comes out of a law as it is, with its traceback.
        fixed: kinds whose part is not drawn, such as ``block="my_block"``.

    Raises:
        AssertionError: a law is broken, or a part fails: a few lines that say in what assembly, and what to do.
        RecipeError: a part fails as it is built, or breaks the rules of its kind.
        PluginError: there is no such part.
        TypeError: nothing would be checked: there is no such kind, no law, or every assembly is refused.
    """
    __tracebackhide__ = True
    chosen = _named(laws, ASSEMBLY_LAWS)
    said = "".join(f', {kind}="{name}"' for kind, name in fixed.items())
    call = f'check_assemblies(registry{said}, laws=["{{law}}"], traceback=True)'
    with set_aside():
        drawn = random_assemblies(registry, examples, fixed, options)
        for law in chosen:
            hold(law, drawn, None if traceback else partial(assembly_failure, again=call), of=recipe_of)


recipe_of: Callable[[Drawn], Recipe] = attrgetter("recipe")


def assembly_failure(law: Law[Recipe], drawn: Drawn, error: Exception, *, again: str) -> str:
    """What the author reads of a law that an assembly breaks."""
    fixed = ", ".join(map(" ".join, drawn.fixed.items()))
    roots = {entry.cls.__module__.split(".")[0] for entry in drawn.registry.entries()}
    subject, roots = f"an assembly with {fixed}" if fixed else "an assembly", roots - {"zoo"} or roots
    return told(law, subject, error, roots, f"recipe: {drawn.written}", again.format(law=law.__name__))


@contextmanager
def warned(*, unless: bool) -> Iterator[None]:
    """Warn of a broken law in place of failing, unless a part must keep it."""
    __tracebackhide__ = True
    try:
        yield
    except AssertionError as error:
        if unless:
            raise
        warnings.warn(str(error), stacklevel=4)


def hold(
    law: Law[Any],
    subjects: Sequence[Any],
    failure: Callable[[Law[Any], Any, Exception], str] | None,
    of: Callable[[Any], Any] = lambda subject: subject,
) -> None:
    """Check a law on each of what was drawn, as many as it takes.

    Args:
        law: to check.
        subjects: each may have ``simpler()``, others to try in its place once it breaks the law.
        failure: what to say; None lets through what comes out of the law.
        of: what of it the law takes.

    Raises:
        AssertionError: the law is broken, by the simplest of what was tried.
        NotRun: it cannot be tried here, on any of them.
    """
    __tracebackhide__ = True
    with put_back(), warnings.catch_warnings():
        torch.set_num_threads(1)  # or they wait for each other longer than they work, ten times where cores are taken
        warnings.filterwarnings("ignore", "`torch.jit.script`", DeprecationWarning)  # of PyTorch's own compiler
        left, refused = law.examples or len(subjects), []
        for subject in (*subjects[-left:], *reversed(subjects[:-left])):  # those drawn first are the plainest
            if not left:
                return
            try:
                if failure is None:
                    law(of(subject))
                elif (error := _broken(law, of(subject))) is not None:
                    raise AssertionError(failure(law, *_simplest(law, subject, error, of))) from None
                left -= 1
            except NotRun as why:
                refused.append(why)
        if len(refused) == len(subjects) > 0:
            raise refused[0]


def keeps(law: Law[Any], subjects: Sequence[Any], of: Callable[[Any], Any] = lambda subject: subject) -> bool:
    """Whether all that was drawn keep a law.

    Raises:
        DataError: files are not there.
        NotRun: it cannot be tried here.
    """
    try:
        hold(law, subjects, None, of)
    except (DataError, NotRun):
        raise
    except Exception:
        return False
    return True


def _broken(law: Law[Subject], subject: Subject) -> Exception | None:
    try:
        law(subject)
    except (DataError, NotRun):  # nobody's fault: files that are not there, or a device
        raise
    except Exception as error:
        return error
    return None


def _simplest(law: Law[Any], subject: Any, error: Exception, of: Callable[[Any], Any]) -> tuple[Any, Exception]:
    """The law broken in the same way by what is simpler: one thing after the other as it is by default."""
    tries = 0 if law.examples == 1 else TRIES  # which is dear
    simpler: Iterator[Any] = subject.simpler()
    while tries and (each := next(simpler, None)) is not None:
        tries -= 1
        other = None
        with suppress(NotRun):
            other = _broken(law, of(each))
        if type(other) is type(error):
            assert other is not None
            subject, error, simpler = each, other, each.simpler()
    return subject, error


def _named(laws: Sequence[Law[Any] | str], known: Sequence[Law[Any]]) -> tuple[Law[Any], ...]:
    if not laws:
        raise TypeError("laws: there is none to check; leave them out for all")
    by_name = {law.__name__: law for law in known}
    for each in laws:
        if isinstance(each, str) and each not in by_name:
            raise TypeError(f"laws: there is no {each!r}{did_you_mean(each, by_name)} (there are {', '.join(by_name)})")
        if not isinstance(each, str | Law):
            raise TypeError(f"laws: {each!r} is no law; mark a function with @zoo.testing.law(advice)")
    return tuple(by_name[each] if isinstance(each, str) else each for each in laws)
