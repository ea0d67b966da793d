"""What images are asked to be of, and that nothing is opened for what does not need it."""

import numpy as np
import pytest
import torch

from tests.train.small import small
from tests.train.vectors import VectorConditioner
from zoo.assembly import build
from zoo.data import Source
from zoo.data.digits import Digits
from zoo.errors import DataError, PluginError, ZooError
from zoo.parts.class_conditioners import AttributesConditioner
from zoo.sampling.labels import ImageLabels, counts_of, labels_for, said_labels, wanted_labels

UNCONDITIONAL = ("backbone.num_classes=0", "backbone.class_conditioner=none")


def conditioner(registry, *overrides):
    return build(small(*overrides, registry=registry), registry=registry, device="meta").class_conditioner


def never():
    pytest.fail("no data is to be opened")


class Uneven(Source):
    """192 samples of class 3, and then 8 of class 5, which tell their labels without being read."""

    def __len__(self):
        return 200

    def labels(self, indices):
        return torch.from_numpy(np.where(indices < 192, 3, 5))

    def read(self, indices, random):
        pytest.fail("no picture is to be read")

    def id(self, index):
        return str(index)


def all_of(source):
    return lambda: (source(), np.arange(200))


def test_balanced_classes_go_round(registry):
    found = labels_for(conditioner(registry), 13, "balanced", 0, never)
    assert found.values.tolist() == [*range(10), 0, 1, 2]
    assert found.record(12) == {
        "labels": [*range(10), 0, 1],
        "classes": {str(index): 2 if index < 2 else 1 for index in range(10)},
    }


def test_random_classes_are_a_function_of_seed_and_place(registry):
    many = labels_for(conditioner(registry), 5000, "random", 1, never)
    assert many.values.dtype == torch.int64
    assert labels_for(conditioner(registry), 37, "random", 1, never).values.tolist() == many.values[:37].tolist()
    assert labels_for(conditioner(registry), 37, "random", 2, never).values.tolist() != many.values[:37].tolist()
    counts = counts_of(many.values.numpy())
    assert list(counts) == [str(index) for index in range(10)]
    # A count is binomial with deviation 21; equal counts would be classes in turn.
    assert 400 < min(counts.values()) < max(counts.values()) < 600


def test_the_datas_mix_is_that_of_its_samples(registry):
    found = labels_for(conditioner(registry), 400, "data", 0, all_of(Uneven))
    assert counts_of(found.values[:200].numpy()) == {"3": 192, "5": 8}
    assert found.values[:200].tolist() == found.values[200:].tolist()
    assert found.values[:200].tolist() != sorted(found.values[:200].tolist())
    assert (
        labels_for(conditioner(registry), 30, "data", 0, all_of(Uneven)).values.tolist() == found.values[:30].tolist()
    )


def test_the_datas_mix_is_of_the_samples_that_are_compared_with(registry):
    found = labels_for(conditioner(registry), 60, "data", 0, lambda: (Uneven(), np.arange(190, 200)))
    assert counts_of(found.values.numpy()) == {"3": 12, "5": 48}


def test_labels_that_the_conditioner_does_not_take(registry):
    with pytest.raises(DataError, match="the class conditioner does not take the labels of the dataset: labels: 5 is"):
        labels_for(conditioner(registry, "backbone.num_classes=4"), 200, "data", 0, all_of(Uneven))


def test_a_sample_is_read_once_for_its_label_however_often_it_is_drawn(registry):
    class Read(Uneven):
        def labels(self, indices):
            read.extend(indices.tolist())
            return super().labels(indices)

    read = []
    labels_for(conditioner(registry), 450, "data", 0, all_of(Read))
    assert sorted(read) == list(range(200))


def test_wanted_classes_go_round(registry):
    own = conditioner(registry)
    assert wanted_labels(own, [3, 9]).record(5)["labels"] == [3, 9, 3, 9, 3]
    assert wanted_labels(own, [7, 7, 1]).record(2)["labels"] == [7, 7]
    assert wanted_labels(own, [0]).values.dtype == torch.int64


@pytest.mark.parametrize("label", [-1, 10, 10**30])
def test_a_class_that_there_is_not(label, registry):
    """Also the null class, 10: it stands for no condition."""
    with pytest.raises(ZooError) as caught:
        wanted_labels(conditioner(registry), [3, label])
    assert str(caught.value) == f"--labels: {label} is no class; they go from 0 to 9"


@pytest.mark.parametrize("choice", ["balanced", "random", "data"])
def test_an_unconditional_backbone_needs_no_labels(choice, registry):
    own = conditioner(registry, *UNCONDITIONAL)
    found = labels_for(own, 3, choice, 0, never)
    assert found.values.tolist() == [0, 0, 0]
    assert found.classes(0, 3) is None
    assert found.record(3) == {"labels": None}
    with pytest.raises(ZooError, match=r"^--labels: this backbone is unconditional; leave it out$"):
        wanted_labels(own, [1])


def test_texts_come_in_turn():
    own = AttributesConditioner(4, names=("smiling", "hat"))
    found = said_labels(own, ["hat=1", "0.5,nan"])
    assert str(found.values.tolist()) == "[[nan, 1.0], [0.5, nan]]"
    assert found.record(3) == {"labels": None, "label_texts": ["hat=1", "0.5,nan", "hat=1"]}
    assert found.classes(0, 2) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hats=1", "no attribute is called 'hats'; did you mean 'hat'?"),
        ("x=1,y=1", "no attribute is called 'x'; there are: smiling, hat"),
        (
            "1",
            "a label has 2 numbers (smiling, hat), and here are 1; let unsaid ones be nan, or write such as smiling=1",
        ),
        ("hat=1,hat=0", "'hat=0' has no =, or says a name twice; write such as smiling=1,hat=0"),
        ("hat=1,smiling", "'smiling' has no =, or says a name twice; write such as smiling=1,hat=0"),
        ("hat=inf", "'inf' is no number; write such as 1, 0.5, or nan for what is unsaid"),
        ("hat=much", "'much' is no number; write such as 1, 0.5, or nan for what is unsaid"),
    ],
)
def test_texts_that_say_no_labels(text, message):
    with pytest.raises(ZooError) as caught:
        said_labels(AttributesConditioner(4, names=("smiling", "hat")), ["hat=1", text])
    assert str(caught.value) == f"--labels {text}: {message}"


def test_texts_where_attributes_have_no_names():
    with pytest.raises(ZooError, match="attributes have no names here; write 3 numbers, nan for unsaid ones"):
        said_labels(AttributesConditioner(4, attributes=3), ["hat=1"])
    with pytest.raises(ZooError, match=r"a label has 3 numbers, and here are 2; let unsaid ones be nan$"):
        said_labels(AttributesConditioner(4, attributes=3), ["1,0"])


def test_a_parse_that_fails(registry):
    class Hasty(VectorConditioner):
        def parse(self, text):
            return {}[text]

    assert (VectorConditioner.parses(), Hasty.parses()) == (False, True)
    with pytest.raises(PluginError, match=r"^--labels 1,2: Hasty fails in parse\(\): KeyError"):
        said_labels(Hasty(4), ["1,2"])
    with pytest.raises(ZooError, match=r"^--labels: this backbone takes labels that no text says; give them by"):
        wanted_labels(VectorConditioner(4), [1, 2])


def test_counts_are_by_class():
    assert counts_of(np.array([12, 3, 3])) == {"3": 2, "12": 1}
    assert counts_of(None) is None
    assert ImageLabels(torch.tensor([1, 2, 3]), are_classes=True).classes(1, 3).tolist() == [2, 3]


def test_every_built_in_dataset_tells_its_labels_as_it_reads_them():
    source = Digits(1, (8, 8), 10).open()
    indices = np.array([5, 1, 5, 900])
    assert source.labels(indices).tolist() == source.read(indices, [np.random.default_rng()] * 4).labels.tolist()
    assert Source.labels(source, indices).tolist() == source.labels(indices).tolist()
