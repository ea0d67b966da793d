"""How good samples are while a run trains, and which checkpoint has the best ones."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from zoo.callbacks.base import Callback
from zoo.callbacks.training import Training
from zoo.data import Dataset
from zoo.errors import RecipeError
from zoo.recipe import Recipe
from zoo.registry import part


@part("callback", "evaluate")
class Evaluate(Callback):
    """The figures of samples of the averaged weights, as ``zoo eval`` finds them, of the checkpoints of a run.

    Images are always of the same noise, as ``sample`` draws them and ``evaluate`` judges them. Figures are a line of
    the metrics, under ``evaluate``, and an evaluation of the run, which reports draw against steps; who watches is told
    them, or that by which the best checkpoint is kept.

    Options:
        every: steps between two of them, a multiple of train.checkpoint_every; null for that. There is one at the end
            besides.
        best: name of the figure by which the best checkpoint is kept beside train.keep_last, for --step best.
    """

    everywhere = True

    def __init__(
        self,
        *,
        every: Annotated[int | None, Field(ge=1)] = None,
        best: Annotated[str | None, Field(min_length=1)] = None,
    ) -> None:
        self.every, self.best = every, best
        self._warned = False

    def check(self, recipe: Recipe, dataset: Dataset) -> None:
        """Look at what there is to compare, and when.

        Raises:
            RecipeError: latents are no pictures, or there are no checkpoints to evaluate.
        """
        if not dataset.makes_images:
            name = recipe.data.dataset.type
            raise RecipeError([f"it compares pictures, and dataset {name} makes none of its latents; leave it out"])
        between = recipe.train.checkpoint_every
        if self.every is not None and self.every % between:
            raise RecipeError([f"every: {self.every} is no multiple of train.checkpoint_every, {between}; make it one"])

    def checkpoint(self, training: Training) -> None:
        """Evaluate it, if it is due; one that is saved since the run was asked to stop is not."""
        every = self.every or training.recipe.train.checkpoint_every
        if training.step % every and training.step != training.steps:
            return
        figures = training.evaluate()
        training.log(figures)
        if not training.is_main:
            return
        told = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        if self.best in figures:
            best = training.keep_if_best(self.best, figures[self.best])
            told = f"{self.best} {figures[self.best]:.4g}{' (best so far)' if best else ''}"
        elif self.best is not None and not self._warned:
            self._warned = True
            there = f"there is no figure {self.best!r} to choose the best by; there are: {', '.join(figures)}"
            training.say(f"warning: evaluate: {there}")
        training.say(f"step {training.step}: {told}")
