"""What a recipe's training is made of, checked against the number of processes before anything is built."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from zoo.assembly import change_section, create_part, create_parts
from zoo.backbone import Backbone
from zoo.callbacks import Callback
from zoo.classes import Classes
from zoo.compiling import check_backend
from zoo.data import Dataset, Fingerprint, Normalize
from zoo.data.left_out import classes_kept, open_kept
from zoo.data.shared_memory import concerns
from zoo.data.stream import Order, Reader, Share
from zoo.distributed.failures import ending_nothing
from zoo.errors import DataError, PluginError, RecipeError, ZooError, in_words, shortened, words_of
from zoo.flow import NoiseLevels, Objective, StagePlan, plan_stages
from zoo.flow.segments import check_sizes
from zoo.optim import Optimizer, Schedule
from zoo.optim.updates import Updates
from zoo.recipe import Recipe
from zoo.registry import Registry
from zoo.runs.optimizer import learning_rate
from zoo.sampling.sampler import check_guidance
from zoo.train.matching import refuse_labels_of, refuse_other_latents
from zoo.train.process import change_of, put_back
from zoo.weight_patterns import pattern_notes
from zoo.weights import Weights


@dataclass(frozen=True)
class Job:
    """A recipe, with the parts that train it.

    Attributes:
        recipe: with what the dataset's recorded statistics fill in.
        plan: which stage each sample of a batch is in.
        optimizer: of the weights.
        schedule: of the learning rate.
        reader: reads this rank's samples.
        dataset: makes pictures, if its latents are any.
        normalize: what was done to the latents.
        data: what tells the dataset's samples from others.
        classes: what they are called, and how many samples of each are trained on.
        callbacks: what is told how training goes, each with its name.
        notes: what to say before training starts, a line each.
        second: the other weights, where the guidance of pictures asks for any.
    """

    recipe: Recipe
    plan: StagePlan
    optimizer: Optimizer
    schedule: Schedule
    reader: Reader
    dataset: Dataset
    normalize: Normalize
    data: Fingerprint
    classes: Classes
    callbacks: tuple[tuple[str, Callback], ...] = ()
    notes: tuple[str, ...] = ()
    second: Weights | None = None


def open_job(recipe: Recipe, objective: Objective, registry: Registry, rank: int, ranks: int) -> Job:
    """Open the data of a recipe, and plan its batches.

    Args:
        recipe: a validated recipe.
        objective: what it trains, on any device.
        registry: the parts to choose from.
        rank: this process.
        ranks: number of processes.

    Raises:
        ZooError: the batch cannot be split, the weights cannot be trained, samples cannot be drawn as asked, or the
            dataset's labels or latents are not such as the backbone takes.
        DataError: the data cannot be read, or is less than a batch.
    """
    backbone, options = objective.backbone, recipe.train
    if options.compile:
        check_backend(options.compile_backend, f"{recipe.name}: ")
    _check_path(recipe, backbone)
    optimizer: Optimizer = create_part(recipe, "optimizer")
    plan = check_training(recipe, backbone, optimizer, ranks)
    check_guidance(recipe, backbone)  # at the end of a run it would be late to hear of it
    rate, rate_of = options.learning_rate, options.learning_rate_of
    Updates(optimizer, objective, backbone.blocks, rate, rate_of)  # before a folder is written to
    names = [spec.type for spec in recipe.train.callbacks]
    callbacks = tuple(zip(names, create_parts(recipe, "callback"), strict=True))
    dataset: Dataset = create_part(recipe, "dataset")
    changes = [
        change_of(name, "check", what)
        for name, callback in callbacks
        for what in ask_callback(name, callback, recipe, dataset)
    ]
    source, left_out = open_kept(dataset, "train", recipe.data.leave_out)
    kept = len(left_out.kept)
    if kept < options.batch:
        beside = f" beside the {len(source) - kept} that data.leave_out names" if kept < len(source) else ""
        raise DataError(
            f"dataset {recipe.data.dataset.type} has {kept} samples{beside}, fewer than train.batch {options.batch};"
            " set train.batch lower"
        )
    refuse_labels_of(recipe, backbone.conditioner, source, left_out)
    refuse_other_latents(recipe, source, left_out)
    normalize: Normalize = create_part(recipe, "normalize")
    fitted = normalize.fitted(source.statistics)
    if fitted:  # written out, so that samples can be drawn where the data is not
        values = {f"normalize.{name}": value for name, value in fitted.items()}
        recipe = change_section(recipe, "data", values, registry)
        normalize = create_part(recipe, "normalize")
    reader = Reader(
        source,
        normalize,
        Order(len(source), options.batch, options.seed, left_out),
        Share(rank, ranks, options.accumulate),
        NoiseLevels(plan, create_part(recipe, "weighting"), backbone.path, next(backbone.parameters()).dtype),
        num_classes=recipe.backbone.num_classes,
        label_dropout=recipe.objective.label_dropout,
        scores=backbone.scores,
        label_scores=backbone.conditioner.drops,
        extra=objective.extra,
    )
    classes = classes_kept(source, left_out)
    untrained = classes.untrained(recipe.backbone.num_classes)
    warnings = () if untrained is None else (f"warning: {untrained}",)
    latent, share = recipe.backbone.latent, options.batch // (ranks * options.accumulate)
    batch_bytes = 2 * 4 * share * math.prod((latent.channels, *latent.size))  # and as much noise
    on_this_machine = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    notes = (
        *(f"note: {note}" for note in source.notes),
        *left_out.notes(),
        *warnings,
        *pattern_notes(backbone, options.freeze, options.learning_rate_of),
        *changes,
        *concerns(recipe.data.workers, on_this_machine, batch_bytes),
    )
    data = source.fingerprint(files=rank == 0)
    schedule = _schedule_of(recipe)
    return Job(recipe, plan, optimizer, schedule, reader, dataset, normalize, data, classes, callbacks, notes)


def check_training(recipe: Recipe, backbone: Backbone, optimizer: Optimizer, ranks: int) -> StagePlan:
    """Refuse what cannot be trained wherever it is tried; and tell how samples are shared out among stages.

    Args:
        recipe: a validated recipe.
        backbone: of it.
        optimizer: of its weights.
        ranks: number of processes.

    Raises:
        ZooError: stages of sizes that the path does not go between, a share of activations without the compiler, a
            batch or weights that cannot be split so.
    """
    options = recipe.train
    check_sizes(backbone, f"{recipe.name}: ")
    if not (options.compile or isinstance(options.checkpoint_activations, bool)):
        raise ZooError(
            f"{recipe.name}: train.checkpoint_activations: {options.checkpoint_activations} is a share, which"
            " torch.compile keeps; set train.compile to true, or this to true, which keeps no more than blocks' inputs"
        )
    plan = plan_of(recipe, backbone)
    check_batch(recipe, plan.group, ranks)
    check_shares(recipe, ranks)
    if options.parallel == "fsdp" and not optimizer.shards:
        raise ZooError(
            f"{recipe.name}: train.optimizer: {options.optimizer.type} takes no weights that FSDP shares out; choose"
            " another, or train.parallel: ddp"
        )
    return plan


def plan_of(recipe: Recipe, backbone: Backbone) -> StagePlan:
    """How the samples of a recipe's batches are shared out among the stages of its backbone.

    Raises:
        ZooError: a stage has no room, or never a sample.
    """
    sampler = create_part(recipe, "noise_sampler")
    try:
        return plan_stages(backbone.stages, backbone.ties, sampler, recipe.train.stage_group)
    except ValueError as error:
        raise ZooError(f"{recipe.name}: {error}") from error


def ask_callback(name: str, callback: Callback, recipe: Recipe, dataset: Dataset) -> list[str]:
    """Let a callback refuse a recipe, and say which one it was, also where it fails at that.

    Returns:
        What of the process it has changed, in words; it has been put back.

    Raises:
        ZooError: it refuses the recipe.
        PluginError: it fails.
    """
    where = f"{recipe.name}: train.callbacks: {name}"
    try:
        with ending_nothing(), put_back() as changed:
            callback.check(recipe, dataset)
    except RecipeError as error:
        raise RecipeError([f"{where}: {shortened(each)}" for each in error.problems]) from error
    except ZooError:
        raise
    except Exception as error:
        raise _failure(f"{where} fails in check()", error) from error
    return changed


def _failure(what: str, error: Exception) -> PluginError:
    return PluginError(f"{what}: {in_words(error)}; --debug shows where")


def _check_path(recipe: Recipe, backbone: Backbone) -> None:
    where = f"{recipe.name}: objective.path: {recipe.objective.path.type}"
    try:
        start = backbone.path.at(1.0)
    except Exception as error:
        raise _failure(f"{where} fails at t = 1", error) from error
    if not (math.isfinite(start.alpha_rate) and math.isfinite(start.sigma_rate)):
        raise ZooError(
            f"{where}: the rates of alpha and sigma are not finite at t = 1, where sampling starts; choose another path"
        )


def _schedule_of(recipe: Recipe) -> Schedule:
    """The schedule, unless it refuses so few steps, or fails at the first."""
    schedule: Schedule = create_part(recipe, "schedule")
    options, after = recipe.train, recipe.train.steps - recipe.train.warmup
    try:
        if after > 0:
            learning_rate(options.warmup, schedule, options)
    except ValueError as error:
        raise ZooError(
            f"{recipe.name}: train.steps: schedule {options.schedule.type} refuses {after} after the warm-up:"
            f" {words_of(error) or 'it says not why'}"
        ) from error
    except Exception as error:
        raise _failure(f"{recipe.name}: train.schedule: {options.schedule.type} fails", error) from error
    return schedule


def check_batch(recipe: Recipe, group: int, ranks: int) -> None:
    """Refuse a batch that processes cannot share out evenly.

    Args:
        recipe: has its size.
        group: samples after which the pattern of stages repeats.
        ranks: number of processes.

    Raises:
        ZooError: says what sizes they can.
    """
    options = recipe.train
    unit = ranks * options.accumulate * group
    if options.batch % unit:
        below, above = options.batch // unit * unit, (options.batch // unit + 1) * unit
        nearest = f"{below} or {above}" if below else str(above)
        raise ZooError(
            f"{recipe.name}: train.batch {options.batch} is no multiple of {unit} = {ranks} (processes) x"
            f" {options.accumulate} (train.accumulate) x {group} (samples after which the pattern of stages repeats:"
            f" train.stage_group); {_going_on(options.batch, options.accumulate, group, ranks)}take {nearest}"
        )


def check_shares(recipe: Recipe, ranks: int) -> None:
    """Refuse groups of processes of which there are no whole ones.

    Raises:
        ZooError: says which there can be.
    """
    options, within = recipe.train, recipe.train.shard_within
    if within is None:
        return
    if options.parallel != "fsdp":
        raise ZooError(f"{recipe.name}: train.shard_within: is of train.parallel: fsdp; set that too, or leave it out")
    if ranks % within:
        fitting = [str(each) for each in range(2, ranks + 1) if ranks % each == 0]
        which = f"take {' or '.join(fitting)}, or null for all" if fitting else "leave it out"
        raise ZooError(f"{recipe.name}: train.shard_within {within} does not divide {ranks} (processes); {which}")


def _going_on(batch: int, accumulate: int, group: int, ranks: int) -> str:
    """How a run can go on with its batch, which stays; nothing where no run can have had it."""
    groups, rest = divmod(batch, group)
    if rest:
        return ""
    also = "" if groups % accumulate == 0 else " with train.accumulate 1"
    pieces = groups if also else groups // accumulate
    fitting = [str(count) for count in range(1, 2 * ranks + 1) if pieces % count == 0]
    *fewer, most = fitting
    counts = f"{', '.join(fewer)} or {most} processes" if fewer else f"{most} process"
    return f"to go on with a run, whose batch stays, start {counts}{also}; for a new one "
