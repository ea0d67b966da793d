"""Every law of every part, one by one, and what comes of it."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from tests.strangers.cross import Captions, CrossBlock
from tests.testing.broken.modules import ForgetsTheTable, Sound
from tests.testing.test_assemblies import NarrowUnderAutocast
from tests.testing.test_right_parts import HoldsItsOwn
from zoo.kinds import BACKBONE_KINDS
from zoo.registry import Registry, part
from zoo.testing import ASSEMBLY_LAWS, laws_of
from zoo.testing.check import PATIENCE
from zoo.testing.conclude import Conclusion, outcome
from zoo.testing.conformance import Check, checks_of, entries_of
from zoo.testing.law import NotRun, law

pytestmark = pytest.mark.usefixtures("drawn_as_ever")


def check_of(checks: list[Check], name: str) -> Check:
    (found,) = (each for each in checks if each.law_name == name)
    return found


def test_every_part_has_the_laws_of_its_kind_and_those_of_assemblies():
    registry = Registry()
    for check in (checks := list(checks_of(registry.entries()))):
        assert check.law in (ASSEMBLY_LAWS if check.is_of_assemblies else laws_of(check.part.entry.kind))
    names = [check.name for check in checks]
    assert len(set(names)) == len(names)
    for entry in registry.entries():
        of_assemblies = [each for each in checks if each.part.entry is entry and each.is_of_assemblies]
        assert len(of_assemblies) == (len(ASSEMBLY_LAWS) if entry.kind in BACKBONE_KINDS else 0)


def test_a_part_is_tried_in_assemblies():
    check = check_of(list(checks_of(entries_of([NarrowUnderAutocast]))), "assembly-residual_stream_is_wide")
    came = outcome(check, check.call, count().__next__)
    assert (came.law, came.state, came.seconds) == ("assembly-residual_stream_is_wide", "broken", 1)
    assert came.message.startswith(
        "an assembly with block narrow_under_autocast breaks the law residual_stream_is_wide: "
    )
    assert came.message.endswith(
        'check_assemblies(zoo.Registry().with_parts([NarrowUnderAutocast]), block="narrow_under_autocast",'
        ' laws=["residual_stream_is_wide"], traceback=True)'
    )


@pytest.mark.parametrize(
    ("kind", "name", "law_name", "message"),
    [
        (
            "modulation",
            "none",
            "assembly-sample_is_alone",
            "in assemblies, every example is refused, and nothing was checked",
        ),
        ("features", "inception", "record_is_plain", "needs files: "),
    ],
)
def test_what_cannot_be_tried_is_no_fault(kind, name, law_name, message):
    check = check_of(list(checks_of([Registry().get(kind, name)])), law_name)
    came = outcome(check, "again")
    assert came.state == "not run"
    assert came.message.startswith(message)
    conclusion = Conclusion(["zoo"], [came])
    assert not conclusion.is_sound
    assert conclusion.words().startswith("nothing checked · ")
    assert "#757575" in conclusion.badge()


def test_an_assembly_that_cannot_be_built_is_told_as_it_is():
    check = check_of(list(checks_of(entries_of([ForgetsTheTable]))), "assembly-sample_is_alone")
    came = outcome(check, "again")
    assert came.state == "broken"
    assert "table is made by the constructor alone" in came.message
    assert check.law.advice not in came.message


@pytest.mark.parametrize("error", [KeyError, TypeError])
def test_of_what_fails_once_there_are_numbers_the_laws_tell_where(error):
    @part("time_embedder", "fails_with_numbers")
    class FailsWithNumbers(Sound):
        def __init__(self, dim: int) -> None:
            super().__init__(dim)
            if not self.proj.weight.is_meta:
                raise error("not here")

    came = outcome(check_of(list(checks_of(entries_of([FailsWithNumbers]))), "assembly-sample_is_alone"), "again")
    assert came.state == "broken"
    assert f"fails: {error.__name__}" in came.message
    assert f"at {Path(__file__).name}:" in came.message


@part("time_embedder", "cannot_be_built")
class CannotBeBuilt(Sound):
    built = 0

    def __init__(self, dim: int) -> None:
        CannotBeBuilt.built += 1
        raise RuntimeError("not here")


def test_what_cannot_be_built_changes_no_width():
    came = outcome(check_of(list(checks_of(entries_of([CannotBeBuilt]))), "changes_the_width"), "again")
    assert came.state == "broken"
    assert "not here" in came.message


def test_what_cannot_be_built_is_put_into_assemblies_once():
    checks = [each for each in checks_of(entries_of([CannotBeBuilt])) if each.is_of_assemblies]
    first = outcome(checks[0], "again")
    built = CannotBeBuilt.built
    assert first.state == "broken"
    assert "not here" in first.message
    assert {outcome(each, "again").message for each in checks[1:]} == {first.message}
    assert CannotBeBuilt.built == built


@part("time_embedder", "refuses_all")
class RefusesAll(Sound):
    built = 0

    def __init__(self, dim: int) -> None:
        RefusesAll.built += 1
        raise ValueError("never")


def test_what_is_always_refused_is_drawn_for_once():
    checks = list(checks_of(entries_of([RefusesAll])))[:3]
    first = outcome(checks[0], "again")
    built = RefusesAll.built
    assert first.state == "broken"
    assert built <= 2 * PATIENCE
    assert [outcome(each, "again").message for each in checks[1:]] == [first.message] * 2
    assert RefusesAll.built == built


def test_a_part_is_tried_in_assemblies_with_those_that_it_holds():
    check = check_of(list(checks_of(entries_of([HoldsItsOwn]))), "assembly-sample_is_alone")
    came = outcome(check, check.call)
    assert (came.state, came.message) == ("kept", "")
    assert "with_parts([HoldsItsOwn, HoldsANorm, OwnNorm])" in check.call


@part("time_embedder", "takes_text")
class TakesText(Sound):
    def __init__(self, dim: int, *, text: str) -> None:
        assert text == "a"
        super().__init__(dim)


def test_an_option_that_cannot_be_drawn_is_told_once():
    checks = list(checks_of(entries_of([TakesText])))
    came = [outcome(each, "again") for each in (checks[0], check_of(checks, "assembly-sample_is_alone"))]
    assert {each.state for each in came} == {"not run"}
    (message,) = {each.message for each in came}
    assert "\n" not in message
    assert message.startswith("time_embedder takes_text: the kit cannot draw option 'text' of type str ")
    assert "laws_of_parts(Mine, options={'time_embedder/takes_text': {...}})" in message


def test_options_may_be_given_that_no_law_draws():
    checks = list(checks_of(entries_of([TakesText]), options={"time_embedder/takes_text": {"text": "a"}}))
    for name in ("shape_contract", "every_option_changes_something", "assembly-sample_is_alone"):
        came = outcome(check_of(checks, name), "again")
        assert (came.state, came.message) == ("kept", "")
    with pytest.raises(TypeError, match=r"there is no part 'time_embedder/takes_txt'; did you mean 'time_embedder/ta"):
        checks_of(entries_of([TakesText]), options={"time_embedder/takes_txt": {"text": "a"}})


@part("time_embedder", "sound_too")
class SoundToo(Sound):
    pass


def test_a_part_answers_for_no_other_of_its_file():
    checks = list(checks_of(entries_of([SoundToo, NarrowUnderAutocast])))
    sound = next(each.part for each in checks if each.part.entry.cls is SoundToo)
    assert isinstance(sound.assemblies, list)
    for drawn in sound.assemblies:
        assert "narrow_under_autocast" not in drawn.written


def test_a_part_is_tried_with_those_of_its_file_where_it_goes_with_no_other():
    checks = list(checks_of(entries_of([CrossBlock, Captions])))
    lone = next(each.part for each in checks_of(entries_of([CrossBlock])))
    assert isinstance(lone.assemblies, NotRun)
    part = next(each.part for each in checks if each.part.entry.cls is CrossBlock)
    assert isinstance(part.assemblies, list)
    assert all('"captions"' in drawn.written for drawn in part.assemblies)


def test_a_law_that_need_not_be_kept_breaks_no_conclusion():
    @law("Do otherwise.", required=False)
    def fails(case):
        """Never kept."""
        raise AssertionError("it is not")

    (first, *_) = checks_of(entries_of([SoundToo]))
    free, kept = outcome(replace(first, law=fails), "again"), outcome(first, "again")
    assert (free.state, kept.state) == ("not required", "kept")
    conclusion = Conclusion(["mine 1.0"], [free, kept])
    assert conclusion.words().startswith("1 law kept · time_embedder · torch ")
    assert conclusion.report()["laws"] == {"kept": 1, "broken": 0, "not required": 1, "not run": 0}
    broken = outcome(replace(first, law=replace(fails, required=True)), "again")
    assert Conclusion(["mine 1.0"], [broken, kept]).words().startswith("1 of 2 laws broken · time_embedder · torch ")
