"""Every built-in part keeps the laws, and every law catches a part that breaks it."""

import re
from dataclasses import replace
from importlib import import_module
from pkgutil import iter_modules

import pytest
import torch

from tests.testing import broken
from tests.testing.broken.blocks import CountsOnTwoAxes, OneByOne
from tests.testing.broken.evaluate import WantsMany
from tests.testing.broken.modules import Sound
from zoo.callbacks import Callback
from zoo.errors import DataError, PluginError, RecipeError
from zoo.evaluate.digits_network import Training
from zoo.kinds import KINDS
from zoo.parts import Level, PatchSchedule, Stage
from zoo.registry import Registry, part
from zoo.testing import (
    ASSEMBLY_LAWS,
    LAWS,
    callback_laws,
    check_part,
    dataset_laws,
    laws,
    options_laws,
    ranks,
)
from zoo.testing.check import hold, part_cases
from zoo.testing.conformance import checks_of, entries_of
from zoo.testing.law import NotRun, law
from zoo.testing.laws import laws_of

ROOMS = [import_module(f"{broken.__name__}.{each.name}") for each in iter_modules(broken.__path__)]
BROKEN = [each for room in ROOMS for each in room.BROKEN]
WITH_FILES = {
    *(("features", name) for name in ("inception", "torchscript")),
    *(("dataset", name) for name in ("images", "latents", "webdataset", "huggingface", "npy")),
}
"""Checked in the tests of their own, which write the files."""

ENTRIES = [
    entry for entry in Registry().entries() if (entry.kind, entry.name) not in {*WITH_FILES, ("dataset", "digits")}
]


def named(entry):
    return f"{entry.kind}-{entry.name}"


@pytest.fixture(autouse=True, scope="module")
def small_digits_network(tmp_path_factory):
    """A network that is trained in no time, in a cache of its own: the laws do not ask how well it reads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("zoo.evaluate.digits.TRAINING", Training(steps=3))
        yield


@pytest.fixture(autouse=True)
def cpu_in_place_of_cuda(monkeypatch):
    """So that the law of CUDA is tried wherever the tests run."""
    monkeypatch.setattr(laws, "cuda_device", lambda: "cpu")


@pytest.mark.parametrize("entry", ENTRIES, ids=named)
def test_built_in_part_keeps_the_laws(entry):
    check_part(entry)


def test_a_part_that_fails_on_other_axes_than_two_is_caught():
    with pytest.raises(AssertionError, match=r"(?s)fails: ValueError: .* values to unpack.*say which numbers of axes"):
        check_part(CountsOnTwoAxes)


def test_a_part_is_tried_on_the_axes_that_it_takes():
    @part("block", "on_two_axes")
    class OnTwoAxes(CountsOnTwoAxes):
        axes = frozenset({2})

    check_part(OnTwoAxes, laws=["shape_contract"], examples=10)
    with pytest.raises(TypeError, match=r"nothing was checked, mostly so: takes latents of \[2\] axes, not 3"):
        check_part(OnTwoAxes, laws=["shape_contract"], supplied={"axes": 3})


def test_a_part_may_say_by_its_options_which_axes_it_takes():
    @part("block", "on_few_axes")
    class OnFewAxes(CountsOnTwoAxes):
        def __init__(self, dim: int, heads: int, *, flat: bool = True) -> None:
            super().__init__(dim, heads)
            self.axes = frozenset({2}) if flat else frozenset({3})

        def forward_stage(self, tokens, vectors, layout):
            assert len(layout.grid) in self.axes
            return OneByOne.forward_stage(self, tokens, vectors, layout)

    check_part(OnFewAxes, laws=["shape_contract"], examples=20)


@pytest.mark.usefixtures("drawn_as_ever")
@pytest.mark.parametrize(("law", "broken", "message"), BROKEN, ids=lambda value: getattr(value, "__name__", None))
def test_law_catches_a_broken_part_and_says_so_in_a_few_lines(law, broken, message, monkeypatch):
    monkeypatch.setattr(options_laws, "ROUNDS", options_laws.ROUNDS[:3])  # the later ones are for right parts
    monkeypatch.setattr(ranks, "TIMEOUT", 15.0)  # which those need who wait for ever
    monkeypatch.setattr(callback_laws, "PATIENCE", 0.0)
    with pytest.raises(AssertionError) as caught:
        check_part(broken, laws=[law])
    lines = str(caught.value).splitlines()
    kind, name = broken.__zoo_part__
    assert len(lines) <= 9  # with the lines of a test around it, pytest prints 12
    assert all(len(line) <= 250 for line in lines)
    told = " ".join(str(caught.value).split())
    assert re.search(message, told)
    breaks = f"breaks the law {law.__name__}" if law.required else f"does not keep the law {law.__name__}"
    assert told.startswith(f"{kind} {name} ({broken.__module__}.{broken.__qualname__}) {breaks}: ")
    assert "options: " in told
    assert f"advice: {law.advice} again, " in told


def test_what_is_checked_elsewhere_is_what_the_kit_cannot_draw():
    for kind, name in WITH_FILES:
        with pytest.raises(DataError, match=r"needs? a file"):
            check_part(Registry().get(kind, name))


def test_every_law_has_a_broken_part():
    caught = {law for law, _, _ in BROKEN}
    assert {*LAWS, *(law for kind in KINDS for law in laws_of(kind))} == caught


EVERY = {law.__name__: law for law in (*ASSEMBLY_LAWS, *(law for kind in KINDS for law in laws_of(kind)))}


@pytest.mark.parametrize("name", EVERY)
def test_a_law_says_what_is_kept_and_what_to_do_in_a_sentence_each(name):
    law = EVERY[name]
    for text in (law.summary, law.advice):
        assert re.fullmatch(r"[A-Z`].*[.)]", text)
    assert len(law.summary) <= 160
    assert len(law.advice) <= 300  # two lines of a message


def test_a_callback_that_refuses_what_it_is_tried_with_is_not_run():
    @part("callback", "coloured")
    class Coloured(Callback):
        everywhere = True

        def check(self, recipe, dataset):
            if recipe.backbone.latent.channels != 3:
                raise RecipeError(["it wants 3 channels"])

        def begin(self, training):
            raise AssertionError

    for each in checks_of(entries_of([Coloured])):
        with pytest.raises(NotRun, match=r"its check\(\) refuses the recipe .*it wants 3 channels"):
            each.run("")


def test_what_a_callback_changes_at_every_step_is_kept_once():
    @part("callback", "without_gradients")
    class WithoutGradients(Callback):
        def step(self, training, step):
            torch.set_grad_enabled(False)

    (entry,) = entries_of([WithoutGradients])
    (case,) = part_cases(entry, examples=1)
    assert callback_laws._whole(case).changed == ["step() changes whether gradients are computed"]


def test_a_law_is_tried_on_those_that_do_not_refuse_it():
    @law("Let it be 2.")
    def is_two(number):
        """It is 2."""
        if number == 1:
            raise NotRun("1 is too few")
        assert number == 2

    hold(is_two, [1, 2], None)
    with pytest.raises(AssertionError):
        hold(is_two, [1, 3], None)
    with pytest.raises(NotRun, match="too few"):
        hold(is_two, [1, 1], None)
    is_two = replace(is_two, examples=1)
    hold(is_two, [3, 3, 2], None)
    hold(is_two, [3, 2, 1], None)
    with pytest.raises(AssertionError):
        hold(is_two, [2, 3, 1, 1], None)


def test_the_sound_part_keeps_every_law():
    check_part(part("time_embedder", "sound")(Sound), examples=10)


def test_a_metric_may_refuse_a_few_images():
    check_part(WantsMany, examples=3)


def test_a_schedule_may_be_checked_with_options_of_one_s_own(registry):
    entry = registry.get("patch_schedule", "by_depth")
    options = {"levels": [{"patch": 4, "blocks": 1}, {"patch": 2, "blocks": 3}]}
    check_part(entry, options=options, supplied={"depth": 4})
    with pytest.raises(TypeError, match=r"mostly so: block counts must add up to depth: 1 \+ 3 = 4, but"):
        check_part(entry, options=options, supplied={"depth": 5})


def test_digits_keep_the_laws(registry):
    check_part(registry.get("dataset", "digits"), supplied={"num_classes": 10, "size": (6, 9)}, examples=1)


@pytest.mark.parametrize(("name", "options"), [
    ("per_channel", {"mean": (-999999.25,), "std": (1.250001,)}),
    ("per_channel", {"mean": (1e6,), "std": (1e6,)}),
    ("scale", {"shift": -1e6, "factor": 1e-6}),
])  # fmt: skip
def test_latents_get_back_as_many_digits_as_options_leave_them(registry, name, options):
    """The last one of a million in float32 is worth 0.0625."""
    check_part(registry.get("normalize", name), options=options, supplied={"channels": 1}, examples=1)


def test_a_dataset_of_other_classes_than_are_drawn_is_tried_without(registry):
    digits = registry.get("dataset", "digits")
    check_part(digits, examples=1)
    with pytest.raises(NotRun, match=r"has 10 classes, .*supplied=\{'num_classes': \.\.\.\}\) tries it"):
        hold(dataset_laws.labels_are_classes, part_cases(digits, examples=1), None)


def test_a_dataset_that_needs_files_takes_those_of_its_options(registry, tmp_path):
    images = registry.get("dataset", "images")
    with pytest.raises(DataError, match="dataset images needs a file: give the kit its option 'folder'"):
        check_part(images)
    with pytest.raises(DataError, match=r"gone.*; give the kit what it needs: check_part\(\.\.\., options="):
        check_part(images, options={"folder": str(tmp_path / "gone")}, supplied={"channels": 3})
    with pytest.raises(TypeError, match="options: dataset images: folders: Extra inputs are not permitted"):
        check_part(images, options={"folder": "here", "folders": 1})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"laws": []}, "laws: there is none to check"),
        ({"supplied": {"nonsense": 1}}, r"zoo supplies no nonsense to any part; give some of axes, "),
        ({"supplied": {"dim": 10, "heads": 3}}, "every example is refused, and nothing was checked, mostly so: .*dim"),
    ],
)
def test_what_would_check_nothing_is_an_error(registry, given, message):
    with pytest.raises(TypeError, match=message):
        check_part(registry.get("block", "dit"), **given)


def test_a_kind_that_is_not_there_has_no_laws():
    with pytest.raises(PluginError, match="there is no kind 'blok'; did you mean 'block'"):
        laws.laws_of("blok")


def test_an_option_without_strategy_is_named():
    @part("time_embedder", "takes_text")
    class TakesText(Sound):
        def __init__(self, dim: int, *, text: str) -> None:
            super().__init__(dim)

    with pytest.raises(
        TypeError,
        match=r"cannot draw option 'text' of type str \(but bool, .*, Patch, and unions, .*check_part\(Mine, options=",
    ):
        check_part(TakesText)


def test_an_option_without_strategy_is_as_it_is_by_default():
    @part("time_embedder", "has_text")
    class HasText(Sound):
        def __init__(self, dim: int, *, text: str = "a") -> None:
            assert text == "a"
            super().__init__(dim)

    check_part(HasText, laws=["shape_contract"], examples=1)


def test_a_schedule_that_fails_is_told_with_its_line():
    @part("patch_schedule", "positional")
    class Positional(PatchSchedule):
        def __init__(self, depth: int) -> None:
            self.depth = depth

        def stages(self):
            return (Stage(noise_above=0.0, levels=(Level(2, self.depth),)),)

    with pytest.raises(
        AssertionError, match=r"(?s)breaks the law stages_fit.*fails: TypeError: .*at test_laws.py:\d+, in s"
    ):
        check_part(Positional)
