"""Several averages of one run: each is what it would be alone, has a file of its own, and is found by its decay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.distributed.ranks import run_ranks
from tests.train.small import ALONE, small, train
from zoo.distributed.distributed import Distributed
from zoo.errors import Preempted, RunError, ZooError
from zoo.registry import Registry
from zoo.runs import checkpoint as checkpoints
from zoo.runs.run_folder import RunFolder
from zoo.runs.weights import find_weights, load, open_weights
from zoo.train.run import Run, Silent

SEVERAL = ("train.ema=[0.5, 0.9, 0, {std: 0.1}]", "train.ema_ramp=false")
FILES = ("ema", "ema-0.9", "ema-0.0", "ema-std-0.1")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("runs") / "several", *SEVERAL).path


def digests(path: Path) -> dict[str, str]:
    """Hashes of the tensors of the newest checkpoint, by file."""
    newest, problems = checkpoints.latest(path / "checkpoints")
    assert newest is not None
    assert not problems
    return {file.stem: newest.digest(file.stem) for file in newest.path.glob("*.safetensors")}


@pytest.mark.parametrize(("decay", "file"), [("0.5", "ema"), ("[0.9]", "ema-0.9"), ("[{std: 0.1}]", "ema-std-0.1")])
def test_each_is_to_the_last_bit_what_it_is_alone(run: Path, tmp_path: Path, decay: str, file: str) -> None:
    alone = digests(train(tmp_path / "alone", f"train.ema={decay}", SEVERAL[1]).path)
    several = digests(run)
    assert set(alone) == {"model", "ema", "optimizer"}
    assert set(several) == {"model", "optimizer", *FILES}
    assert several[file] == alone["ema"]
    assert several["model"] == alone["model"]
    assert len({several[each] for each in FILES}) == 4


def go_on(world: Distributed, path: Path, overrides: tuple[str, ...], stop_at: int | None) -> Any:
    registry, folder = Registry(), RunFolder(path)
    session = Run(small(*overrides, registry=registry), folder, registry, world, Silent())
    try:
        return session.train(resume=folder.is_used, stop_at=stop_at).step
    except Preempted:
        return "stopped"


@pytest.mark.parametrize(("ranks", "parallel"), [(1, "ddp"), pytest.param(2, "fsdp", marks=pytest.mark.slow)])
def test_a_run_that_goes_on_is_the_run_that_never_stopped(tmp_path: Path, ranks: int, parallel: str) -> None:
    overrides = (*SEVERAL, f"train.parallel={parallel}")

    def work(name: str, stop_at: int | None) -> list[Any]:
        path = tmp_path / name
        if ranks == 1:
            return [go_on(ALONE, path, overrides, stop_at)]
        return run_ranks(go_on, ranks, path, overrides, stop_at, group=True)

    assert work("whole", None) == [3] * ranks
    assert work("parts", 1) == ["stopped"] * ranks
    assert work("parts", None) == [3] * ranks
    assert digests(tmp_path / "parts") == digests(tmp_path / "whole")


def test_an_average_that_is_not_restored_would_be_noticed(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert go_on(ALONE, tmp_path, SEVERAL, 1) == "stopped"
    plain = checkpoints.Checkpoint.tensors

    def tensors(self: checkpoints.Checkpoint, name: str) -> dict[str, torch.Tensor]:
        return {key: each * (0.5 if name == "ema-0.9" else 1) for key, each in plain(self, name).items()}

    monkeypatch.setattr(checkpoints.Checkpoint, "tensors", tensors)
    assert go_on(ALONE, tmp_path, SEVERAL, None) == 3
    assert {name for name, digest in digests(run).items() if digests(tmp_path)[name] != digest} == {"ema-0.9"}


def test_it_does_not_go_on_with_other_averages(run: Path) -> None:
    with pytest.raises(
        ZooError,
        match=r"was trained by another recipe .*: train\.ema: \[0\.5, 0\.9, 0\.0, .*\] and 0\.5; train\.ema may change",
    ):
        go_on(ALONE, run, ("train.ema=0.5", SEVERAL[1], "train.steps=4"), None)


@pytest.mark.parametrize(
    ("weights", "file", "said"),
    [
        ("ema", "ema", "ema"), ("ema:0.5", "ema", "ema"), ("ema:0.90", "ema-0.9", "ema:0.9"),
        ("ema:0", "ema-0.0", "ema:0.0"), ("ema:std=.1", "ema-std-0.1", "ema:std=0.1"), ("raw", "model", "raw"),
    ],
)  # fmt: skip
def test_it_is_found_by_its_decay(run: Path, registry: Registry, weights: str, file: str, said: str) -> None:
    given = open_weights(run, registry, weights=weights, step=2)
    wanted = checkpoints.at_step(run / "checkpoints", 2)
    assert given.source["weights"] == said
    assert given.source["weights_sha256"] == wanted.digest(file)
    assert all(torch.equal(each, wanted.tensors(file)[name]) for name, each in given.tensors.items())


def test_the_averages_that_there_are_are_told(run: Path, registry: Registry) -> None:
    with pytest.raises(ZooError) as caught:
        load(run, weights="ema:0.99", registry=registry)
    there = "ema:0.5, ema:0.9, ema:0.0, ema:std=0.1"
    assert (
        str(caught.value) == f"{run}: keeps no average ema:0.99, only {there}, as its train.ema says; take one of these"
    )
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "weights", ["ema:", "ema:x", "ema:-1", "ema:0.5.5", "ema:nan", "ema:std=", "ema:std=x", "ema:0.5 ", "EMA"]
)
def test_what_names_no_average_is_refused_before_a_run_is_looked_for(weights: str, tmp_path: Path) -> None:
    with pytest.raises(
        ZooError, match=r"^weights: ema, raw, or one of several averages, such as ema:0\.9999 or ema:std=0\.1, not '"
    ):
        find_weights(tmp_path / "nowhere", weights=weights)


def test_a_recipe_that_does_not_say_its_averages_is_told(run: Path, tmp_path: Path, registry: Registry) -> None:
    text = (run / "recipe.yaml").read_text()
    folder = RunFolder(tmp_path / "run")
    folder.create()
    folder.recipe.write_text(text.replace("  ema:", "  averages:", 1))
    with pytest.raises(RunError, match=r"recipe\.yaml: its train\.ema is not what zoo wrote; put the file back"):
        open_weights(folder.path, registry, weights="ema:0.9")
