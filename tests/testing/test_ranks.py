"""The two ranks of the kit: whatever one does, the other ends too, and is told of."""

import multiprocessing

import pytest
import torch.distributed as dist

from tests.testing.broken.ranks import WaitsAlone
from zoo.testing import check_part, ranks
from zoo.testing.ddp_laws import trains_on_two_ranks
from zoo.testing.law import NotRun
from zoo.testing.ranks import on_two_ranks


def test_both_are_ranks_of_one_group():
    def work(rank):
        assert (dist.get_rank(), dist.get_world_size()) == (rank, 2)

    on_two_ranks(work)


def test_what_a_rank_raises_is_told_in_a_line():
    def work(rank):
        if rank:
            raise ValueError("first\nsecond")
        dist.barrier()

    with pytest.raises(AssertionError, match=r"^rank 1: ValueError: first$"):
        on_two_ranks(work)


def test_a_rank_that_waits_for_another_is_told_and_ended(monkeypatch):
    monkeypatch.setattr(ranks, "TIMEOUT", 1.0)
    with pytest.raises(AssertionError, match=r"rank \d( and \d)?: "):
        check_part(WaitsAlone, laws=[trains_on_two_ranks], examples=1)
    assert not multiprocessing.active_children()


def test_where_there_can_be_no_ranks_the_law_is_not_run(monkeypatch):
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    with pytest.raises(NotRun, match="a rank of another job"):
        on_two_ranks(print)
    check_part(WaitsAlone, laws=[trains_on_two_ranks], examples=1)


def test_a_process_that_was_forked_too_late_is_no_fault_of_the_part():
    def work(rank):
        raise RuntimeError("Unable to handle autograd's threading in combination with fork-based multiprocessing")

    with pytest.raises(NotRun, match="give the law to check_part alone"):
        on_two_ranks(work)
