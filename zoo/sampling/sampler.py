"""Drawing samples from a backbone: image i is a function of the seed and of i, whatever the number of processes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from zoo.assembly import create_part
from zoo.backbone import Backbone
from zoo.compiling import compile_blocks
from zoo.data import Dataset, Normalize, Source
from zoo.data.left_out import open_kept
from zoo.errors import NumericError, ZooError
from zoo.flow import Guidance, Solver
from zoo.flow.sampling import check_memory, check_solver
from zoo.labels import Labels, in_turn, length
from zoo.recipe import Recipe
from zoo.sampling.latents import draw_latents


@dataclass(frozen=True)
class Sampler:
    """How images are drawn.

    Attributes:
        recipe: its ``sample`` section says with which solver, steps and guidance.
        solver: the recipe's.
        guidance: the recipe's, of which every batch has a copy.
        dataset: turns latents into pictures.
        normalize: what was done to the latents in training.
        seed: of the noise.
        batch: images of one pass. Products of matrices depend on it in their last bits, so every pass is whole.
        second: the other backbone, where guidance asks for other weights.
    """

    recipe: Recipe
    solver: Solver
    guidance: Guidance
    dataset: Dataset
    normalize: Normalize
    seed: int
    batch: int
    second: Backbone | None = None

    def samples(self) -> tuple[Source, Int[np.ndarray, " n"]]:
        """The dataset's training samples, and the indices of those that are not left out.

        Raises:
            DataError: they cannot be read.
        """
        source, left_out = open_kept(self.dataset, "train", self.recipe.data.leave_out)
        return source, left_out.kept

    def images(self, backbone: Backbone, labels: Labels, batch: int, count: int | None = None) -> list[np.ndarray]:
        """The pictures of one batch.

        Args:
            backbone: with the weights to draw from, on any device.
            labels: of all images of all batches; in turn, where they are fewer.
            batch: which of the batches, from 0.
            count: images that are wanted of all batches; as many as labels if left out.

        Returns:
            8-bit pictures [H, W, 1 or 3] of images ``batch * self.batch`` and on, ``self.batch`` or fewer at the end.

        Raises:
            NumericError: an image is not finite.
            ZooError: ``sample.compile`` is set, and a block cannot be compiled.
        """
        first = batch * self.batch
        numbers = range(first, min(first + self.batch, length(labels) if count is None else count))
        places = range(first, first + self.batch)
        own = in_turn(labels, places)
        options = self.recipe.sample
        if options.compile:
            for each in (backbone, self.second):
                if each is not None:
                    compile_blocks(each.blocks, self.recipe.train.compile_backend, "sample.compile")
        latents = draw_latents(
            backbone,
            self.solver,
            own,
            places,
            steps=options.steps,
            guidance=self.guidance,
            precision=options.precision,
            seed=self.seed,
            second=self.second,
        )
        latents = self.normalize.invert(latents[: len(numbers)].float())
        bad = (~latents.isfinite().flatten(1).all(dim=1)).nonzero().flatten().tolist()
        if bad:
            raise NumericError(f"image {first + bad[0]} is not finite; take a lower guidance, or another solver")
        pictures = self.dataset.to_images(latents)
        return [picture.cpu().numpy() for picture in pictures]


def prepare_sampler(recipe: Recipe, seed: int, batch: int | None = None, second: Backbone | None = None) -> Sampler:
    """The parts that a recipe draws samples with.

    Args:
        recipe: a validated recipe.
        seed: of the noise.
        batch: images of one pass; the recipe's ``sample.batch`` if left out.
        second: with the weights that guidance asks for, if any.
    """
    return Sampler(
        recipe=recipe,
        solver=create_part(recipe, "solver"),
        guidance=create_part(recipe, "guidance"),
        dataset=create_part(recipe, "dataset"),
        normalize=create_part(recipe, "normalize"),
        seed=seed,
        batch=batch or recipe.sample.batch,
        second=second,
    )


def check_guidance(recipe: Recipe, backbone: Backbone) -> None:
    """Refuse guidance where there is nothing to guide, or a solver that it does not go with, or steps of a number that
    the solver refuses.

    Raises:
        ZooError: the recipe's ``sample`` section asks for guidance by labels, and the backbone is unconditional; for
            guidance that remembers, and a solver that takes steps back; or for steps that the solver refuses.
    """
    guidance: Guidance = create_part(recipe, "guidance")
    if not guidance.is_none and guidance.second == "null" and not backbone.conditioner.uses_labels:
        raise ZooError(
            f"{recipe.name}: sample.guidance: the backbone is unconditional, there is nothing to guide; set it to 1"
        )
    solver: Solver = create_part(recipe, "solver")
    check_solver(backbone, solver, recipe.sample.steps, f"{recipe.name}: ")
    check_memory(solver, recipe.sample.steps, guidance)
