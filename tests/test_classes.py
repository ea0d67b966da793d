"""What classes are called: names and numbers that a user asks for, and what is read of others' files."""

from pathlib import Path

import pytest

from tests.train.small import train
from zoo.classes import (
    UNKNOWN,
    Classes,
    classes_of_run,
    doubtful_labels,
    find_labels,
    labels_without_samples,
    read_classes,
    renamed,
)
from zoo.errors import ZooError

PETS = Classes(("cat", "dog", "10", "white shark, great"), (4, 0, 2, 1))


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        (["cat,dog"], (0, 1)),
        (["3,5"], (3, 5)),
        (["cat, 3,dog"], (0, 3, 1)),
        (["dog", "white shark, great", "0"], (1, 3, 0)),
        (["10"], (10,)),  # a number is always a label
        (["-1"], (-1,)),
        ([], ()),
    ],
)
def test_names_and_numbers(given, labels):
    assert find_labels(given, PETS) == labels


def message(given, classes):
    with pytest.raises(ZooError) as caught:
        find_labels(given, classes)
    return str(caught.value)


def test_a_class_that_there_is_not():
    assert message(["cat,dgo"], PETS) == "--labels cat,dgo: no class is called 'dgo'; did you mean 'dog'?"
    assert (
        message(["zebra"], Classes(("cat", "dog")))
        == "--labels zebra: no class is called 'zebra'; there are 'cat', 'dog'"
    )
    many = Classes(tuple(f"n{label:08}" for label in range(1000)))
    assert message(["zebra"], many).endswith("'n00000019' and 980 more")
    assert message(["cat"], UNKNOWN) == (
        "--labels cat: write class numbers with commas between them, such as 3,5; no class names are known here"
    )


def test_names_that_look_the_same_are_told_apart():
    """As a folder is called that a Mac has copied; in Hangul no letter is the same."""
    for composed, apart in (("caf\u00e9", "cafe\u0301"), ("\ud55c", "\u1112\u1161\u11ab")):
        told = message([composed], Classes(("cat", apart)))
        assert told.endswith(f"did you mean '{apart}'? (the same letters in another Unicode normalisation)")
        told = f"class 0 was '{composed}', and is '{apart}' (the same letters in another Unicode normalisation)"
        assert renamed([composed], [apart]) == told
    assert renamed(["cat"], []) == "class 0 was 'cat', and is nothing"


def test_a_number_that_another_class_is_called():
    assert list(doubtful_labels(["10,cat", "10"], PETS)) == ["--labels 10 is class 10; the class called '10' is 2"]
    shifted = Classes(("1", "2"))
    assert list(doubtful_labels(["1"], shifted)) == ["--labels 1 is class 1, '2'; the class called '1' is 0"]
    assert list(doubtful_labels(["1"], Classes(("0", "1")))) == []


COMMAS = Classes(("0,1", "cat", "dog", "cat,dog", "new\\nline", "it's"))


@pytest.mark.parametrize(
    ("given", "labels", "said"),
    [
        ("0,1", (0, 1), ["--labels 0,1 is classes 0, 1; the class called '0,1' is 0"]),
        ("cat,dog", (3,), ["--labels 'cat,dog' is class 3; for several, give each in a --labels of its own"]),
        ("cat,0,1", (1, 0, 1), []),
        ("dog,cat", (2, 1), []),
        ("new\nline", (4,), []),  # as the folder is called
        ("new\\nline,it's", (4, 5), []),
    ],
)
def test_commas_in_names(given, labels, said):
    """Numbers are numbers first; and what could be meant otherwise is told."""
    assert find_labels([given], COMMAS) == labels
    assert list(doubtful_labels([given], COMMAS)) == said


def test_what_is_meant_can_be_pasted():
    assert message(["new"], COMMAS) == r"--labels new: no class is called 'new'; did you mean 'new\nline'?"
    assert message(["its"], COMMAS).endswith("""did you mean 'it'"'"'s'?""")
    assert message(["3,"], COMMAS) == "--labels 3,: a class is missing; write such as 3,5"


def test_classes_without_samples():
    assert PETS.with_samples == (0, 2, 3)
    assert list(labels_without_samples((0, 1, 1, 700), PETS)) == [
        "--labels: class 1, 'dog' had no samples in training; its images mean nothing",
        "--labels: class 700 had no samples in training; its images mean nothing",
    ]
    assert list(labels_without_samples((0, 700), UNKNOWN)) == []
    assert PETS.untrained(1000) == (
        "backbone.num_classes is 1000, and the data has samples of 3 classes; the other 997 are not trained, and are"
        " drawn only by --labels"
    )
    assert (PETS.untrained(3), PETS.untrained(0), UNKNOWN.untrained(1000)) == (None, None, None)


@pytest.mark.parametrize("text", ["", "[]", "{}", "[1]", "[null]", '[{"classes": 1}]', "[" * 100_000, "\0"])
def test_a_run_that_says_nothing_of_its_classes(text, tmp_path):
    assert classes_of_run(tmp_path) == UNKNOWN
    (tmp_path / "run.json").write_text(text)
    assert classes_of_run(tmp_path) == UNKNOWN


def test_plain_values():
    assert read_classes(PETS.to_plain()) == PETS
    assert UNKNOWN.to_plain() == {}
    assert PETS.names_of([2, 0, 2, 9]) == {"0": "cat", "2": "10"}
    for odd in ({"classes": "cat"}, {"classes": [1]}, {"class_counts": {"0": 1}}, {"class_counts": ["1"]}):
        assert read_classes(odd) == UNKNOWN


@pytest.mark.parametrize("lose", [Path.unlink, lambda path: path.write_text("{")])
def test_where_the_list_of_starts_is_lost_a_checkpoint_says_what_classes_are_called(lose, tmp_path):
    run = train(tmp_path)
    known = classes_of_run(tmp_path)
    assert known.names[7] == "7"
    lose(run.versions)
    assert classes_of_run(tmp_path) == known
