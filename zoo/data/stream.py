"""The stream of samples that training reads: a function of seed and step alone.

The samples of all steps stand in one endless row, epoch after epoch, each epoch in an order of its own. Step s takes
the next ``batch`` of them, and each rank reads its own stretch of these, whatever the number of ranks and data workers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.data import Dataset

from zoo.data.base import Normalize, Samples, Source
from zoo.data.left_out import NOTHING, LeftOut, read_kept
from zoo.data.problems import HOLDS_NOT_FINITE
from zoo.data.workers import Workers
from zoo.errors import DataError, SampleError
from zoo.labels import Labels, class_indices, map_labels
from zoo.randomness import Purpose, generator_at
from zoo.shell import Commands


@dataclass(frozen=True)
class Batch:
    """A part of a step's samples, and everything random about them.

    Attributes:
        latents: normalised [B, C, *size].
        labels: as the dataset gives them, a tensor [B, ...] or several by name.
        noise: standard normal [B, C, *size].
        t: noise levels [B].
        share: what the loss of a sample is multiplied by to be unbiased [B].
        weight: the same with the weighting of noise levels [B].
        drop: whether the label is dropped [B].
        places: positions in the step's global batch [B].
        indices: positions in the dataset [B].
        counts: how many samples are of each stage, noisiest first: they come in this order.
        scores: for a router, uniform in [0, 1) [B, N]; None where there is none.
        label_scores: for a class conditioner that drops some of a label, likewise [B, drops].
        extra: what else losses ask for, by name, a row of each sample.
    """

    latents: Float[Tensor, "B C *size"]
    labels: Labels
    noise: Float[Tensor, "B C *size"]
    t: Float[Tensor, " B"]
    share: Float[Tensor, " B"]
    weight: Float[Tensor, " B"]
    drop: Bool[Tensor, " B"]
    places: Int[Tensor, " B"]
    indices: Int[Tensor, " B"]
    counts: tuple[int, ...]
    scores: Float[Tensor, "B N"] | None = None
    label_scores: Float[Tensor, "B drops"] | None = None
    extra: Mapping[str, Tensor] = field(default_factory=dict)

    def pin_memory(self) -> Batch:
        """The same in page-locked memory, from which it is copied to a GPU without waiting; PyTorch calls this."""
        return self.moved(Tensor.pin_memory)

    def moved(self, move: Callable[[Tensor], Tensor]) -> Batch:
        """The same with each tensor elsewhere."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        held: Any = {
            name: map_labels(move, each) for name, each in values.items() if isinstance(each, Tensor | Mapping)
        }
        return replace(self, **held)


@runtime_checkable
class Levels(Protocol):
    """Draws noise levels; ``zoo.flow.NoiseLevels`` says how."""

    def by_stage(self, places: Iterable[int]) -> list[list[int]]:
        """The places that are of each stage."""

    def draw(self, places: Tensor, batch: int, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Noise levels, shares and weights of the samples at ``places`` of a batch."""


class Share(NamedTuple):
    """Which part of each global batch a rank reads, and in how many pieces."""

    rank: int = 0
    ranks: int = 1
    pieces: int = 1

    def places(self, batch: int, piece: int) -> range:
        """Positions of a piece in the global batch."""
        size = batch // (self.ranks * self.pieces)
        first = (self.rank * self.pieces + piece) * size
        return range(first, first + size)


@dataclass(frozen=True)
class Order:
    """The order in which training sees ``length`` samples.

    What is left out keeps its place in it, which the next sample takes that is not: all others come when they would
    come anyway.
    """

    length: int
    batch: int
    seed: int
    left_out: LeftOut = field(default=NOTHING, compare=False)

    def indices(self, step: int, places: Sequence[int]) -> Int[np.ndarray, " B"]:
        """Positions in the dataset of the samples at ``places`` of a step's global batch."""
        row = step * self.batch + np.asarray(places, dtype=np.int64)
        epochs, positions = np.divmod(row, self.length)
        found = np.empty_like(row)
        for epoch in np.unique(epochs).tolist():
            own = epochs == epoch
            found[own] = self._taken(_permutation(self.length, self.seed, epoch), positions[own])
        return found

    def _taken(self, order: Int[np.ndarray, " length"], positions: Int[np.ndarray, " b"]) -> Int[np.ndarray, " b"]:
        """What stands at ``positions`` of an epoch's order, or after them where it is left out."""
        mask = self.left_out.mask
        while mask.any() and (out := mask[order[positions]]).any():
            positions = (positions + out) % self.length
        return order[positions]


@lru_cache(maxsize=2)  # a batch can lie across two epochs
def _permutation(length: int, seed: int, epoch: int) -> Int[np.ndarray, " length"]:
    return generator_at(seed, Purpose.ORDER, epoch, 0).permutation(length)


class Reader(Dataset[Batch]):
    """Reads pieces of steps."""

    def __init__(
        self,
        source: Source,
        normalize: Normalize,
        order: Order,
        share: Share,
        levels: Levels,
        *,
        num_classes: int = 0,
        label_dropout: float = 0.0,
        scores: int = 0,
        label_scores: int = 0,
        extra: Collection[str] = (),
    ) -> None:
        self.source, self.normalize, self.order, self.share, self.levels = source, normalize, order, share, levels
        self.num_classes, self.label_dropout, self.extra = num_classes, label_dropout, extra
        self.scores, self.label_scores = scores, label_scores

    def of_run(self, run: Commands) -> None:
        """Have advice say by which commands the run goes on, where samples are left out."""
        self.order = replace(self.order, left_out=replace(self.order.left_out, run=run))

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        """The samples of (step, piece)."""
        return self.read(*key)

    def read(self, step: int, piece: int) -> Batch:
        """The samples of a piece of this rank's part of a step, stage by stage.

        Raises:
            DataError: a sample cannot be read, is not finite, or has a label that there is no class for.
        """
        batch, seed = self.order.batch, self.order.seed
        of_stages = self.levels.by_stage(self.share.places(batch, piece))
        places = [place for own in of_stages for place in own]
        indices = self.order.indices(step, places)

        def augment() -> list[np.random.Generator]:
            return [generator_at(seed, Purpose.AUGMENT, step, place) for place in places]

        samples = read_kept(self.source, indices, augment, self.order.left_out)
        self._check(samples, indices)
        latents = self.normalize.apply(samples.latents)
        flow = [generator_at(seed, Purpose.FLOW, step, place) for place in places]
        uniform = np.stack([generator.random(2) for generator in flow])
        noise = np.stack([generator.standard_normal(latents.shape[1:], dtype=np.float32) for generator in flow])
        scores, label_scores = (_uniform(flow, count) for count in (self.scores, self.label_scores))
        at = torch.tensor(places)
        t, own_share, weight = self.levels.draw(at, batch, torch.from_numpy(uniform[:, 0].copy()))
        return Batch(
            latents=latents,
            labels=samples.labels,
            noise=torch.from_numpy(noise),
            t=t,
            share=own_share,
            weight=weight,
            drop=torch.from_numpy(uniform[:, 1] < self.label_dropout),
            places=at,
            indices=torch.from_numpy(indices),
            counts=tuple(map(len, of_stages)),
            scores=scores,
            label_scores=label_scores,
            extra={name: self._extra(samples, name) for name in self.extra},
        )

    def _extra(self, samples: Samples, name: str) -> Tensor:
        found, count = samples.extra.get(name), len(samples.latents)
        if found is None or not found.ndim or len(found) != count:
            told = "nothing" if found is None else f"a tensor {list(found.shape)}"
            raise DataError(f"the dataset gives {told} as {name} of {count} samples: let extra have a row for each")
        return found

    def _check(self, samples: Samples, indices: Int[np.ndarray, " B"]) -> None:
        finite, labels = samples.finite, class_indices(samples.labels)
        if not finite.all():
            ids = list(map(self.source.id, dict.fromkeys(indices[~finite.numpy()].tolist())))
            raise SampleError(f"{ids[0]}: {HOLDS_NOT_FINITE}; {self.order.left_out.advice(ids)}")
        if self.num_classes and labels is not None:
            outside = (labels < 0) | (labels >= self.num_classes)
            if outside.any():
                place = int(outside.nonzero()[0])
                sample, label = self.source.id(int(indices[place])), int(labels[place])
                classes = f"0..{self.num_classes - 1}"
                raise DataError(f"{sample}: label {label} is outside {classes}; mend it, or set backbone.num_classes")


def _uniform(generators: Sequence[np.random.Generator], count: int) -> Float[Tensor, "B count"] | None:
    """So many numbers in [0, 1) of each; None for none, which draws nothing."""
    drawn = [generator.random(count, dtype=np.float32) for generator in generators] if count else None
    return None if drawn is None else torch.from_numpy(np.stack(drawn))


def stream(
    reader: Reader,
    first: int,
    last: int,
    *,
    workers: int = 0,
    pin_memory: bool = False,
    limit: float | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Generator[list[Batch], None, None]:
    """The pieces of steps ``first`` to ``last - 1``, a list for every step; ends early if asked to while it waits.

    Args:
        reader: what reads them.
        first: step to start with.
        last: step to stop before.
        workers: processes that read ahead; 0 reads in this one.
        pin_memory: put batches in page-locked memory, for GPUs.
        limit: seconds to wait for a worker.
        stop: whether to wait no longer for one.

    Raises:
        DataError: a sample cannot be read, or a worker has died or does not answer.
    """
    each = range(reader.share.pieces)
    keys = ((step, piece) for step in range(first, last) for piece in each)
    with closing(Workers(reader, keys, workers, pin_memory=pin_memory)) as pieces:
        for _ in range(first, last):
            step: list[Batch] = []
            for _ in each:
                piece = pieces.next(limit, stop)
                if piece is None:
                    return
                step.append(piece)
            yield step
