"""A sound weight format keeps its laws, each law catches one that breaks it, and the built-in ones keep them."""

import re
from dataclasses import dataclass

import pytest

from tests.weights.layouts import EXAMPLES, FORMATS, of_stages
from zoo.errors import PluginError
from zoo.testing import check_format
from zoo.weights import Entry, Turn, WeightFormat


class Lab(WeightFormat):
    """Queries, keys and values one by one, and matrices of blocks on their sides."""

    name = "lab"

    def entries(self, recipe, backbone):
        for own, tensor in backbone.state_dict().items():
            if ".qkv." in own:
                for index, letter in enumerate("qkv"):
                    yield Entry("net." + own.replace("qkv", letter), own, share=(index, 3))
            else:
                is_matrix = own.startswith("blocks.") and tensor.ndim == 2
                yield Entry(f"net.{own}", own, Turn("i o", "o i") if is_matrix else Turn())

    def recognises(self, keys):
        return "net.blocks.0.attention.q.weight" in keys

    def infer(self, tensors):
        """Of latents that are twice as wide as high, since no shape tells."""
        dim, inputs = tensors.of("net.patch_embedders.2x2.proj.weight", 2)
        rows = int((tensors.of("net.positions.2x2.table", 2)[0] / 2) ** 0.5)
        return {
            "latent": {"channels": inputs // 4, **self.sides(rows)},
            "num_classes": len(tensors["net.class_conditioner.embedding.weight"]) - 1,
            "dim": dim,
            "depth": tensors.count("net.blocks"),
            "patch_schedule": {"type": "uniform", "patch": 2},
            "head": {"type": "linear", "learn_sigma": True},
        }

    def sides(self, rows):
        return {"height": 2 * rows, "width": 4 * rows}


def each_but(lab, changed):
    return lambda self, recipe, backbone: map(changed, lab.entries(self, recipe, backbone))


def only(name, **other):
    """Another entry in place of one."""
    return each_but(Lab, lambda entry: entry._replace(**other) if entry.published == f"net.{name}" else entry)


@dataclass(frozen=True)
class OneWay(Turn):
    """Forgets to turn back."""

    def to_own(self, tensor):
        return -tensor

    def to_published(self, tensor):
        return tensor


class Forgets(Lab):
    def entries(self, recipe, backbone):
        return (entry for entry in super().entries(recipe, backbone) if entry.own != "heads.2x2.proj.bias")


class NamesTwice(Lab):
    entries = only("modulation.blocks.0.bias", published="net.modulation.blocks.1.bias")


class NamesNobody(Lab):
    entries = only("modulation.blocks.0.bias", own="modulation.blocks.7.bias")


class LosesAShare(Lab):
    entries = only("blocks.0.attention.v.weight", share=(1, 3))


class SharesUnevenly(Lab):
    entries = only("class_conditioner.embedding.weight", share=(0, 5))


class OtherAxes(Lab):
    entries = only("modulation.head.bias", turn=Turn("a b", "b a"))


class TurnsOneWay(Lab):
    entries = only("modulation.head.bias", turn=OneWay())


class YieldsPairs(Lab):
    entries = each_but(Lab, lambda entry: (entry.published, entry.own))


class Returns(Lab):
    def entries(self, recipe, backbone):
        super().entries(recipe, backbone)


class Fails(Lab):
    def entries(self, recipe, backbone):
        yield Entry("net.x", {}["modulation"])


class Forgetful(Lab):
    def recognises(self, keys):
        return "net.blocks.0.attention.qkv.weight" in keys


class Sloppy(Lab):
    def recognises(self, keys):
        return any("blocks.0.attention" in key for key in keys)


class SeesAll(Lab):
    def recognises(self, keys):
        return True


class MixesSides(Lab):
    def sides(self, rows):
        return {"height": 4 * rows, "width": 2 * rows}


CLOSED, KNOWN, TOLD = "comes_back_the_same", "knows_its_own_keys", "shapes_tell_the_recipe"
BROKEN = [
    (Forgets, CLOSED, "backbone.head: it has weights, and the published code has no place for them"),
    (NamesTwice, CLOSED, "is wrong: net.modulation.blocks.1.bias is named 2 times"),
    (NamesNobody, CLOSED, "modulation.blocks.0.bias is to be modulation.blocks.7.bias, and the backbone has no such"),
    (LosesAShare, CLOSED, "attention.qkv.weight is made of 3 tensors, which are shares [(0, 3), (1, 3), (1, 3)]"),
    (SharesUnevenly, CLOSED, "cannot be made of class_conditioner.embedding.weight [6, 16]: share 0 of 5 of [6, 16]"),
    (OtherAxes, CLOSED, "net.modulation.head.bias cannot be made of modulation.head.bias [32]: "),
    (TurnsOneWay, CLOSED, "found: modulation.head.bias comes back with other numbers"),
    (YieldsPairs, CLOSED, "is wrong: what it yields is no zoo.weights.Entry"),
    (Returns, CLOSED, "is wrong: what it yields is no zoo.weights.Entry"),
    (Fails, CLOSED, "fails in entries(): KeyError: 'modulation'; --debug shows where"),
    (Forgetful, KNOWN, "found: does not recognise its own keys, such as net."),
    (Sloppy, KNOWN, "found: recognises the keys of zoo's own weights"),
    (SeesAll, KNOWN, "found: recognises a checkpoint that has no keys"),
    (MixesSides, TOLD, "found: tells another backbone: latent.height"),
]  # fmt: skip


def test_a_sound_format_keeps_them():
    check_format(Lab)


@pytest.mark.parametrize(("cls", "law", "found"), BROKEN, ids=[cls.__name__ for cls, _, _ in BROKEN])
def test_a_broken_format_is_caught(cls, law, found):
    with pytest.raises(AssertionError) as caught:
        check_format(cls)
    text = re.sub(r"\s+", " ", str(caught.value))
    assert text.startswith(f"weight format lab ({__name__}.{cls.__name__}) breaks the law {law}: ")
    assert found in text
    assert f"again, with the whole traceback: check_format({cls.__name__}, traceback=True)" in text


def test_the_error_itself_on_request():
    with pytest.raises(PluginError, match="KeyError") as caught:
        check_format(Fails, traceback=True)
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("name", FORMATS)
def test_the_built_in_ones_keep_them(name):
    values = {"name": "small", "backbone": EXAMPLES[name], "objective": {"path": FORMATS[name].path}}
    check_format(type(FORMATS[name]), values)


def test_what_it_cannot_hold_is_no_case():
    recipe = {"name": "small", "backbone": EXAMPLES["sit"] | of_stages("sit", [(2, 4)])}
    with pytest.raises(TypeError, match=r"^ppflow cannot hold small: .*stage.*; give a recipe that it can hold$"):
        check_format(type(FORMATS["ppflow"]), recipe)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"name": "sit"},
            r"weight format 'sit' is zoo .*\(zoo\.weights\.published\.dit\.SiT\)'s; give .*Other another",
        ),
        ({"name": "diffusers"}, "weight format 'diffusers' is zoo's own and stays so"),
        ({"name": "my layout"}, "has name = 'my layout'; let it be a lower-case identifier"),
        ({"entries": WeightFormat.entries, "__abstractmethods__": frozenset({"entries"})}, "leaves out .*: entries"),
    ],
)
def test_what_is_no_format_of_ones_own(changes, said):
    with pytest.raises(PluginError, match=said):
        check_format(type("Other", (Lab,), changes))


def test_a_class_that_is_no_format():
    with pytest.raises(PluginError, match=r"does not derive from zoo\.weights\.WeightFormat"):
        check_format(dict)
