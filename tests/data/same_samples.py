"""Pictures that lie otherwise than in folders, beside the same in folders."""

import numpy as np
import torch

from zoo.data.images import Images


def in_folders(pictures, num_classes=3, **options):
    """Those of a folder of pictures."""
    return Images(3, (16, 24), num_classes, folder=str(pictures), **options)


def generators(count):
    """One for each sample."""
    return [np.random.default_rng([5, index]) for index in range(count)]


def assert_same_samples(source, files):
    """Flips included, in any order, again and again."""
    rows = np.array([9, 0, 4, 3, 0])
    found, expected = (each.read(rows, generators(len(rows))) for each in (source, files))
    assert torch.equal(found.latents, expected.latents)
    assert torch.equal(found.labels, expected.labels)
    assert torch.equal(found.flipped, expected.flipped)
