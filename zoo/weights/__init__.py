"""Weights: zoo's own files, published checkpoints in and out, and surgery from one backbone to another."""

from zoo.weights.adapting import adapt
from zoo.weights.class_rows import are_the_donors, class_rows
from zoo.weights.conversion import Converted, from_published, to_published, with_clock_of, write_published
from zoo.weights.files import (
    read_weights,
    recorded_classes,
    recorded_recipe,
    refuse_existing,
    write_initialised,
    write_weights,
)
from zoo.weights.foreign import read_checkpoint
from zoo.weights.inflation import inflate, initialise_rest
from zoo.weights.published import Entry, Tensors, Turn, WeightFormat
from zoo.weights.saving import save
from zoo.weights.state import (
    Weights,
    Which,
    filled,
    initialised,
    refuse_misfits,
    refuse_non_finite,
    refuse_other_backbone,
)

__all__ = [
    "Converted",
    "Entry",
    "Tensors",
    "Turn",
    "WeightFormat",
    "Weights",
    "Which",
    "adapt",
    "are_the_donors",
    "class_rows",
    "filled",
    "from_published",
    "inflate",
    "initialise_rest",
    "initialised",
    "read_checkpoint",
    "read_weights",
    "recorded_classes",
    "recorded_recipe",
    "refuse_existing",
    "refuse_misfits",
    "refuse_non_finite",
    "refuse_other_backbone",
    "save",
    "to_published",
    "with_clock_of",
    "write_initialised",
    "write_published",
    "write_weights",
]
