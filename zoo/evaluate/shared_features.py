"""Features of images, of which every process of a job looks at a share."""

from __future__ import annotations

import itertools

from zoo.distributed.distributed import Distributed
from zoo.evaluate import Features, FeatureSet
from zoo.evaluate.base import BATCH
from zoo.evaluate.judging import RealImages
from zoo.sampling.tracking import tracked


def features_of_real(features: Features, real: RealImages, what: str, world: Distributed) -> FeatureSet | None:
    """Features of real images, on the main process; None on the others.

    Args:
        features: fitted, the same on all processes.
        real: the images, likewise.
        what: they are, for people who wait.
        world: this process among those of the job.
    """
    share = range(world.rank, -(-len(real) // BATCH), world.size)
    with world.together():
        batches = tracked(real.batches(world.rank, world.size), len(share), what, world)
        own = [features.of(each.images, each.labels) for each in batches]
    return joined(own, world)


def joined(own: list[FeatureSet], world: Distributed) -> FeatureSet | None:
    """The features of all batches, which the processes took in turn, in their order; on the main one."""
    shares = world.collect(own)
    if not world.is_main:
        return None
    rounds = itertools.zip_longest(*shares)  # of which every process had one batch
    return FeatureSet.joined([each for batches in rounds for each in batches if each is not None])
