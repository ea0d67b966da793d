"""What a GPU trains is copied into page-locked memory, and written from there, while it goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.gpu.test_training import trained
from zoo.runs.checkpoint import Checkpoint
from zoo.runs.run_folder import RunFolder
from zoo.runs.staging import Staging

LONG = 1 << 26
"""Numbers of a tensor, so many that copying them takes longer than to ask for it."""


def test_a_copy_is_of_the_values_from_before_what_is_asked_for_next() -> None:
    """And nobody waits for the GPU until the copy is wanted."""
    held = {"model": {"weight": torch.ones(LONG, device="cuda")}}
    staging = Staging(torch.device("cuda"))
    places = staging.places(held)
    assert places is not None
    place = places["model"]["weight"]
    assert place.is_pinned()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(8):
            held["model"]["weight"].mul_(1)
        place.copy_(held["model"]["weight"], non_blocking=True)
        staging.mark()
        held["model"]["weight"].fill_(-1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    staging.wait()
    assert torch.equal(place, torch.ones(LONG))


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_checkpoint_beside_training_is_of_its_step(parallel: str, tmp_path: Path) -> None:
    options = (f"train.parallel={parallel}", "train.steps=6")
    with pytest.raises(Exception, match="asked to stop"):
        trained(tmp_path / "stopped", *options, group=True, stop_at=3)
    trained(tmp_path / "beside", *options, "train.checkpoint_every=3", "train.keep_last=2", group=True)
    stopped, beside = (Checkpoint(step_folder(tmp_path / name)).tensors("model") for name in ("stopped", "beside"))
    assert stopped.keys() == beside.keys()
    assert all(torch.equal(stopped[name], beside[name]) for name in stopped)


def step_folder(run: Path) -> Path:
    return RunFolder(run).checkpoints / "step_00000003"
