"""What launchers say of a process: its place, or one line that names what is wrong."""

from __future__ import annotations

import pytest

from zoo.distributed.launcher_variables import Place, read_place
from zoo.errors import LauncherError

MASTER = {"MASTER_ADDR": "node1", "MASTER_PORT": "29500"}
ONE_OF_FOUR = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", **MASTER}


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, Place()),
        (MASTER, Place()),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, Place()),  # in a batch script that starts zoo once
        ({"SLURM_STEP_NUM_TASKS": "1", "OMPI_COMM_WORLD_SIZE": "1"}, Place()),
        ({"RANK": "0", "WORLD_SIZE": "1"}, Place(is_launched=True)),
        (ONE_OF_FOUR, Place(3, 4, 1, ("node1", 29500), is_launched=True)),
        ({**ONE_OF_FOUR, "SLURM_STEP_NUM_TASKS": "2"}, Place(3, 4, 1, ("node1", 29500), is_launched=True)),
    ],
)
def test_places(variables, place):
    assert read_place(variables) == place


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is set and RANK is not: to run one process, unset WORLD_SIZE; start several"),
        ({"WORLD_SIZE": "1"}, "WORLD_SIZE is set and RANK is not"),
        ({"RANK": "0", **MASTER}, "RANK is set and WORLD_SIZE is not: to run one process, unset RANK; "),
        ({"LOCAL_RANK": "0"}, "LOCAL_RANK is set and RANK is not"),
        ({"TORCHELASTIC_RUN_ID": "none"}, "TORCHELASTIC_RUN_ID is set and RANK is not"),
        ({**ONE_OF_FOUR, "RANK": "4"}, "RANK=4 must be less than WORLD_SIZE=4: ranks count from 0"),
        ({"RANK": "0", "WORLD_SIZE": "0"}, "RANK=0 must be less than WORLD_SIZE=0"),
        ({**ONE_OF_FOUR, "RANK": "one"}, "RANK='one' is no whole number from 0 on"),
        ({**ONE_OF_FOUR, "RANK": "-1"}, "RANK='-1' is no whole number from 0 on"),
        ({**ONE_OF_FOUR, "RANK": ""}, "RANK='' is no whole number from 0 on"),
        ({**ONE_OF_FOUR, "WORLD_SIZE": "4\x1b[2J"}, r"WORLD_SIZE='4\x1b[2J' is no whole number from 0 on"),
        ({**ONE_OF_FOUR, "WORLD_SIZE": "9" * 5000}, "WORLD_SIZE='99"),
        ({**ONE_OF_FOUR, "LOCAL_RANK": "1.0"}, "LOCAL_RANK='1.0' is no whole number from 0 on"),
        ({**ONE_OF_FOUR, "MASTER_PORT": "http"}, "MASTER_PORT='http' is no whole number from 0 on"),
        ({**ONE_OF_FOUR, "MASTER_PORT": "0"}, "MASTER_PORT=0 is no port: it must be from 1 to 65535"),
        ({**ONE_OF_FOUR, "MASTER_PORT": "65536"}, "MASTER_PORT=65536 is no port"),
        ({**ONE_OF_FOUR, "MASTER_ADDR": ""}, "WORLD_SIZE=4 processes meet at MASTER_ADDR:MASTER_PORT, and MASTER_ADDR"),
        (
            {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "node1"},
            "WORLD_SIZE=2 processes meet at MASTER_ADDR:MASTER_PORT, and MASTER_PORT is not set",
        ),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "OMPI_COMM_WORLD_SIZE=2: mpirun does not tell a process its RANK"),
        ({"PMI_SIZE": "2"}, "PMI_SIZE=2: mpiexec does not tell"),
        ({"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "3"}, "SLURM_STEP_NUM_TASKS=8: srun does not tell"),
    ],
)
def test_what_says_no_place_is_named_in_one_line(variables, line):
    with pytest.raises(LauncherError) as caught:
        read_place(variables)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
