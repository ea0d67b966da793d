"""Which samples are left out, what takes their place, and how a message says to leave out more."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from zoo.data.base import Dataset, Samples, Source
from zoo.data.left_out import LeftOut, find_left_out, ids_in, open_kept, read_kept
from zoo.data.stream import Order
from zoo.errors import DataError, MissingSplitError
from zoo.shell import Commands


class Named(Source):
    """Samples of which some cannot be read, some only when their generator draws so."""

    def __init__(self, names, broken=(), sometimes=()):
        self.names, self.broken, self.sometimes = names, broken, sometimes

    def __len__(self):
        return len(self.names)

    def read(self, indices, random):
        for index, generator in zip(indices.tolist(), random, strict=True):
            flipped = generator.random() < 0.5
            if index in self.broken or (index in self.sometimes and flipped):
                raise DataError(f"{self.names[index]}: is broken")
        return Samples(torch.zeros(len(indices), 1, 2, 2), torch.zeros(len(indices), dtype=torch.int64))

    def id(self, index):
        return self.names[index]


class Halves(Dataset):
    """One named sample in each of its splits, or in the first one alone."""

    def __init__(self, *names):
        self.names = names

    def open(self, split="train"):
        place = ("train", "held_out").index(split)
        if place >= len(self.names):
            raise MissingSplitError("none is held out")
        return Named([self.names[place], "other"])

    def to_images(self, latents):
        raise NotImplementedError


def test_samples_are_left_out_by_their_ids():
    found = find_left_out(Named(["a", "b", "c", "d"]), ("d", "b", "d"))
    assert found.mask.tolist() == [False, True, False, True]
    assert found.kept.tolist() == [0, 2]
    assert found.notes() == ["note: data.leave_out: 2 of 4 samples are left out"]
    assert find_left_out(Named(["a"]), None).notes() == []


def test_names_that_are_no_line_are_left_out_as_they_are_told(tmp_path):
    source = Named(["a\nb\x1b", "c"], broken=[0])
    (problem,) = source.check(np.arange(2)).problems
    assert (problem.message, problem.id) == ("a\\nb\\x1b: is broken", "a\\nb\\x1b")
    (tmp_path / "list.txt").write_text(f"{problem.id}\n")
    for given in (str(tmp_path / "list.txt"), ("a\nb\x1b",)):
        assert find_left_out(source, given).mask.tolist() == [True, False]


def test_ids_are_read_from_a_file_a_line_each(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("a b/ü.png\n\n  # x \r\nlast", encoding="utf-8")
    assert ids_in(str(path)) == ("a b/ü.png", "  # x ", "last")


def test_what_editors_put_around_an_id_is_no_part_of_it(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbfa \n\tb\n c\n x ")
    found = find_left_out(Named(["a", "b", "c", " c", "d"]), str(path))
    assert found.mask.tolist() == [True, True, False, True, False]
    assert found.unknown == (" x ",)


def test_a_list_that_cannot_be_read(tmp_path):
    path = tmp_path / "list.txt"
    with pytest.raises(DataError) as caught:
        ids_in(str(path))
    assert (
        str(caught.value)
        == f"{path}: there is no such file, and data.leave_out names it; write it anew, or set that to null"
    )
    path.write_bytes(b"\xef\xbb\xbfa\nb\n")
    assert ids_in(str(path)) == ("a", "b")
    path.unlink()
    os.mkfifo(path)
    for piped in (False, True):
        with pytest.raises(
            DataError, match=f"^{path}: cannot be read, and data.leave_out names it: it is no plain file"
        ):
            ids_in(str(path), piped=piped)
    path.unlink()
    path.write_bytes(b"\xff\xff")
    with pytest.raises(DataError, match=f"^{path}: cannot be read, and data.leave_out names it: "):
        ids_in(str(path))


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="pipes have no names here")
def test_what_a_shell_gives_in_the_place_of_a_file_is_read_once():
    """As ``<(...)``; who would read it again is refused, since nothing would be left in it."""
    reader, writer = os.pipe()
    os.write(writer, b"a\nb\n")
    os.close(writer)
    try:
        with pytest.raises(DataError, match=r"it is no plain file$"):
            ids_in(f"/dev/fd/{reader}")
        assert ids_in(f"/dev/fd/{reader}", piped=True) == ("a", "b")
    finally:
        os.close(reader)


def test_ids_that_no_sample_has_are_told():
    names = tuple(f"x{index}" for index in range(10))
    found = find_left_out(Named(["a", "b"]), ("b", *names))
    assert found.notes()[1] == (
        'warning: data.leave_out: no sample is called "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7" and 2 more;'
        " there is nothing to leave out"
    )


def test_one_list_serves_all_splits():
    _, train = open_kept(Halves("a", "b"), "train", ("b", "c"))
    assert (train.mask.tolist(), train.unknown) == ([False, False], ("c",))
    _, held_out = open_kept(Halves("a", "b"), "held_out", ("a", "b"))
    assert (held_out.mask.tolist(), held_out.unknown) == ([True, False], ())
    assert open_kept(Halves("a"), "train", ("b",))[1].unknown == ("b",)


def test_something_must_be_left():
    with pytest.raises(DataError) as caught:
        find_left_out(Named(["a", "b"]), ("a", "b"))
    assert str(caught.value) == "data.leave_out names all 2 samples; nothing is left to read"


@pytest.mark.parametrize("batch", [4, 7, 11])
def test_the_next_of_the_order_takes_the_place_and_nothing_else_moves(batch):
    length, out = 11, (2, 3, 7, 8, 10)
    mask = np.isin(np.arange(length), out)
    plain, leaving = Order(length, batch, 5), Order(length, batch, 5, LeftOut((), mask))
    steps = range(6 * length)
    before, after = (
        np.concatenate([order.indices(step, range(batch)) for step in steps]) for order in (plain, leaving)
    )
    for start in range(0, len(before) // length * length, length):
        epoch = before[start : start + length].tolist()
        for place in range(length):
            following = epoch[place:] + epoch[:place]
            assert after[start + place] == next(each for each in following if each not in out)


def test_what_takes_a_place_is_the_same_for_every_share_of_a_batch():
    order = Order(9, 6, 1, LeftOut((), np.arange(9) % 2 == 0))
    whole = order.indices(4, range(6)).tolist()
    assert [int(order.indices(4, range(place, place + 1))[0]) for place in range(6)] == whole


def generators(count):
    return lambda: [np.random.default_rng(index) for index in range(count)]


def test_a_sample_that_cannot_be_read_comes_with_what_to_do_about_it():
    source = Named(["a", "it's", "c"], broken={1})
    with pytest.raises(DataError) as caught:
        read_kept(source, np.arange(3), generators(3), LeftOut(("x",), np.zeros(3, dtype=bool)))
    assert str(caught.value) == ("""it's: is broken; leave it out: --set 'data.leave_out=["x", "it'"'"'s"]'""")


def test_a_command_is_of_few_ids():
    given = tuple(f"x{index}" for index in range(20))
    advice = "leave it out: `zoo data check --leave-out FILE` writes a list, which data.leave_out takes"
    assert LeftOut(given, np.zeros(0, dtype=bool)).advice(["a"]) == advice
    assert LeftOut(given[1:], np.zeros(0, dtype=bool)).advice(["a"]).startswith("leave it out: --set 'data.leave_out=[")


@pytest.mark.parametrize(("given", "more"), [(20, 1), (0, 9)])
def test_a_list_for_many_is_written_and_given_to_the_run(given, more):
    run = Commands("zoo data check --run r", "zoo train --resume --run-dir r")
    left_out = LeftOut(tuple(f"x{index}" for index in range(given)), np.zeros(0, dtype=bool), run=run)
    assert left_out.advice([f"y{index}" for index in range(more)]).endswith(
        " out: zoo data check --run r --leave-out FILE, then zoo train --resume --run-dir r --set data.leave_out=FILE"
    )


def test_all_of_a_batch_that_cannot_be_read_are_named_at_once():
    source = Named(list("abcd"), broken={1, 3})
    with pytest.raises(DataError) as caught:
        read_kept(source, np.array([0, 1, 2, 3, 1]), generators(5), LeftOut((), np.zeros(4, dtype=bool)))
    assert str(caught.value) == (
        """b: is broken (and 1 more of the 5 read at once); leave them out: --set 'data.leave_out=["b", "d"]'"""
    )
    many = Named([str(index) for index in range(20)], broken=set(range(19)))
    with pytest.raises(DataError) as caught:
        read_kept(many, np.arange(20), generators(20), LeftOut((), np.zeros(20, dtype=bool)))
    assert str(caught.value).endswith(
        "leave them out: `zoo data check --leave-out FILE` writes a list, which data.leave_out takes"
    )


def test_what_can_be_read_in_some_draws_alone_is_named_too():
    """Such as a latent whose mirror image alone is not finite."""
    for seed in range(8):
        source = Named(list("ab"), sometimes={1})
        draws = lambda seed=seed: [np.random.default_rng([seed, index]) for index in range(2)]  # noqa: E731
        if draws()[1].random() < 0.5:
            with pytest.raises(DataError, match="leave it out"):
                read_kept(source, np.arange(2), draws, LeftOut((), np.zeros(2, dtype=bool)))
        else:
            assert len(read_kept(source, np.arange(2), draws, LeftOut((), np.zeros(2, dtype=bool))).labels) == 2


def test_where_nothing_can_be_read_samples_are_not_blamed():
    with pytest.raises(DataError) as caught:
        read_kept(Named(list("ab"), broken={0, 1}), np.arange(2), generators(2), LeftOut((), np.zeros(2, dtype=bool)))
    assert str(caught.value) == "a: is broken"
