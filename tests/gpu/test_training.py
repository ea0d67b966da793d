"""Training, sampling and judging on a GPU: bit by bit the same after a resume, and the same by NCCL and FSDP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from tests.train.small import small
from zoo.cli import app
from zoo.data_parallel import data_parallel
from zoo.distributed.distributed import join_processes
from zoo.registry import Registry
from zoo.runs import checkpoint as checkpoints
from zoo.runs.run_folder import RunFolder
from zoo.train import trainer as trainers
from zoo.train.run import Run, Silent

REGISTRY = Registry()


def trained(path: Path, *overrides: str, group: bool = False, **options: Any) -> dict[str, torch.Tensor]:
    """The weights of a run on a GPU, as its last checkpoint has them."""
    folder = RunFolder(path)
    with join_processes("cuda", group=group) as world:
        Run(small(*overrides, registry=REGISTRY), folder, REGISTRY, world, Silent()).train(**options)
    newest, _ = checkpoints.latest(folder.checkpoints)
    return newest.tensors("model")


def losses(path: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (path / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_goes_on_as_if_never_stopped(tmp_path, precision):
    options = ("train.steps=6", f"train.precision={precision}")
    whole = trained(tmp_path / "whole", *options)
    with pytest.raises(Exception, match="asked to stop"):
        trained(tmp_path / "cut", *options, stop_at=3)
    again = trained(tmp_path / "cut", *options, resume=True)
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert losses(tmp_path / "whole") == losses(tmp_path / "cut")


def test_workers_and_pinned_memory_change_nothing(tmp_path):
    alone, helped = (trained(tmp_path / str(n), f"data.workers={n}", "train.steps=4") for n in (0, 2))
    assert all(torch.equal(alone[name], helped[name]) for name in alone)


def test_fsdp_and_nccl_train_the_same(tmp_path, monkeypatch):
    plain = trained(tmp_path / "plain")
    shared = trained(tmp_path / "shared", "train.parallel=fsdp", group=True)
    wrapped = trainers._wrapped

    def by_ddp(objective, options, world):
        return data_parallel(wrapped(objective, options, world), world.device)

    monkeypatch.setattr(trainers, "_wrapped", by_ddp)
    spread = trained(tmp_path / "spread", group=True)
    for found in (shared, spread):
        assert all(torch.allclose(found[name], plain[name], rtol=1e-4, atol=1e-6) for name in plain)


def test_a_gpu_trains_as_a_cpu_does(tmp_path):
    trained(tmp_path / "gpu", "train.steps=6")
    folder = RunFolder(tmp_path / "cpu")
    with join_processes("cpu") as world:
        Run(small("train.steps=6", registry=REGISTRY), folder, REGISTRY, world, Silent()).train()
    assert losses(tmp_path / "gpu") == pytest.approx(losses(tmp_path / "cpu"), rel=1e-3)


@pytest.mark.usefixtures("no_checks_of_shapes")
def test_compiled_blocks_train_the_same(tmp_path):
    trained(tmp_path / "plain", "train.steps=4")
    trained(tmp_path / "compiled", "train.steps=4", "train.compile=true")
    assert losses(tmp_path / "compiled") == pytest.approx(losses(tmp_path / "plain"), rel=1e-3)


def test_activations_are_computed_anew(tmp_path):
    trained(tmp_path / "plain", "train.steps=4")
    trained(tmp_path / "anew", "train.steps=4", "train.checkpoint_activations=true")
    assert losses(tmp_path / "anew") == pytest.approx(losses(tmp_path / "plain"), rel=1e-4)


def test_the_commands_work_on_a_gpu(tmp_path):
    run, out = tmp_path / "run", tmp_path / "samples"
    training = ["train", "--recipe", "digits_hybrid", "--run-dir", str(run), "--device", "cuda"]
    short = ["--set", "train.steps=20", "--set", "evaluate.count=64", "--set", "sample.steps=4"]
    for command in (
        [*training, *short],
        ["sample", "--run", str(run), "--out", str(out), "--count", "8", "--device", "cuda"],
        ["eval", "--run", str(run), "--device", "cuda"],
    ):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
    assert len(list(out.glob("*.png"))) == 8
