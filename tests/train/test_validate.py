"""The loss of held-out samples: as a plain loop has it, always of the same noise, and for any number of ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.data.waves import Waves, WaveSource
from tests.distributed.ranks import alone, run_ranks
from tests.train.small import ALONE, Said, small, train
from zoo.assembly import build, create_part
from zoo.backbone import Backbone
from zoo.callbacks import Callback, Step, Training
from zoo.data import Split
from zoo.data.stream import Batch, Reader
from zoo.distributed.distributed import Distributed
from zoo.errors import MissingSplitError, RecipeError
from zoo.flow import objective_of
from zoo.randomness import Purpose, generator_at
from zoo.registry import Registry, part
from zoo.runs.metrics_file import read_metrics
from zoo.runs.run_folder import RunFolder
from zoo.runs.weights import open_weights
from zoo.train.held_out import RunHeldOut
from zoo.train.job import open_job
from zoo.train.run import Run, Silent
from zoo.train.trainer import Trainer
from zoo.weights import filled

VALIDATE = "train.callbacks=[{type: validate, every: 2, samples: 10, levels: 4, seed: 3}]"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Four steps, with two lines of validation."""
    return train(tmp_path_factory.mktemp("runs") / "whole", VALIDATE, "train.steps=4")


def lines(run: RunFolder, name: str = "validate") -> dict[int, Any]:
    return {line["step"]: line[name] for line in read_metrics(run.metrics) if name in line}


def plain_loss(backbone: Backbone, level: float) -> Tensor:
    """Squared errors of ten held-out digits, one by one, by the linear path's formula."""
    source = create_part(small(), "dataset").open("held_out")
    found = []
    for place, index in enumerate(np.sort(np.random.default_rng(3).choice(len(source), 10, replace=False)).tolist()):
        sample = source.read(np.array([index]), [np.random.default_rng(0)])
        generator = generator_at(3, Purpose.FLOW, 0, place)
        generator.random(2)  # the noise level and the dropping of the label, where they are drawn
        noise = torch.from_numpy(generator.standard_normal((1, 1, 8, 8), dtype=np.float32))
        z = (1 - level) * sample.latents + level * noise
        with torch.no_grad():
            predicted = backbone(z, torch.tensor([level]), sample.labels)
        found.append((predicted - (noise - sample.latents)).square().mean())
    return torch.stack(found).mean()


@pytest.mark.parametrize("which", ["ema", "raw"])
def test_it_is_what_a_plain_loop_finds(whole: RunFolder, which: Any) -> None:
    backbone = filled(open_weights(whole.path, Registry(), weights=which, step=4), torch.device("cpu"))
    wanted = {level: float(plain_loss(backbone, level)) for level in (0.125, 0.375, 0.625, 0.875)}
    told = lines(whole)[4][which]
    assert told["levels"] == pytest.approx({f"{level:g}": loss for level, loss in wanted.items()}, rel=1e-5)
    noisy, clean = (wanted[0.625] + wanted[0.875]) / 2, (wanted[0.125] + wanted[0.375]) / 2
    assert told["stages"] == pytest.approx([noisy, clean], rel=1e-5)
    assert told["loss"] == pytest.approx((noisy + clean) / 2, rel=1e-5)


def test_averaged_weights_are_told_apart_from_the_last(whole: RunFolder) -> None:
    assert [*lines(whole)] == [2, 4]
    assert lines(whole)[4]["ema"]["loss"] != lines(whole)[4]["raw"]["loss"]


def test_a_run_that_goes_on_tells_the_same(whole: RunFolder, tmp_path: Path) -> None:
    train(tmp_path / "run", VALIDATE, "train.steps=3")
    parted = train(tmp_path / "run", VALIDATE, "train.steps=4", resume=True)
    assert lines(parted)[2] == lines(whole)[2]
    assert lines(parted)[4] == lines(whole)[4]


def test_training_is_the_same_without_it(whole: RunFolder, tmp_path: Path) -> None:
    without = train(tmp_path / "run", "train.callbacks=[]", "train.steps=4")
    for which in ("ema", "raw"):
        with_it, other = (open_weights(run.path, Registry(), weights=which).tensors for run in (whole, without))
        assert all(torch.equal(with_it[name], other[name]) for name in other)
    own = [{**line, "images_per_second": 0} for line in read_metrics(whole.metrics) if "loss" in line]
    assert own == [{**line, "images_per_second": 0} for line in read_metrics(without.metrics)]


@part("callback", "other_noise")
class OtherNoise(Callback):
    """What validation must not do: noise of its own each time."""

    everywhere = True

    def step(self, training: Training, step: Step) -> None:
        held_out = training.held_out(10, step.step)
        training.log({"loss": held_out.losses(["ema"], [0.5]).mean().item()})


@pytest.mark.parametrize(
    ("callback", "same"), [("{type: validate, every: 1, samples: 10}", True), ("other_noise", False)]
)
def test_weights_that_stay_have_a_loss_that_stays(tmp_path: Path, callback: str, same: bool) -> None:
    registry, folder = Registry().with_parts([OtherNoise]), RunFolder(tmp_path / "run")
    recipe = small(f"train.callbacks=[{callback}]", "train.learning_rate=1e-30", registry=registry)
    Run(recipe, folder, registry, ALONE, Silent()).train()
    first, second, _ = lines(folder, "validate" if same else "other_noise").values()
    assert (first == second) is same


def losses(world: Distributed, init: Path, parallel: str) -> Any:
    """Of samples for two passes, by weights that are no longer those that a backbone begins with."""
    recipe = small(f"train.parallel={parallel}")
    objective = objective_of(recipe, build(recipe, device="cpu"))
    objective.backbone.load_state_dict(open_weights(init, Registry(), weights="raw").tensors)
    job = open_job(recipe, objective, Registry(), world.rank, world.size)
    trainer = Trainer(job, objective, world)
    held_out = RunHeldOut(trainer, RunFolder(init).commands, 10, 3)
    assert held_out.stages([0.9, 0.5, 0.1]) == [0, 1, 1]
    return held_out.losses(["ema", "raw"], [0.25, 0.75]).tolist()


def test_two_ranks_find_the_same_to_the_bit(whole: RunFolder) -> None:
    wanted = alone(losses, whole.path, "ddp")
    assert run_ranks(losses, 2, whole.path, "ddp") == [wanted, wanted]
    assert torch.tensor(wanted).unique().numel() == 20  # each is another's


@pytest.mark.slow
def test_two_ranks_of_which_each_has_a_share_of_the_weights_find_the_same(whole: RunFolder) -> None:
    wanted = alone(losses, whole.path, "ddp")
    assert run_ranks(losses, 2, whole.path, "fsdp", group=True) == [wanted, wanted]


def test_a_sample_has_its_noise_whatever_is_in_a_pass(whole: RunFolder, tmp_path: Path) -> None:
    other = train(tmp_path / "run", VALIDATE, "train.steps=4", "sample.batch=3")
    assert lines(other)[4]["ema"]["levels"] == pytest.approx(lines(whole)[4]["ema"]["levels"], rel=1e-5)


@part("dataset", "all_trained_on")
class AllTrainedOn(Waves):
    def open(self, split: Split = "train") -> WaveSource:
        if split == "held_out":
            raise MissingSplitError("waves are not divided")
        return super().open(split)


def test_without_held_out_samples_the_recipe_is_refused(tmp_path: Path) -> None:
    registry = Registry().with_parts([AllTrainedOn])
    recipe = small("data.dataset=all_trained_on", "backbone.num_classes=3", VALIDATE, registry=registry)
    told = "small: train.callbacks: validate: it asks for held-out samples: waves are not divided; or leave"
    with pytest.raises(RecipeError, match=told):
        Run(recipe, RunFolder(tmp_path / "run"), registry, ALONE, Silent()).train()
    assert not (tmp_path / "run").exists()


def run(path: Path, *overrides: str) -> list[str]:
    """What is said."""
    said, registry = Said(), Registry()
    Run(small(*overrides, registry=registry), RunFolder(path), registry, ALONE, said).train()
    return said.said


def test_at_each_checkpoint_samples_are_read_once_for_all_weights_and_means_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    read = Reader.read

    def counted(reader: Reader, step: int, piece: int) -> Batch:
        if not step and reader.share.pieces > 1:  # of what is held out, in passes of six
            reads.append(piece)
        return read(reader, step, piece)

    monkeypatch.setattr(Reader, "read", counted)
    said = run(tmp_path, "train.callbacks=[{type: validate, samples: 10, levels: 2}]")
    assert reads == [0, 1, 0, 1]
    assert [*lines(RunFolder(tmp_path))] == [2, 3]
    assert said == [
        f"step {step}: held-out loss {line['ema']['loss']:.4f} (ema), {line['raw']['loss']:.4f} (raw)"
        for step, line in lines(RunFolder(tmp_path)).items()
    ]


def test_a_stage_that_no_level_is_of_is_told(tmp_path: Path) -> None:
    problem = "none of its 1 noise levels is of stage 0; let it have more levels"
    said = run(tmp_path / "run", "train.callbacks=[{type: validate, levels: 1}]", "train.steps=1")
    assert said == [f"warning: callback validate: {problem}; the run goes on"]
