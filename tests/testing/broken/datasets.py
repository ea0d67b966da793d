"""Datasets that break a law of theirs."""

import numpy as np
import torch

from tests.testing.broken import Broken
from zoo.data import Dataset, Samples, Source
from zoo.registry import part
from zoo.testing import dataset_laws


class Numbers(Dataset):
    """Constant latents, and classes in turn: it keeps every law, and those that follow change one thing each."""

    def __init__(self, channels: int, size: tuple[int, ...], num_classes: int) -> None:
        self.shape, self.classes = (channels, *size), max(1, num_classes)

    def open(self, split="train"):
        return self.source(self.shape, self.classes, range(12) if split == "train" else range(12, 16))

    def to_images(self, latents):
        return latents.flatten(2)[:, :1].clamp(0, 1).mul(255).to(torch.uint8).transpose(1, 2)[..., None]


class NumbersSource(Source):
    def __init__(self, shape, classes, numbers):
        self.shape, self.count, self.numbers = shape, classes, np.asarray(numbers)

    def __len__(self):
        return len(self.numbers)

    def read(self, indices, random):
        moved = torch.tensor([each.random() for each in random])
        values = torch.as_tensor(self.numbers[indices]).float() + moved
        return Samples(values.view(-1, *[1] * len(self.shape)).expand(-1, *self.shape).clone(), self.labels(indices))

    def labels(self, indices):
        return torch.as_tensor(self.numbers[indices] % self.count)

    def class_counts(self):
        return tuple(np.bincount(self.numbers % self.count, minlength=self.count).tolist())

    def id(self, index):
        return f"number {self.numbers[index]}"


Numbers.source = NumbersSource


def broken(name: str, *, of_dataset: bool = False, **changed):
    """``Numbers``, of which a method of the source, or of the dataset, is another."""
    members = changed if of_dataset else {"source": type("Changed", (NumbersSource,), changed)}
    return part("dataset", name)(type(name, (Numbers,), {"__module__": __name__, **members}))


def read_of_anything(self, indices, random):
    samples = NumbersSource.read(self, indices, random)
    return Samples(samples.latents + torch.rand(()), samples.labels)


def read_transposed(self, indices, random):
    samples = NumbersSource.read(self, indices, random)
    return Samples(samples.latents.flatten(2), samples.labels)


def read_nan(self, indices, random):
    samples = NumbersSource.read(self, indices, random)
    return Samples(samples.latents / 0 - samples.latents / 0, samples.labels)


def read_in_order(self, indices, random):
    return NumbersSource.read(self, np.sort(indices), random)


def one_more(counts):
    """Of the first class; backwards, they would be right where classes are as many."""
    return (counts[0] + 1, *counts[1:])


BROKEN: list[Broken] = [
    (
        dataset_laws.source_tells_its_data,
        broken("counts_too_few", class_counts=lambda self: (1,)),
        "the samples of all classes are not all samples",
    ),
    (dataset_laws.reads_latents, broken("flattens", read=read_transposed), r"reads latents \(3, .* of train, in place"),
    (dataset_laws.reads_latents, broken("reads_nan", read=read_nan), "reads NaN or infinite values"),
    (dataset_laws.reads_latents, broken("draws_at_large", read=read_of_anything), "another when it is read alone"),
    (dataset_laws.reads_latents, broken("sorts", read=read_in_order), "another when it is read alone"),
    (
        dataset_laws.labels_are_classes,
        broken("from_one", labels=lambda self, indices: NumbersSource.labels(self, indices) + 1),
        r"labels of train go from 1 to \d, and num_classes is \d",
    ),
    (
        dataset_laws.labels_are_classes,
        broken("counts_one_twice", class_counts=lambda self: one_more(NumbersSource.class_counts(self))),
        r"class_counts of (train|held_out) are .*, and labels are",
    ),
    (
        dataset_laws.names_are_its_own,
        broken("numbers_each_split", id=lambda self, index: f"number {index}"),
        "'number 0' is the name of a sample of train and of another of held_out",
    ),
    (
        dataset_laws.names_are_its_own,
        broken("two_lines", id=lambda self, index: f"{index}\n"),
        "not a line of text",
    ),
    (
        dataset_laws.images_are_pictures,
        broken("floats", of_dataset=True, to_images=lambda self, latents: latents),
        "to_images returns torch.float32, in place of torch.uint8",
    ),
    (
        dataset_laws.images_are_pictures,
        broken(
            "stretches",
            of_dataset=True,
            to_images=lambda self, latents: Numbers.to_images(self, latents / latents.abs().max()),
        ),
        "a picture depends on the latents beside it",
    ),
    (
        dataset_laws.shows_its_labels,
        broken("shows_floats", of_dataset=True, example_labels=lambda self, batch: torch.zeros(batch)),
        r"example_labels gives {'labels': 'torch.float32 \[\]'} of a sample, and labels of train are",
    ),
    (
        dataset_laws.shows_its_labels,
        broken("shows_too_few", of_dataset=True, example_labels=lambda self, batch: torch.zeros(1).long()),
        r"example_labels\(3\) gives 1 rows",
    ),
]
