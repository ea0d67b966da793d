"""Whole jobs, started as a user starts them. Each takes ten seconds or more, most of it importing torch twice."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE, Popen

import pytest
import torch

from tests.forked import run_zoo
from zoo import build, load_recipe
from zoo.runs import checkpoint as checkpoints
from zoo.weights import write_weights

pytestmark = pytest.mark.slow

SMALL = [
    "--set", "backbone.dim=16", "--set", "backbone.heads=2", "--set", "train.batch=8", "--set", "train.log_every=1",
    "--set", "sample.steps=2", "--set", "sample.batch=8",
]  # fmt: skip
ENDLESS = [*SMALL, "--set", "train.steps=1000000", "--set", "train.checkpoint_every=2"]


def command(*arguments: str | Path, torchrun: tuple[str, ...] = ()) -> list[str]:
    launcher = ["-m", "torch.distributed.run", *torchrun] if torchrun else []
    return [sys.executable, *launcher, "-m", "zoo", *map(str, arguments)]


def start(*arguments: str, torchrun: tuple[str, ...] = ()) -> Popen[str]:
    """A job in a process group of its own, which has done its first step."""
    process = Popen(command(*arguments, torchrun=torchrun), stderr=PIPE, text=True, start_new_session=True)
    wait_for_step(process)
    return process


def wait_for_step(process: Popen[str]) -> None:
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("step ") and "  loss " in line:
            return
    pytest.fail(f"ended before its first step: {''.join(said)}")


def finish(process: Popen[str]) -> tuple[int, str]:
    assert process.stderr is not None
    said = process.stderr.read()
    return process.wait(), said


@pytest.mark.parametrize(
    ("number", "procs", "whole_group"),
    [
        (signal.SIGTERM, "1", False),
        (signal.SIGTERM, "2", False),
        (signal.SIGTERM, "2", True),
        (signal.SIGINT, "2", True),  # Ctrl-C's; to one process: tests/faults/test_signals.py
    ],
)
def test_a_signal_ends_a_job_with_75_and_all_is_saved(
    tmp_path: Path, number: signal.Signals, procs: str, whole_group: bool
) -> None:
    run = str(tmp_path / "run")
    process = start("train", "--recipe", "digits_hybrid", *ENDLESS, "--run-dir", run, "--procs", procs)
    (os.killpg if whole_group else os.kill)(process.pid, number)
    code, said = finish(process)
    assert code == 75, said
    *begun, last = said.splitlines()
    assert set(begun) == {"stopping after this step"}, "no traceback"
    assert last.startswith(f"stopped: {run}: asked to stop, and saved after step ")
    newest, problems = checkpoints.latest(Path(run) / "checkpoints")
    assert newest is not None
    assert not problems
    assert f"saved after step {newest.step} of 1000000" in said


def test_under_nohup_a_job_outlives_its_terminal_and_heeds_sigusr1(tmp_path: Path) -> None:
    """The launcher too, which passes on one SIGUSR1 and waits, whatever comes next."""
    run = str(tmp_path / "run")
    train = command("train", "--recipe", "digits_hybrid", *ENDLESS, "--run-dir", run, "--procs", "2")
    process = Popen(["nohup", *train], stderr=PIPE, text=True, start_new_session=True)
    wait_for_step(process)
    os.killpg(process.pid, signal.SIGHUP)
    wait_for_step(process)
    for _ in range(2):
        os.kill(process.pid, signal.SIGUSR1)
    code, said = finish(process)
    assert code == 75, said
    assert said.splitlines()[-1].startswith(f"stopped: {run}: asked to stop, and saved after step ")


def test_exit_codes_come_through_the_launcher(tmp_path: Path) -> None:
    """Which leaves no temporary folder, as PyTorch's does for logs."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    done = subprocess.run(
        command(
            "train", "--recipe", "digits_hybrid", *ENDLESS, "--run-dir", str(tmp_path / "run"), "--procs", "2",
            "--set", "train.learning_rate=1e30", "--set", "train.clip=", "--set", "train.warmup=0",
        ),
        stderr=PIPE, text=True, check=False, env={**os.environ, "TMPDIR": str(temporary)},
    )  # fmt: skip
    assert done.returncode == 5, done.stderr
    assert next(line for line in done.stderr.splitlines() if "error" in line).startswith("error: step ")
    assert done.stderr.count("error: ") == 1
    assert "Traceback" not in done.stderr
    cache = "torchinductor_*"  # PyTorch's, for good
    assert [path.name for path in temporary.iterdir() if not path.match(cache)] == []


def test_machines_meet_by_torchrun(tmp_path: Path) -> None:
    """Two, as far as it knows; a group of each shares the weights out. The losses are those of one process."""
    given = [*SMALL, "--set", "train.steps=2"]
    subprocess.run(command("train", "--recipe", "digits_hybrid", *given, "--run-dir", tmp_path / "one"), check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    torchrun = ("--nnodes", "2", "--nproc-per-node", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint")
    sharded = ["--set", "train.parallel=fsdp", "--set", "train.shard_within=2"]
    asked = ["train", "--recipe", "digits_hybrid", *given, *sharded, "--run-dir", str(tmp_path / "two")]
    machines = [
        Popen(
            command(*asked, torchrun=(*torchrun, f"127.0.0.1:{port}", "--rdzv-conf", f"is_host={host}")),
            stderr=PIPE,
            text=True,
        )
        for host in ("1", "0")
    ]
    said = "".join(finish(machine)[1] for machine in machines)
    assert [machine.returncode for machine in machines] == [0, 0], said
    assert said.count(" on cpu, 4 processes; ") == 1
    one, two = (
        [json.loads(line)["loss"] for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    assert two == pytest.approx(one, rel=1e-5)


def test_torchrun_restarts_a_job_whose_process_was_killed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    torchrun = (
        "--nproc-per-node",
        "2",
        "--max-restarts",
        "2",
        "--rdzv-backend",
        "c10d",
        "--rdzv-endpoint",
        "127.0.0.1:0",
    )
    process = start(
        "train", "--recipe", "digits_hybrid", *ENDLESS, "--run-dir", str(run), "--resume", torchrun=torchrun
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    ranks = [int(child) for child in children if b"RANK=1" in Path(f"/proc/{child}/environ").read_bytes().split(b"\0")]
    os.kill(ranks[0], signal.SIGKILL)
    wait_for_step(process)  # of the second attempt
    os.killpg(process.pid, signal.SIGTERM)
    finish(process)
    started = json.loads((run / "run.json").read_text())
    assert len(started) == 2
    newest, problems = checkpoints.latest(run / "checkpoints")
    assert newest is not None
    assert not problems


def test_samples_are_the_same_for_any_number_of_processes(tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    run_zoo("train", "--recipe", "digits_hybrid", *SMALL, "--set", "train.steps=3", "--run-dir", run, folder=tmp_path)
    for procs in ("1", "3"):  # the last of three has fewer images
        out = str(tmp_path / procs)
        drawn = command("sample", "--run", run, "--out", out, "--count", "19", "--npz", "--procs", procs)
        subprocess.run(drawn, check=True)
    names = sorted(path.name for path in (tmp_path / "1").iterdir())
    assert names == [
        *(f"{index:06d}.png" for index in range(19)),
        "grid.png",
        "request.json",
        "samples.json",
        "samples.npz",
    ]
    for name in names:
        if name != "samples.npz":  # which holds the time of writing
            assert len({(tmp_path / procs / name).read_bytes() for procs in ("1", "3")}) == 1


def random_weights(path: Path, scale: float) -> str:
    """A weight file of small digits_hybrid, in which no gate and no head is zero."""
    recipe = load_recipe("digits_hybrid", [word for word in SMALL if word != "--set"])
    backbone = build(recipe)
    generator = torch.Generator().manual_seed(0)
    tensors = backbone.state_dict()
    for name, _ in backbone.named_parameters():
        tensors[name] += scale * torch.randn(tensors[name].shape, generator=generator)
    write_weights(path, tensors, recipe)
    return str(path)


def test_compiled_blocks_train(tmp_path: Path) -> None:
    starts = [random_weights(tmp_path / f"{scale}.safetensors", scale) for scale in (0.1, 0.11)]
    compiled = ["train.compile=true", "train.compile_backend=aot_eager"]
    losses = []
    for number, (start, options) in enumerate([(starts[0], []), (starts[0], compiled), (starts[1], [])]):
        given = [word for option in [*options, f"train.init={start}"] for word in ("--set", option)]
        words = ["train", "--recipe", "digits_hybrid", *SMALL, "--set", "train.steps=3", *given]
        done = run_zoo(*words, "--run-dir", str(number), folder=tmp_path)
        assert done.returncode == 0, done.stderr
        metrics = tmp_path / str(number) / "metrics.jsonl"
        losses.append([json.loads(line)["loss"] for line in metrics.read_text().splitlines()])
    plain, same, other = losses
    assert same == pytest.approx(plain, rel=1e-4)
    assert all(loss != pytest.approx(wanted, rel=1e-2) for loss, wanted in zip(other, plain, strict=True))
