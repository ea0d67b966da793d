"""Laws of datasets: what their sources read, and how samples are told from each other.

One that needs files is checked with those that its options say: ``check_part(MyDataset, options={"folder": ...})``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import islice

import numpy as np
import torch

from zoo.data.base import AT_ONCE, Dataset, Samples, Source, Split
from zoo.data.problems import read_alike
from zoo.errors import DataError, MissingSplitError
from zoo.labels import Labels, checked, class_indices, length
from zoo.parts.values import tensors_in
from zoo.testing.asserts import bytes_of
from zoo.testing.cases import Case
from zoo.testing.data_laws import tells_its_data
from zoo.testing.law import Law, NotRun, law

SPLITS: tuple[Split, ...] = ("train", "held_out")
EXAMPLES = 3
"""Of a dataset: to open one may take time."""


@law(
    "Let what tells a source hang on the data alone: no random numbers in names, nothing that reading changes; override"
    " labels() to give what read() does.",
    examples=EXAMPLES,
)
def source_tells_its_data(case: Case) -> None:
    """A source says of the same data the same, opened anew and in a data worker, or no run could be gone on with."""
    dataset = _created(case)
    for split, _ in _sources(dataset):
        tells_its_data(partial(dataset.open, split))


@law(
    "Return Samples(latents, labels): floats [B, channels, *size] on the CPU in the order of indices, each drawn from"
    " its own generator in random alone.",
    examples=EXAMPLES,
)
def reads_latents(case: Case) -> None:
    """A source reads finite latents of the recipe's shape, each sample the same whatever is read beside it."""
    shape, dataset = (case.site.channels, *case.site.size), _created(case)
    strange = sorted(set(dataset.maps) - set(dataset.extra))
    assert not strange, f"maps names {', '.join(strange)}, which extra does not"
    for split, source in _sources(dataset):
        some = np.array([len(source) - 1, 0, len(source) // 2])
        samples = read_alike(source, some)
        found, expected = tuple(samples.latents.shape), (len(some), *shape)
        assert found == expected, f"reads latents {found} of {split}, in place of {expected}"
        assert samples.latents.is_floating_point(), f"reads latents of {samples.latents.dtype}, and should read floats"
        assert samples.latents.device.type == "cpu", f"reads latents on {samples.latents.device}, not on the CPU"
        assert samples.finite.all(), f"reads NaN or infinite values of {split}"
        rows = length(checked(samples.labels))
        assert rows == len(some), f"reads {rows} labels for {len(some)} samples"
        counts = {name: len(each) for name, each in samples.extra.items()}
        expected_extra = dict.fromkeys(dataset.extra, len(some))
        assert counts == expected_extra, f"reads rows of extra {counts}, in place of {expected_extra}"
        for place in range(len(some)):
            alone = read_alike(source, some[place : place + 1])
            for one, all_of_them in zip(_tensors(alone), _tensors(samples), strict=True):
                told = "a sample is another when it is read alone, or again with an equal generator"
                assert bytes_of(one[0]) == bytes_of(all_of_them[place]), told  # by which NaN is as NaN


@law(
    "Give classes from 0 to num_classes - 1, refuse in open() (DataError) a num_classes that does not go with the data,"
    " and let class_counts() be None where counting would take reading.",
    examples=EXAMPLES,
)
def labels_are_classes(case: Case) -> None:
    """Labels that are whole numbers are classes of the recipe, and are as many of each as ``class_counts`` says."""
    classes = case.site.num_classes
    for split, source in _sources(_created(case, unconditional=False)):
        labels = class_indices(source.labels(np.arange(min(len(source), AT_ONCE))))
        if labels is None or not classes:
            continue
        low, high = int(labels.min()), int(labels.max())
        assert 0 <= low <= high < classes, f"labels of {split} go from {low} to {high}, and num_classes is {classes}"
        counts = source.class_counts()
        if counts is not None and len(labels) == len(source):
            found = tuple(labels.bincount(minlength=len(counts)).tolist())
            assert found == tuple(counts), f"class_counts of {split} are {tuple(counts)}, and labels are {found}"


@law(
    "Let example_labels() show what labels() gives: the same names, dtype and axes, a row of each; or be None.",
    examples=EXAMPLES,
)
def shows_its_labels(case: Case) -> None:
    """What a dataset says of its labels is what its samples have."""
    dataset = _created(case)
    shown = dataset.example_labels(3)
    if shown is None:
        return
    assert length(checked(shown)) == 3, f"example_labels(3) gives {length(shown)} rows"
    for split, source in _sources(dataset):
        own, read = map(_form, (shown, source.labels(np.array([0]))))
        assert own == read, f"example_labels gives {own} of a sample, and labels of {split} are {read}"


def _form(labels: Labels) -> dict[str, str]:
    named = {"labels": labels} if isinstance(labels, torch.Tensor) else labels
    return {name: f"{each.dtype} {list(each.shape[1:])}" for name, each in sorted(named.items())}


@law(
    "Name a sample by what a user would look for, such as its file: on one line, by no name that another has.",
    examples=EXAMPLES,
)
def names_are_its_own(case: Case) -> None:
    """Every sample has a name of its own, on one line; none is in both splits."""
    known: dict[str, str] = {}
    for split, source in _sources(_created(case)):
        names = list(islice(source.ids(), AT_ONCE))
        told = [source.id(index) for index in range(len(names))]
        assert names == told, "ids() gives other names than id()"
        for name in names:
            lines = name.splitlines() if isinstance(name, str) else []
            assert lines == [name], f"a sample's name is {name!r}, not a line of text"
            assert name not in known, f"{name!r} is the name of a sample of {known[name]} and of another of {split}"
            known[name] = split


@law(
    "Return uint8 [B, height, width, 1 or 3] on the CPU, for each of the latents alone; leave to_images out where"
    " latents are no pictures.",
    examples=EXAMPLES,
)
def images_are_pictures(case: Case) -> None:
    """Latents become pictures of 8 bits, each by itself, and stay as they were."""
    dataset = _created(case)
    if not dataset.makes_images:
        return
    generator = torch.Generator().manual_seed(case.seed)
    latents = torch.randn(3, case.site.channels, *case.size, generator=generator)
    before = latents.clone()
    images = dataset.to_images(latents)
    assert torch.equal(latents, before), "to_images changes its inputs"
    assert images.dtype == torch.uint8, f"to_images returns {images.dtype}, in place of torch.uint8"
    assert images.device.type == "cpu", f"to_images returns pictures on {images.device}, not on the CPU"
    shape = tuple(images.shape)
    fits = len(shape) == 4 and shape[0] == 3 and shape[3] in (1, 3)
    assert fits, f"to_images returns {shape} for 3 latents, in place of (3, height, width, 1 or 3)"
    for index in range(3):
        alone = dataset.to_images(latents[index : index + 1])[0]
        near = (alone.int() - images[index].int()).abs().max() <= 1  # of another order of sums
        assert near, "a picture depends on the latents beside it"


def _created(case: Case, *, unconditional: bool = True) -> Dataset:
    """The dataset; for no classes, where the data has others than were drawn.

    Raises:
        NotRun: it is for no other classes, and is not to be for none.
    """
    dataset: Dataset = case.create()
    try:
        dataset.open()
    except DataError as error:
        without: Dataset = replace(case, site=replace(case.site, num_classes=0)).create()
        next(_sources(without))  # which tells what else is missing
        if not unconditional:
            raise NotRun(f"{error}; check_part(..., supplied={{'num_classes': ...}}) tries it") from None
        return without
    return dataset


def _sources(dataset: Dataset) -> Iterator[tuple[Split, Source]]:
    """The splits that there are.

    Raises:
        DataError: it has not what it needs, which is the author's to give.
    """
    for split in SPLITS:
        try:
            yield split, dataset.open(split)
        except MissingSplitError:
            continue
        except DataError as error:
            raise DataError(
                f"{error}; give the kit what it needs: check_part(..., options=..., supplied=...)"
            ) from error


def _tensors(samples: Samples) -> list[torch.Tensor]:
    return [samples.latents, *tensors_in(samples.labels), *samples.extra.values()]


LAWS: dict[str, tuple[Law[Case], ...]] = {
    "dataset": (
        source_tells_its_data,
        reads_latents,
        labels_are_classes,
        shows_its_labels,
        names_are_its_own,
        images_are_pictures,
    )
}
