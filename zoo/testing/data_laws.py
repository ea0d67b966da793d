"""Laws of normalisations, and of the sources of a dataset."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import product

import numpy as np
import torch

from zoo.data.base import Source, Statistics
from zoo.data.fingerprint import digest_of_labels
from zoo.testing.asserts import assert_close
from zoo.testing.cases import Case
from zoo.testing.law import Law, law

SIZES = ((5,), (3, 2), (2, 3, 4))


@law(
    "Let invert() undo apply() step by step, backwards, with constants in the dtype of what is given, over "
    "dimension 1; change nothing in place, and keep nothing of what comes: another process inverts."
)
def inverts(case: Case) -> None:
    """``invert(apply(x))`` is x, and both keep dtype and shape, of one axis to three.

    With recorded statistics, where the part takes any. Nothing is kept from one call to the next, or taken from the
    other samples.
    """
    channels = range(case.supplied["channels"])
    statistics = Statistics(tuple(k / 2 - 1 for k in channels), tuple(0.5 + k / 4 for k in channels))
    fitted = case.create().fitted(statistics)
    part, another = (case.entry.create(case.options.model_copy(update=fitted), case.supplied) for _ in range(2))
    generator = torch.Generator().manual_seed(case.seed)
    for size, (dtype, tolerance) in product(SIZES, ((torch.float32, 1e-4), (torch.float64, 1e-9))):
        latents = torch.randn(2, len(channels), *size, generator=generator, dtype=torch.float64).to(dtype)
        before = latents.clone()
        applied = part.apply(latents)
        restored = part.invert(applied)
        assert applied.shape == restored.shape == latents.shape, "normalising changes the shape"
        assert applied.dtype == restored.dtype == dtype, f"normalising changes {dtype}"
        assert torch.equal(latents, before), "normalising changes its inputs"
        # Offsets and factors that are large beside the latents leave them few digits: four of the last one are allowed.
        nudged = part.invert(torch.nextafter(applied, torch.full_like(applied, torch.inf)))
        last_digit = float((nudged - restored).abs().max())
        assert_close(restored, latents, "invert does not undo apply", tolerance + 4 * last_digit)
        assert_close(another.invert(applied), restored, "built anew, it does not invert what was applied", tolerance)
        assert_close(part.apply(latents[:1]), applied[:1], "a sample alone is applied otherwise", tolerance)


def tells_its_data(open_source: Callable[[], Source]) -> None:
    """A source says of the same data the same, whatever was read before: opened anew, and in a data worker.

    A run could not be gone on with otherwise. Labels are those that come with the samples.

    Args:
        open_source: opens the same data whenever it is called.
    """
    source = open_source()
    assert len(source) > 0, "there are no samples"
    told = source.fingerprint()
    assert open_source().fingerprint() == told, "opened anew, the same data has another fingerprint"
    # As pickling, by which data workers get it: with what __getstate__ and __reduce__ say.
    assert copy.deepcopy(source).fingerprint() == told, "in a data worker the fingerprint is another"
    indices = np.array([len(source) - 1, 0])
    samples = source.read(indices, [np.random.default_rng(seed) for seed in (1, 2)])
    told_alone, read = map(digest_of_labels, (source.labels(indices), samples.labels))
    assert told_alone == read, "labels are others than come with the samples"
    assert source.fingerprint() == told, "the fingerprint is another once samples have been read"
    assert source.fingerprint(files=False).order() == told.order(), "names, labels or order hang on a look at files"
    counts = source.class_counts()
    assert counts is None or sum(counts) == len(source), "the samples of all classes are not all samples"


LAWS: dict[str, tuple[Law[Case], ...]] = {"normalize": (inverts,)}
