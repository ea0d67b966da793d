"""What threads do meanwhile: in order, no more of it than asked for, and with nothing lost."""

import threading
import time

import pytest

from tests.train.small import ALONE, small
from zoo.errors import NumericError, RunError
from zoo.pictures import write_png
from zoo.sampling import images as sampling
from zoo.sampling.images import SampleRun, draw_samples
from zoo.sampling.sampler import Sampler
from zoo.sampling.threads import THREADS, Threads, ahead

SOON = 60.0
"""Seconds that nobody waits unless something is wrong."""


def raises(error):
    raise error


def test_all_is_done_when_the_block_ends():
    found = []
    with Threads(most=100) as threads:
        for number in range(50):
            threads.hand(found.append, number)
        threads.finish()
        assert sorted(found) == list(range(50))
    assert threads.done == 50


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit, ValueError])
def test_what_has_been_handed_is_done_though_something_else_fails(end):
    found = []

    def late(number):
        time.sleep(0.001)
        found.append(number)

    with pytest.raises(end), Threads(most=100) as threads:  # noqa: PT012
        for number in range(50):
            threads.hand(late, number)
        raise end
    assert sorted(found) == list(range(50))


def test_the_first_that_fails_is_told_of_and_those_beside_it_are_done():
    found, go = [], threading.Event()

    def work(number):
        assert go.wait(SOON)
        if number in (1, 3):
            raise RunError(f"number {number}")
        found.append(number)

    with pytest.raises(RunError, match="number 1"), Threads(most=100) as threads:  # noqa: PT012
        for number in range(5):
            threads.hand(work, number)
        go.set()
        threads.finish()
    assert sorted(found) == [0, 2, 4]
    assert threads.done == 1


def test_a_failure_is_told_of_when_more_is_handed():
    with Threads(most=100) as threads:
        threads.hand(raises, RunError("full"))
        threads._left[0].exception(SOON)
        with pytest.raises(RunError, match="full"):
            threads.hand(print)


def test_no_more_waits_than_is_asked_for():
    lock = threading.Lock()
    left, most = 0, 0

    def work():
        nonlocal left
        time.sleep(0.001)
        with lock:
            left -= 1

    with Threads(most=3) as threads:
        for _ in range(40):
            threads.hand(work)
            with lock:
                left += 1
                most = max(most, left)
        threads.finish()
    assert 1 <= most <= 3


def test_what_is_read_ahead_comes_in_order_and_little_of_it_at_a_time():
    begun = []

    def read(number):
        begun.append(number)
        time.sleep(0.002 * (number % 3))
        return number

    found = []
    for number in ahead(read, range(60)):
        found.append(number)
        assert len(begun) <= len(found) + 2 * THREADS + 1
    assert found == list(range(60))
    with pytest.raises(RunError, match="gone"):
        list(ahead(raises, [RunError("gone")] * 3))


def draw(run, out, registry):
    return draw_samples(SampleRun(run, out, "ema", (), 20, 0, npz=False), small(registry=registry), registry, ALONE)


def test_the_next_batch_is_drawn_while_pictures_are_written(trained, tmp_path, registry, monkeypatch):
    drawn = [threading.Event() for _ in range(4)]
    images = Sampler.images

    def told(self, backbone, labels, batch, count=None):
        found = images(self, backbone, labels, batch, count)
        drawn[batch].set()
        return found

    def waits(image, path):
        after = None if path.stem == "grid" else int(path.stem) // 6 + 1
        assert after in (None, len(drawn)) or drawn[after].wait(SOON), "the next batch waits for this picture"
        write_png(image, path)

    monkeypatch.setattr(Sampler, "images", told)
    monkeypatch.setattr(sampling, "write_png", waits)
    assert draw(trained, tmp_path / "out", registry) == 20


def test_pictures_of_batches_before_one_that_fails_are_there(trained, tmp_path, registry, monkeypatch):
    images = Sampler.images

    def fails(self, backbone, labels, batch, count=None):
        if batch == 2:
            raise NumericError("image 12 is not finite")
        return images(self, backbone, labels, batch, count)

    def slow(image, path):
        time.sleep(0.005)
        write_png(image, path)

    monkeypatch.setattr(Sampler, "images", fails)
    monkeypatch.setattr(sampling, "write_png", slow)
    with pytest.raises(NumericError, match="image 12"):
        draw(trained, tmp_path / "out", registry)
    assert len(list((tmp_path / "out").glob("0*.png"))) == 12
