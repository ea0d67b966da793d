"""The table of kinds: complete, and what it names exists."""

import subprocess
import sys
from importlib import import_module
from typing import get_args, get_origin

import pytest

from zoo.assembly import build
from zoo.kinds import (
    BACKBONE_KINDS,
    HELD_KINDS,
    KINDS,
    SECTIONS,
    base_of,
    key_of,
    kind_at,
    kind_of_base,
    kinds_of,
    path_of,
)
from zoo.optim import Role, Weight
from zoo.recipe.schema import SECTIONS as SCHEMA
from zoo.recipe.schema import Recipe

INSIDE_PARTS = [name for name, kind in KINDS.items() if kind.section is None]


def test_every_kind_stands_in_one_section_of_the_schema():
    assert {name for section in SECTIONS for name in kinds_of(section)} | set(INSIDE_PARTS) == set(KINDS)
    assert set(SECTIONS) <= set(SCHEMA)
    assert kinds_of("backbone") == BACKBONE_KINDS
    assert kinds_of("train") == ("optimizer", "schedule", "callback")
    assert kinds_of("sample") == ("solver", "guidance")
    for name in set(KINDS) - set(INSIDE_PARTS):
        section, key = path_of(name)
        assert key in SCHEMA[section][1].model_fields
        assert kind_at(section, key) == name
        assert section in Recipe.model_fields


def test_the_order_of_weights_stays_as_it_is():
    assert " ".join(HELD_KINDS) == (
        "patch_embedder position time_embedder class_conditioner stage_embedder modulation block upsampler downsampler"
        " skip head router"
    )
    backbone = build("hybrid_b", device="meta")
    rooms = list(dict.fromkeys(name.partition(".")[0] for name in backbone.state_dict()))
    assert rooms == [KINDS[kind].where for kind in HELD_KINDS if KINDS[kind].where in rooms]


@pytest.mark.parametrize("name", KINDS)
def test_the_base_class_is_of_its_kind_and_abstract(name):
    module, cls = KINDS[name].base.split(":")
    base = getattr(import_module(module), cls)
    assert base.kind == name
    assert name == "callback" or base.__abstractmethods__  # which hears of what it wants to
    assert base_of(name) is base
    assert kind_of_base(base) == name
    assert kind_of_base(type(cls, (base,), {})) is None


@pytest.mark.parametrize("name", KINDS)
def test_the_default_is_a_built_in_part_that_needs_no_option(name, registry):
    default = KINDS[name].default
    if default is None:
        assert name == "patch_schedule" or KINDS[name].many or name in INSIDE_PARTS
        return
    entry = registry.get(name, default)
    assert entry.plugin.name == "zoo"
    entry.signature.options()  # every option has a default


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.short])
def test_the_short_form_is_an_option_of_the_default(name, registry):
    assert KINDS[name].short in registry.get(name, KINDS[name].default).signature.options.model_fields


def test_several_parts_of_a_kind_stand_under_its_plural():
    plurals = {"loss": "losses", "callback": "callbacks", "metric": "metrics"}
    assert {name: key_of(name) for name, kind in KINDS.items() if kind.many} == plurals
    assert kind_at("evaluate", "metric") is None
    assert kind_at("sample", "metrics") is None


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.many])
def test_the_default_parts_of_a_kind_are_built_in_and_need_no_option(name, registry):
    assert KINDS[name].defaults
    for default in KINDS[name].defaults:
        entry = registry.get(name, default)
        assert entry.plugin.name == "zoo"
        entry.signature.options()


@pytest.mark.parametrize("name", KINDS)
def test_parts_ask_for_nothing_that_is_not_supplied(name, registry):
    entries = registry.entries(name)
    assert entries
    for entry in entries:
        assert set(entry.signature.supplied) <= set(KINDS[name].supplied)


def test_torch_is_not_imported():
    code = "import sys, zoo.kinds; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "module", ["zoo", "zoo.parts", "zoo.flow", "zoo.data", "zoo.optim", "zoo.callbacks", "zoo.evaluate"]
)
def test_types_for_authors_that_are_no_classes_are_told_by_their_module(module):
    """Of such a type itself, pydoc tells what is known of tuples, say."""
    room = import_module(module)
    types = [name for name in room.__all__ if get_origin(getattr(room, name)) is not None]
    assert [name for name in types if f"``{name}" not in room.__doc__] == []


def test_the_words_of_a_role_stand_where_it_does():
    assert [word for word in get_args(Role) if f'"{word}"' not in Weight.__doc__] == []
