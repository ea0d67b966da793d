"""What attributes say, by hand; the laws are in tests/testing."""

import math

import pytest
import torch

from zoo.parts.class_conditioners import AttributesConditioner
from zoo.testing import check_part
from zoo.testing.cases import randomise

LABELS = torch.tensor([[0.5, -2.0], [math.nan, 3.0], [math.nan, math.nan]])


def vectors(part, labels):
    return part(labels).vector


def test_each_number_scales_a_vector_and_what_is_unsaid_has_its_own():
    part = AttributesConditioner(4, attributes=2).double()
    randomise(part, 0)
    first, second, no_first, no_second = part.proj.weight.T
    bias = part.proj.bias
    expected = torch.stack([0.5 * first - 2 * second, no_first + 3 * second, no_first + no_second]) + bias
    assert torch.allclose(vectors(part, LABELS), expected)
    assert torch.equal(vectors(part, part.null(LABELS))[0], vectors(part, LABELS)[2])


def test_entries_are_dropped_alone():
    part = AttributesConditioner(4, names=("a", "b"), drop=0.25)
    scores = torch.tensor([[0.2, 0.25], [0.9, 0.0], [0.5, 0.5]])
    assert str(part.drop_some(LABELS, scores).tolist()) == "[[nan, -2.0], [nan, nan], [nan, nan]]"
    assert str(LABELS.tolist()[0]) == "[0.5, -2.0]"
    assert (part.drops, AttributesConditioner(4, attributes=2, drop=0.0).drops) == (2, 0)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (None, "got nothing"),
        (torch.zeros(3), r"got a tensor \[3\]"),
        (torch.zeros(3, 2, dtype=torch.int64), "got torch.int64: store them as float32"),
        (torch.tensor([[0.0, 1], [math.inf, 0], [0, 0]]), "row 1 is infinite"),
        ({"a": torch.zeros(3, 2)}, "got a mapping of a"),
    ],
)
def test_other_labels_are_refused(labels, said):
    part = AttributesConditioner(4, attributes=2)
    part.check_labels(LABELS, 3)
    with pytest.raises(ValueError, match=rf"^labels: must be floats \[3, 2\], one of each .*; {said}"):
        part.check_labels(labels, 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"attributes": 3, "names": ("a", "b")}, "attributes is 3, and there are 2 names"),
        ({"names": ("a", "a")}, "names: 'a' is none, or twice there"),
        ({"names": ("a=b",)}, "names: 'a=b' is none"),
        ({"names": ("",)}, "names: '' is none"),
        ({"names": (" a",)}, "names: ' a' is none"),
    ],
)
def test_options_that_say_no_attributes(options, said):
    with pytest.raises(ValueError, match=said):
        AttributesConditioner(4, **options)


def test_the_laws():
    check_part(AttributesConditioner, examples=3)
