"""The operators of a training step and of a pass of sampling, from fake tensors: nothing is allocated or computed."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from zoo.assembly import create_part
from zoo.audit.memory import DEVICE, samples_of
from zoo.backbone import Backbone
from zoo.compiling import recompute_blocks
from zoo.errors import AuditError, first_line
from zoo.flow import objective_of, total
from zoo.flow.precision import clock_dtype
from zoo.optim.updates import Updates
from zoo.plan.operations import Operation, Recorder
from zoo.recipe import Recipe
from zoo.runs.optimizer import EMA
from zoo.shards import total_norm


def training_step(backbone: Backbone, recipe: Recipe, counts: Sequence[int]) -> tuple[list[Operation], list[Operation]]:
    """The operators of a forward and backward pass, and those of the update that follows.

    Args:
        backbone: built on the meta device from the recipe. It is left as it was.
        recipe: its ``objective`` and ``train`` say how it is trained.
        counts: samples of each stage.

    Raises:
        AuditError: a part does not run on fake tensors.
    """
    part, objective = create_part(recipe, "optimizer"), objective_of(recipe, deepcopy(backbone)).train()
    model, options = objective.backbone, recipe.train
    passes, update = Recorder(), Recorder()
    with FakeTensorMode(allow_non_fake_inputs=True):  # such as the weights on the meta device
        objective.to_empty(device=DEVICE)
        updates = Updates(part, objective, model.blocks, options.learning_rate, options.learning_rate_of)
        trained = [each.parameter for each in updates.weights]
        of_backbone = {name: each for name, each in model.named_parameters() if each.requires_grad}
        averages = [EMA(of_backbone) for _ in options.averages]
        batches = [samples_of(objective, stage, count) for stage, count in enumerate(counts) if count]
        one = torch.ones(sum(counts), dtype=clock_dtype(trained[0].dtype))
        if options.checkpoint_activations is True:
            recompute_blocks(model.blocks)
        with _told():
            for parameter in trained:  # let the optimizer have begun
                parameter.grad = torch.empty_like(parameter)
            updates.step(options.learning_rate)
            updates.zero_grad()
            with passes:
                with torch.autocast(DEVICE.type, torch.bfloat16, enabled=options.precision == "bfloat16"):
                    values = objective(batches)
                total(objective.terms, values, one, one).mean().backward()  # type: ignore[no-untyped-call]
            with update:
                total_norm([each.grad for each in trained if each.grad is not None])
                updates.step(options.learning_rate)
                for average in averages:
                    average.update(of_backbone, 0.5)
    return passes.operations, update.operations


def sampling_pass(backbone: Backbone, recipe: Recipe, stage: int, rows: int) -> list[Operation]:
    """The operators of one pass of a solver.

    Args:
        backbone: built on the meta device from the recipe. It is left as it was.
        recipe: its ``sample.precision`` is that of the pass.
        stage: which all samples are in.
        rows: samples, counted twice where they are guided.

    Raises:
        AuditError: a part does not run on fake tensors.
    """
    model, found = deepcopy(backbone).eval(), Recorder()
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        model.to_empty(device=DEVICE)
        dtype = next(model.parameters()).dtype
        latents = torch.empty(rows, *model.latent_of(stage), dtype=dtype)
        labels = model.conditioner.example_labels(rows, device=DEVICE)
        t = torch.empty(rows, dtype=clock_dtype(dtype))
        with (
            _told(),
            found,
            torch.autocast(DEVICE.type, torch.bfloat16, enabled=recipe.sample.precision == "bfloat16"),
        ):
            model.forward_stage(stage, latents, t, labels)
    return found.operations


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        every = traceback.extract_tb(error.__traceback__)
        frames = [each for each in every if "/torch/" not in each.filename and each.name != "__torch_dispatch__"]
        where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}, in {frames[-1].name}"
        raise AuditError(
            f"a step cannot be planned, since a part does not run on fake tensors: {where}: {type(error).__name__}:"
            f" {first_line(error)}. A forward pass must not look at values, which they do not have"
        ) from error
