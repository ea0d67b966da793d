"""What is done to labels is done to a tensor, and to each tensor of a mapping, alike."""

import pytest
import torch

from zoo.labels import checked, class_indices, drop, join, length, map_labels, move, rows, split

INDICES = torch.tensor([3, 0, 4, 1])
EMBEDDINGS = torch.arange(24.0).view(4, 2, 3)
BOTH = {"class": INDICES, "text": EMBEDDINGS}
KINDS = pytest.mark.parametrize("labels", [INDICES, EMBEDDINGS, BOTH], ids=["indices", "embeddings", "mapping"])


def plain(labels):
    """As lists, to compare."""
    found = map_labels(lambda own: own, labels)
    return {name: own.tolist() for name, own in found.items()} if isinstance(found, dict) else found.tolist()


@KINDS
def test_split_and_joined_they_are_the_same(labels):
    assert length(labels) == 4
    parts = split(labels, [1, 0, 3])
    assert [length(each) for each in parts] == [1, 0, 3]
    assert plain(join(parts)) == plain(labels)
    assert plain(parts[2]) == plain(rows(labels, torch.tensor([1, 2, 3])))


@KINDS
def test_rows_come_in_the_order_asked_for(labels):
    mixed = rows(labels, torch.tensor([2, 0, 2]))
    assert plain(mixed) == plain(join([rows(labels, slice(2, 3)), rows(labels, slice(1)), rows(labels, slice(2, 3))]))
    assert plain(rows(labels, INDICES > 2)) == plain(rows(labels, torch.tensor([0, 2])))


@KINDS
def test_only_masked_ones_are_dropped(labels):
    null = map_labels(lambda own: torch.full_like(own, 9), labels)
    before = plain(labels)
    dropped = drop(labels, null, torch.tensor([False, True, False, True]))
    assert plain(rows(dropped, slice(0, 4, 2))) == plain(rows(labels, slice(0, 4, 2)))
    assert plain(rows(dropped, slice(1, 4, 2))) == plain(rows(null, slice(2)))
    assert plain(labels) == before


@KINDS
def test_moved_they_are_elsewhere_under_the_same_names(labels):
    moved = move(labels, torch.device("meta"))
    devices = map_labels(lambda own: torch.tensor(own.is_meta), moved)
    assert plain(devices) == ({"class": True, "text": True} if labels is BOTH else True)


def test_class_indices_are_whole_numbers_alone():
    assert class_indices(INDICES) is INDICES
    for other in (INDICES.float(), INDICES.view(2, 2), EMBEDDINGS, BOTH, {"class": INDICES}):
        assert class_indices(other) is None


@KINDS
def test_what_is_labels_passes(labels):
    assert checked(labels) is labels


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, "got int"),
        ([3, 5], "got list"),
        ("cat", "got str"),
        (torch.tensor(3), r"got a tensor \[\]"),
        ({}, "got a mapping of nothing"),
        ({"class": [3, 5]}, "got a mapping of class"),
        ({"class": INDICES, "size": torch.tensor(2.0)}, "got a mapping of class, size"),
        (
            {"class": INDICES, "size": torch.ones(3, 2)},
            "a row for each sample under every name, got rows: class 4, size 3",
        ),
    ],
)
def test_what_is_no_labels_is_told_in_a_line(given, message):
    with pytest.raises(ValueError, match=f"^labels: must (be|have) .*{message}$"):
        checked(given)


@pytest.mark.parametrize("other", [INDICES, {"class": INDICES}, {"class": INDICES, "size": EMBEDDINGS}])
def test_labels_that_are_not_alike_do_not_go_together(other):
    for together in (lambda: join([BOTH, other]), lambda: drop(BOTH, other, INDICES > 2), lambda: join([other, BOTH])):
        with pytest.raises(ValueError, match=r"^labels: must be alike to go together, got .*a mapping of class, text"):
            together()
