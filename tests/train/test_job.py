"""From recipe to job: what cannot be trained is refused before anything is built, with numbers that would do."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import zoo
from tests.testing.broken.paths import Roots
from tests.testing.test_right_settings import OfWholeWeights, WantsMany
from tests.train.small import ALONE, small
from zoo.assembly import build, load_recipe
from zoo.data.base import Dataset, Samples, Source, Statistics
from zoo.errors import DataError, PluginError, ZooError
from zoo.flow import objective_of
from zoo.optim import Schedule
from zoo.parts import ClassCondition, ClassConditioner
from zoo.paths import LinearPath
from zoo.plugins import Plugin
from zoo.registry import Registry, part
from zoo.runs.run_folder import RunFolder
from zoo.train.job import open_job
from zoo.train.run import Run, Silent


class CountedSource(Source):
    statistics = Statistics((1.0,), (2.0,))

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def read(self, indices, random):
        latents = torch.as_tensor(indices, dtype=torch.float32)[:, None, None, None].expand(-1, 1, 8, 8)
        return Samples(latents.clone(), torch.zeros(len(indices), dtype=torch.int64))

    def id(self, index):
        return str(index)


@part("dataset", "counted")
class Counted(Dataset):
    """As many samples as asked for, with recorded statistics."""

    def __init__(self, *, count: int = 100) -> None:
        self.count = count

    def open(self, split="train"):
        return CountedSource(self.count)

    def to_images(self, latents):
        return latents.to(torch.uint8).movedim(1, -1)


@part("class_conditioner", "captions")
class Captions(ClassConditioner):
    """Labels are embeddings [B, 3]."""

    gives = frozenset({"label"})

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, dim)

    def forward(self, labels):
        return ClassCondition(vector=self.linear(labels))

    def null(self, labels):
        return torch.zeros_like(labels)

    def example_labels(self, batch, device=None):
        return torch.ones(batch, 3, device=device)

    def check_labels(self, labels, batch):
        if labels is None or tuple(labels.shape) != (batch, 3):
            raise ValueError(f"labels: must be embeddings [{batch}, 3], got {list(labels.shape)}")


@pytest.fixture(scope="module")
def registry():
    own = Registry()
    own.register(SimpleNamespace(zoo_parts=zoo.hookimpl(lambda: [Counted, Captions])), Plugin("tests", "1"))
    return own


def open_small(registry, *overrides, rank=0, ranks=1):
    recipe = small(*overrides, registry=registry)
    return open_job(recipe, objective_of(recipe, build(recipe, device="meta")), registry, rank, ranks)


def test_a_share_of_activations_needs_a_compiler(registry):
    with pytest.raises(ZooError, match=r"^small: train\.checkpoint_activations: 0\.5 is a share.*set train\.compile"):
        open_small(registry, "train.checkpoint_activations=0.5")
    open_small(registry, "train.checkpoint_activations=0.5", "train.compile=true", "train.compile_backend=eager")


@pytest.mark.parametrize(
    ("batch", "accumulate", "group", "ranks"),
    [(1, 1, "null", 1), (7, 1, "null", 1), (30, 3, "null", 3), (8, 1, 16, 1), (100, 4, 5, 2), (33, 1, 2, 16)],
)
def test_a_batch_that_cannot_be_split_is_refused_with_numbers_that_can(batch, accumulate, group, ranks, registry):
    options = [f"train.accumulate={accumulate}", f"train.stage_group={group}"]
    with pytest.raises(ZooError) as caught:
        open_small(registry, *options, f"train.batch={batch}", ranks=ranks)
    assert caught.value.exit_code == 2
    message = str(caught.value)
    assert message.startswith(f"small: train.batch {batch} is no multiple of ")
    unit = int(re.search(r"multiple of (\d+) = ", message).group(1))
    factors = re.search(r"= (\d+) \(processes\) x (\d+) \(train.accumulate\) x (\d+) \(samples", message).groups()
    assert np.prod([int(each) for each in factors]) == unit
    proposed = [int(each) for each in re.findall(r"\d+", message.rsplit("take ", 1)[1])]
    assert proposed
    assert all(number > 0 for number in proposed)
    assert min(abs(number - batch) for number in proposed) <= unit / 2 or len(proposed) == 1
    data = "data.dataset={type: counted, count: 1000}"
    for number in proposed:
        job = open_small(registry, *options, f"train.batch={number}", data, ranks=ranks, rank=ranks - 1)
        places = [job.reader[0, piece].places.tolist() for piece in range(accumulate)]
        assert places[-1][-1] == number - 1


@pytest.mark.parametrize(
    ("batch", "accumulate", "ranks", "advice"),
    [
        (8, 1, 3, "start 1, 2 or 4 processes; for a new one take 6 or 9"),
        (6, 2, 2, "start 1 or 3 processes; for a new one take 4 or 8"),
        (15, 2, 2, "start 1 or 3 processes with train.accumulate 1; for a new one take 12 or 16"),
        (7, 1, 2, "start 1 process; for a new one take 6 or 8"),
    ],
)
def test_counts_of_processes_that_a_run_can_go_on_with(batch, accumulate, ranks, advice, registry):
    """Since its batch may not change, another one is no advice."""
    options = ["train.stage_group=1", "backbone.patch_schedule={type: uniform, patch: 2}", f"train.batch={batch}"]
    with pytest.raises(ZooError) as caught:
        open_small(registry, *options, f"train.accumulate={accumulate}", ranks=ranks)
    assert str(caught.value).endswith(f"; to go on with a run, whose batch stays, {advice}")
    counts = [int(each) for each in re.findall(r"\d+", advice.split(" process", 1)[0])]
    kept = 1 if "with train.accumulate 1" in advice else accumulate
    for count in counts:
        open_small(registry, *options, f"train.accumulate={kept}", ranks=count)


def test_every_piece_of_every_rank_has_samples_of_every_stage(registry):
    """Or a stage's weights would get no gradient there."""
    for ranks in (1, 2, 4):
        for rank in range(ranks):
            job = open_small(registry, "train.batch=48", "train.accumulate=3", rank=rank, ranks=ranks)
            for piece in range(3):
                assert set(job.plan.stage_of(job.reader[0, piece].places).tolist()) == {0, 1}


def test_fewer_samples_than_a_batch(registry):
    with pytest.raises(DataError) as caught:
        open_small(registry, "data.dataset={type: counted, count: 7}")
    assert str(caught.value) == "dataset counted has 7 samples, fewer than train.batch 8; set train.batch lower"
    assert open_small(registry, "data.dataset={type: counted, count: 8}").reader.order.length == 8
    with pytest.raises(DataError) as caught:
        open_small(registry, "data.dataset={type: counted, count: 9}", "data.leave_out=['0', '3']")
    assert str(caught.value) == (
        "dataset counted has 7 samples beside the 2 that data.leave_out names, fewer than train.batch 8; set"
        " train.batch lower"
    )


def test_latents_of_several_sizes_are_not_trained(registry):
    stages = "[{noise_above: 0.5, patch: 2, scale: 2}, {noise_above: 0.0, patch: 2}]"
    with pytest.raises(ZooError, match=r"small: objective.path: goes between no sizes") as caught:
        open_small(registry, f"backbone.patch_schedule={{type: by_timestep, stages: {stages}}}")
    assert caught.value.exit_code == 2


def test_a_group_without_room_for_all_stages(registry):
    with pytest.raises(ZooError, match="small: a group of 1 samples has no room for 2 stages; make stage_group larger"):
        open_small(registry, "train.stage_group=1")


def test_a_stage_that_is_never_drawn(registry):
    stages = "backbone.patch_schedule.stages.0.noise_above=0.9999999"
    with pytest.raises(ZooError) as caught:
        open_small(registry, stages, "objective.noise_sampler={type: logit_normal, std: 0.05}")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("small: the noise sampler never draws a noise level of stage 0, between 0.99")


def test_data_that_does_not_fit_the_backbone(registry):
    with pytest.raises(DataError, match=r"dataset digits has 10 classes, and backbone.num_classes is 3"):
        open_small(registry, "backbone.num_classes=3")


def test_recorded_statistics_are_filled_into_the_recipe(registry):
    job = open_small(registry, "data={dataset: counted, normalize: per_channel}")
    assert job.recipe.resolved()["data"]["normalize"] == {"type": "per_channel", "mean": [1.0], "std": [2.0]}
    again = load_recipe(job.recipe.resolved(), (), registry)
    assert again.resolved() == job.recipe.resolved()  # where the data need not be
    batch = job.reader[0, 0]
    assert torch.equal(batch.latents[:, 0, 0, 0], (batch.indices.float() - 1) / 2)
    assert torch.equal(job.normalize.invert(batch.latents)[:, 0, 0, 0], batch.indices.float())


def test_given_statistics_stay_as_they_are(registry):
    job = open_small(registry, "data={dataset: counted, normalize: {type: per_channel, mean: [5.0], std: [4.0]}}")
    assert job.recipe.resolved()["data"]["normalize"] == {"type": "per_channel", "mean": [5.0], "std": [4.0]}


def test_statistics_that_are_not_recorded_are_asked_for(registry):
    with pytest.raises(DataError, match="this dataset records no statistics; give mean and std in the recipe"):
        open_small(registry, "data.normalize=per_channel")


def test_the_reader_is_what_the_recipe_says(registry):
    job = open_small(registry, "objective.label_dropout=0.25", "train.seed=5", "train.accumulate=2", ranks=2, rank=1)
    reader = job.reader
    assert (reader.label_dropout, reader.num_classes, reader.order.seed, reader.order.batch) == (0.25, 10, 5, 8)
    assert tuple(reader.share) == (1, 2, 2)


UNCONDITIONAL = ("backbone.num_classes=0", "backbone.class_conditioner=none")


def test_an_unconditional_backbone_trains_without_classes(registry):
    job = open_small(registry, *UNCONDITIONAL)
    assert job.reader[0, 0].labels.max() > 0  # there are some, and nobody minds


def test_guidance_without_classes_is_refused_before_training(registry):
    with pytest.raises(ZooError) as caught:
        open_small(registry, *UNCONDITIONAL, "sample.guidance=[1.0, 2.0]")
    assert str(caught.value) == (
        "small: sample.guidance: the backbone is unconditional, there is nothing to guide; set it to 1"
    )
    open_small(registry, *UNCONDITIONAL, "sample.guidance=[1.0, 1.0]")


def test_guidance_that_the_solver_misleads_is_refused_before_training(registry):
    adaptive = "sample.solver=dopri5", "sample.guidance={type: apg, scale: 2.0}"
    with pytest.raises(ZooError, match=r"sample.guidance: keeps what it has seen, .* choose another solver"):
        open_small(registry, *adaptive)
    open_small(registry, *adaptive, "sample.guidance.momentum=0.0")


def test_what_cannot_train_are_refused_before_training(registry):
    registry = registry.with_parts([Roots, WantsMany, OfWholeWeights])
    with pytest.raises(ZooError) as caught:
        open_small(registry, "objective.path=roots")
    assert str(caught.value) == (
        "small: objective.path: roots: the rates of alpha and sigma are not finite at t = 1, where sampling starts;"
        " choose another path"
    )
    with pytest.raises(ZooError) as caught:
        open_small(registry, "train.schedule=wants_many", "train.steps=50", "train.warmup=10")
    assert str(caught.value) == (
        "small: train.steps: schedule wants_many refuses 40 after the warm-up: wants 100 steps or more"
    )
    open_small(registry, "train.optimizer=of_whole_weights")
    with pytest.raises(ZooError) as caught:
        open_small(registry, "train.optimizer=of_whole_weights", "train.parallel=fsdp")
    assert str(caught.value) == (
        "small: train.optimizer: of_whole_weights takes no weights that FSDP shares out; choose another, or"
        " train.parallel: ddp"
    )


def test_groups_of_processes_have_to_be_whole(registry):
    fsdp = "train.parallel=fsdp", "train.batch=24"
    open_small(registry, *fsdp, "train.shard_within=2", ranks=4)
    for within, ranks, told in (
        (4, 6, "train.shard_within 4 does not divide 6 (processes); take 2 or 3 or 6, or null for all"),
        (2, 1, "train.shard_within 2 does not divide 1 (processes); leave it out"),
    ):
        with pytest.raises(ZooError) as caught:
            open_small(registry, *fsdp, f"train.shard_within={within}", ranks=ranks)
        assert str(caught.value) == f"small: {told}"
    with pytest.raises(ZooError) as caught:
        open_small(registry, "train.shard_within=2", ranks=2)
    assert str(caught.value) == ("small: train.shard_within: is of train.parallel: fsdp; set that too, or leave it out")


@part("schedule", "looking_up")
class LookingUp(Schedule):
    def factor(self, step, steps):
        return {}[step]


@part("path", "of_three")
class OfThree(LinearPath):
    def rates(self, t):
        return torch.ones(3), torch.ones(3)


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ("train.schedule=looking_up", "train.schedule: looking_up fails: KeyError: 0; --debug shows where"),
        ("objective.path=of_three", "objective.path: of_three fails at t = 1: ValueError: "),
    ],
)
def test_what_fails_as_it_is_asked_is_named(chosen, told, registry):
    with pytest.raises(PluginError) as caught:
        open_small(registry.with_parts([LookingUp, OfThree]), chosen, "train.warmup=0")
    assert str(caught.value).startswith(f"small: {told}")


def test_labels_that_the_conditioner_refuses_are_told_before_there_is_a_folder(registry, tmp_path):
    recipe = small("backbone.class_conditioner=captions", "sample.guidance=1", registry=registry)
    with pytest.raises(ZooError) as caught:
        Run(recipe, RunFolder(tmp_path / "run"), registry, ALONE, Silent()).train()
    assert caught.value.exit_code == 2
    assert str(caught.value) == (
        "small: class_conditioner captions does not take the labels of dataset digits: digit 0: labels: must be"
        " embeddings [1, 3], got [1]; set backbone.class_conditioner or data.dataset to what go together;"
        " `zoo new-plugin NAME --kind dataset` begins a dataset of such labels"
    )
    assert not (tmp_path / "run").exists()


def test_labels_of_later_samples_are_looked_at(registry, monkeypatch):
    monkeypatch.setattr(
        CountedSource, "labels", lambda self, indices: torch.from_numpy(np.where(indices < 90, 3, 12)), raising=False
    )
    with pytest.raises(ZooError, match=r"does not take the labels of dataset counted: 92: labels: 12 is out of range"):
        open_small(registry, "data.dataset=counted")


def test_a_conditioner_that_fails_on_labels_does_not_take_them(registry, monkeypatch):
    def hasty(self, labels, batch):
        if labels.shape[1] != 3:
            raise ValueError("labels: must be embeddings")

    monkeypatch.setattr(Captions, "check_labels", hasty)
    with pytest.raises(ZooError) as caught:
        open_small(registry, "backbone.class_conditioner=captions", "sample.guidance=1")
    assert str(caught.value) == (
        "small: class_conditioner captions does not take the labels of dataset digits: digit 0: IndexError: tuple index"
        " out of range; set backbone.class_conditioner or data.dataset to what go together;"
        " `zoo new-plugin NAME --kind dataset` begins a dataset of such labels"
    )


def test_a_dataset_of_other_latents_is_refused_with_both_shapes():
    registry = Registry().with_parts([Counted])
    recipe = load_recipe("digits_dit", ["data.dataset=counted", "backbone.depth=1"], registry)
    with pytest.raises(
        ZooError, match=r"dataset counted has latents \[1, 8, 8\], and backbone.latent is \[1, 16, 16\]"
    ):
        open_job(recipe, objective_of(recipe, build(recipe, device="meta")), registry, 0, 1)
