"""What a source says of its data: the same of the same data, and of other data what moved."""

import numpy as np
import pytest
import torch

from zoo.data import Fingerprint, Group, Samples, Source
from zoo.data.base import LOOKED_AT
from zoo.data.digits import Digits
from zoo.data.fingerprint import counts_of_classes, digest_of_labels
from zoo.data.images import Images
from zoo.data.latents import Latents
from zoo.testing import tells_its_data


def made_of(groups, **more):
    """A fingerprint of groups, each with its digests: samples, names, sizes and times."""
    told = tuple(
        (name, Group(samples=count, names=names, sizes=sizes, times=times))
        for name, (count, names, sizes, times) in groups.items()
    )
    return Fingerprint(samples=sum(group.samples for _, group in told), labels="", groups=told, **more)


A, B, C, LATER = (2, "n", "1", "5"), (2, "n", "2", "6"), (3, "m", "3", "7"), (2, "n", "1", "6")
ROUND = [f"class '{one}' holds what '{two}' held" for one, two in ("ab", "bc", "ca")]


@pytest.mark.parametrize(
    ("before", "now", "moved"),
    [
        ({"a": A, "b": B}, {"a": B, "b": A}, ["class 'a' and class 'b' are exchanged"]),
        ({"a": A, "b": B, "c": C}, {"a": B, "b": C, "c": A}, ROUND),
        ({"a": A, "b": B}, {"c": A, "b": B}, ["class 'a' is called 'c'"]),
        (
            {"\u00e9": A},
            {"e\u0301": A},
            ["class '\u00e9' is called 'e\u0301' (the same letters in another Unicode normalisation)"],
        ),
        ({"a": A, "b": B}, {"a": A, "c": C}, ["class 'c' of 3 samples is new", "class 'b' of 2 samples is gone"]),
        ({"a": A, "b": B}, {"b": B, "a": A}, ["class 'b' comes before 'a'"]),
        ({"a": A, "b": LATER}, {"a": LATER, "b": A}, ["class 'a' and class 'b' are exchanged"]),
        ({"": A}, {"": C}, ["the data has 3 samples in place of 2"]),
    ],
)  # fmt: skip
def test_what_moved(before, now, moved):
    found = made_of(now).changes_since(made_of(before))
    assert (found.moved, found.replaced, found.touched) == (moved, [], [])


def test_what_may_be_a_copy():
    found = made_of({"a": (2, "n", "1", "9"), "b": (2, "n", "8", "8")}).changes_since(made_of({"a": A, "b": B}))
    assert (found.moved, found.replaced, found.touched) == ([], ["class 'b'"], ["class 'a'"])


def test_a_shard_is_what_its_hash_says():
    was, now = (Group(samples=2, names="n", recorded="f", sizes=size) for size in "12")
    one, other = (Fingerprint(samples=2, labels="", groups=(("0", each),), of="shard") for each in (was, now))
    assert other.changes_since(one).moved == ["shard '0' is of another size, and by its recorded hash the same"]


def test_nothing_has_changed():
    found = made_of({"a": A, "b": B}).changes_since(made_of({"a": A, "b": B}))
    assert (found.moved, found.replaced, found.touched) == ([], [], [])


def test_many_groups_that_changed_are_told_in_no_time():
    """A comparison of each with each would take minutes."""
    before = made_of({f"{row}": (row, "n", f"{row}", "0") for row in range(20_000)})
    now = made_of({f"{row}": (row, "n", f"{row}+", "0") for row in range(20_000)})
    assert len(now.changes_since(before).replaced) == 20_000


class Plain(Source):
    """A source as a stranger writes it."""

    def __init__(self, labels, names="sample"):
        self.all = torch.as_tensor(labels)
        self.names, self.reads = names, 0

    def labels(self, indices):
        self.asked = len(indices)
        return self.all[torch.from_numpy(indices)]

    def __len__(self):
        return len(self.all)

    def read(self, indices, random):
        self.reads += len(indices)
        return Samples(torch.zeros(len(indices), 1, 2, 2), self.all[torch.from_numpy(indices)])

    def id(self, index):
        return f"{self.names} {index}"


@pytest.mark.parametrize(
    ("now", "moved"),
    [
        (Plain([0, 1, 2]), []),
        (Plain([0, 2, 1]), ["labels are others, or in another order"]),
        (Plain([0, 1, 2, 2]), ["the data has 4 samples in place of 3"]),
        (Plain([0, 1, 2], "picture"), ["the data has samples of other names, or in another order"]),
        (Plain([0.0, 1.0, 2.0]), ["labels are others, or in another order"]),
    ],
)
def test_a_source_that_says_nothing_of_itself(now, moved):
    assert now.fingerprint().changes_since(Plain([0, 1, 2]).fingerprint()).moved == moved


def test_of_a_long_source_some_samples_stand_for_all():
    source = Plain(np.arange(10_000))
    source.fingerprint()
    assert (source.asked, source.reads) == (LOOKED_AT, 0)


def test_no_sample_is_read():
    """One that cannot be read may be left out, and the run must be able to go on."""

    class Unreadable(Plain):
        labels = Source.labels

        def read(self, indices, random):
            pytest.fail("no sample is to be read")

    assert Unreadable([0, 1, 2]).fingerprint() == Unreadable([0, 1, 2]).fingerprint()
    assert Unreadable([0, 1, 2]).fingerprint().changes_since(Unreadable([0, 1]).fingerprint()).moved


def test_labels_of_any_kind_have_a_digest():
    found = {
        digest_of_labels(each)
        for each in (
            torch.zeros(4, dtype=torch.int64),
            torch.zeros(4, dtype=torch.float64),
            torch.zeros(2, 2, dtype=torch.int64),
            torch.zeros(4, dtype=torch.bfloat16),
            torch.zeros(4, dtype=torch.bool),
            torch.zeros(0, 3),
        )
    }
    assert len(found) == 6


def test_counts_of_classes():
    assert counts_of_classes(np.array([2, 0, 2]), 4) == (1, 0, 2, 0)
    assert counts_of_classes(np.array([2, 0, -1]), 4) is None
    assert counts_of_classes(np.array([2, 10**15]), 4) is None


def test_built_in_datasets_keep_the_law(pictures, latents):
    tells_its_data(Digits(1, (8, 8), 10).open)
    tells_its_data(Images(3, (8, 8), 3, folder=str(pictures)).open)
    tells_its_data(Latents(4, (8, 12), 3, folder=str(latents)).open)
    tells_its_data(lambda: Plain([0, 1, 2]))


class Random(Plain):
    def id(self, index):
        return f"{self.names} {np.random.default_rng().integers(2**62)}"


class Forgetful(Plain):
    def __getstate__(self):
        return {**self.__dict__, "all": self.all.flip(0)}


class Counting(Plain):
    def __getstate__(self):
        return {**self.__dict__, "reads": 0}

    def id(self, index):
        return f"{self.reads}"


class Careless(Plain):
    def labels(self, indices):
        return torch.zeros(len(indices), dtype=torch.int64)


class Miscounting(Plain):
    def class_counts(self):
        return (1, 1)


class Looking(Plain):
    def fingerprint(self, *, files=True):
        return super().fingerprint().model_copy(update={"labels": str(files)})


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (Random, "opened anew, the same data has another fingerprint"),
        (Forgetful, "in a data worker the fingerprint is another"),
        (Counting, "the fingerprint is another once samples have been read"),
        (Careless, "labels are others than come with the samples"),
        (Miscounting, "the samples of all classes are not all samples"),
        (Looking, "names, labels or order hang on a look at files"),
    ],
)
def test_the_law_catches(broken, said):
    with pytest.raises(AssertionError, match=said):
        tells_its_data(lambda: broken([0, 1, 2]))


def test_an_empty_source_is_caught():
    with pytest.raises(AssertionError, match="there are no samples"):
        tells_its_data(lambda: Plain([]))
