"""All processes of a job read the same data; and what a checkpoint says of it is believed only where zoo wrote it."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.distributed.ranks import run_ranks
from tests.train.small import small
from zoo.assembly import build
from zoo.data import Fingerprint
from zoo.errors import DataError, RunError
from zoo.flow import objective_of
from zoo.registry import Registry
from zoo.runs.made import data_in, data_to_plain
from zoo.train.job import open_job
from zoo.train.same_data import agreed, refuse_changed


def job_of(rank, ranks):
    registry = Registry()
    recipe = small(registry=registry)
    return open_job(recipe, objective_of(recipe, build(recipe, device="meta")), registry, rank, ranks)


def agree(world, other):
    job = job_of(world.rank, world.size)
    sizes = [("a", {"samples": 3, "names": "n", "sizes": str(world.rank)})]
    values = {"samples": 3, "labels": "l", "classes": [f"{other and world.rank}"], "groups": sizes}
    data = Fingerprint.model_validate(values, strict=False)
    return agreed(replace(job, data=data), world).data.groups


def test_the_main_process_decides():
    main, other = run_ranks(agree, 2, False)
    assert main == other
    assert main[0][1].sizes == "0"


def test_another_process_with_other_data():
    for error in run_ranks(agree, 2, True):
        assert isinstance(error, DataError)
        assert str(error) == (
            "dataset digits: process 1 reads other data than process 0: other names, labels or order; copy it anew to"
            " that machine, or read it from one place"
        )


def test_a_state_holds_all_of_it():
    data = job_of(0, 1).data
    state = data_to_plain(data)
    assert state["classes"] == [str(digit) for digit in range(10)]
    assert set(state) == {"classes", "data"}
    assert data_in(state, Path("here")) == data


def test_what_is_said_is_short_whatever_is_left_out(tmp_path):
    def data(samples):
        groups = [("a", {"samples": samples, "names": str(samples), "sizes": "0"})]
        values = {"samples": samples, "labels": "l", "classes": ["a"], "groups": groups, "of": "class"}
        return Fingerprint.model_validate(values, strict=False)

    left_out = [f"a/{index}.png" for index in range(3000)]
    with pytest.raises(DataError) as caught:
        list(refuse_changed(data(8), data(7), tmp_path / "r" / "checkpoints" / "1", left_out))
    assert (
        f"an empty file in place of each that is gone, and go on by: zoo data check --run {tmp_path}/r --leave-out"
        f" FILE, then zoo train --resume --run-dir {tmp_path}/r --set data.leave_out=FILE, or begin"
    ) in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("state", [{}, {"data": 1, "classes": []}, {"data": {}, "classes": []}, {"data": {}}])
def test_what_is_not_what_zoo_wrote(state):
    with pytest.raises(RunError, match=r"^here: what state\.json says of the data cannot be used: "):
        data_in(state, Path("here"))
