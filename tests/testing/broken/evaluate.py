"""Metrics and features that break a law."""

import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.testing.broken import Broken
from zoo.evaluate.base import Metric
from zoo.evaluate.pca import PCAFeatures
from zoo.registry import part
from zoo.testing import evaluate_laws


@part("metric", "counts")
class Counts(Metric):
    """Tells a whole number."""

    def measure(self, real, generated):
        return {"count": len(generated)}


@part("metric", "divides")
class Divides(Metric):
    """Tells what is infinite for sound features."""

    def measure(self, real, generated):
        return {"ratio": math.inf}


@part("metric", "centres")
class Centres(Metric):
    """Changes the features that it is given."""

    def measure(self, real, generated):
        generated.pooled[:] -= generated.pooled.mean(axis=0)
        return {"mean": 0.0}


@part("metric", "draws")
class Draws(Metric):
    """Tells another figure every time."""

    def measure(self, real, generated):
        return {"random": float(np.random.default_rng().random())}


@part("metric", "seeds_the_process")
class SeedsTheProcess(Metric):
    """Tells the same figure every time, and has all that is drawn afterwards be the same too."""

    def measure(self, real, generated):
        np.random.seed(0)
        return {"random": float(np.random.random())}


@part("metric", "of_the_first")
class OfTheFirst(Metric):
    """Takes the first ten images for all."""

    def measure(self, real, generated):
        return {"mean": float(abs(generated.pooled[:10].mean() - real.pooled.mean()))}


@part("metric", "refuses")
class Refuses(Metric):
    """Multiplies matrices that do not fit, whatever their size: NumPy tells it by a ValueError."""

    def measure(self, real, generated):
        return {"product": float((real.pooled @ generated.pooled).sum())}


@part("metric", "promises_another")
class PromisesAnother(Metric):
    """Of a figure that it does not tell, more is better."""

    more_is_better = ("meen",)

    def measure(self, real, generated):
        return {"mean": 0.0}


@part("metric", "needs_more")
class NeedsMore(Metric):
    """Reads what it does not say that it needs."""

    def measure(self, real, generated):
        return {"sureness": float(generated.probabilities.max(axis=1).sum())}


@part("metric", "looks_for_more")
class LooksForMore(Metric):
    """Tells another figure where there is more to look at."""

    def measure(self, real, generated):
        return {"sum": float((generated.pooled if generated.spatial is None else generated.spatial).sum())}


@part("metric", "counts_on_as_many")
class CountsOnAsMany(Metric):
    """Divides by how many images there are more of one kind."""

    def measure(self, real, generated):
        return {"ratio": math.inf if len(real) != len(generated) else 1.0}


@part("metric", "averages")
class Averages(Metric):
    """Tells a mean, also of nothing."""

    def measure(self, real, generated):
        return {"mean": float(generated.pooled.mean())}


@part("metric", "takes_the_first")
class TakesTheFirst(Metric):
    def measure(self, real, generated):
        return {"first": float(real.pooled[0, 0])}


@part("metric", "wants_many")
class WantsMany(Metric):
    """Tells nothing of a few images."""

    def measure(self, real, generated):
        if len(generated) < 100:
            raise ValueError("100 images or more")
        return {"mean": float(generated.pooled.mean())}


@part("features", "standardises")
class Standardises(PCAFeatures):
    """Looks at the mean of the images that come together."""

    def of(self, images, labels):
        found = super().of(images, labels)
        return replace(found, pooled=found.pooled - found.pooled.mean(axis=0))


@part("features", "drops")
class Drops(PCAFeatures):
    """Forgets an image."""

    def of(self, images, labels):
        found = super().of(images, labels)
        return replace(found, pooled=found.pooled[1:])


@part("features", "takes_grey_for_granted")
class TakesGreyForGranted(PCAFeatures):
    """Reads a channel as an image."""

    def of(self, images, labels):
        n, height, width, channels = images.shape
        found = super().of(images, labels)
        return replace(found, pooled=images.reshape(n * channels, height * width) / 255)


@part("features", "records_a_path")
class RecordsAPath(PCAFeatures):
    def record(self):
        return {"file": Path("features.pt")}


@part("features", "records_a_tuple")
class RecordsATuple(PCAFeatures):
    def record(self):
        return {"size": (16, 16)}


@part("features", "records_what_is_not_finite")
class RecordsNaN(PCAFeatures):
    def record(self):
        return {"accuracy": math.nan}


@part("features", "records_the_time")
class RecordsTheTime(PCAFeatures):
    def record(self):
        return {"trained": time.perf_counter_ns()}


@part("features", "counts_on_labels")
class CountsOnLabels(PCAFeatures):
    """Reads labels that images need not have."""

    def of(self, images, labels):
        found = super().of(images, labels)
        return replace(found, pooled=np.concatenate([found.pooled, labels[:, None]], axis=1))


BROKEN: list[Broken] = [
    (evaluate_laws.figures_are_numbers, SeedsTheProcess, r"a metric seeds numpy\.random, or draws from it"),
    (evaluate_laws.order_changes_nothing, OfTheFirst, "of the same images in another order"),
    (evaluate_laws.figures_are_numbers, Counts, "count is an int, and should be a float"),
    (evaluate_laws.figures_are_numbers, Divides, "ratio is inf for finite features"),
    (evaluate_laws.figures_are_numbers, Centres, "a metric changes its inputs"),
    (evaluate_laws.figures_are_numbers, PromisesAnother, "more_is_better names meen, and the figures are mean"),
    (evaluate_laws.takes_what_it_needs, NeedsMore, "TypeError|AttributeError"),
    (evaluate_laws.takes_what_it_needs, LooksForMore, "other figures without labels, spatial, probabilities, verdicts"),
    (evaluate_laws.takes_what_it_needs, CountsOnAsMany, "ratio is inf for 24 real images and 48 generated"),
    (evaluate_laws.refuses_too_few, Averages, "of 24 real images and 0 generated mean is nan"),
    (evaluate_laws.refuses_too_few, TakesTheFirst, "of 0 real images and 24 generated it fails: IndexError"),
    (evaluate_laws.figures_are_numbers, Refuses, "refuses 2048 images of 3 classes: matmul"),
    (evaluate_laws.figures_are_numbers, Draws, "other figures when asked again"),
    (evaluate_laws.images_stand_alone, Standardises, "pooled depends on the images beside it"),
    (evaluate_laws.images_stand_alone, Drops, "pooled has 23 rows for 24 images"),
    (evaluate_laws.images_stand_alone, TakesGreyForGranted, "pooled has 72 rows for 24 images"),
    (evaluate_laws.record_is_plain, RecordsAPath, "is no plain JSON: .*Path is not JSON serializable"),
    (evaluate_laws.record_is_plain, RecordsATuple, "comes back from JSON as"),
    (evaluate_laws.record_is_plain, RecordsNaN, "is no plain JSON"),
    (evaluate_laws.record_is_plain, RecordsTheTime, "have other records"),
    (evaluate_laws.images_stand_alone, CountsOnLabels, "'NoneType' object is not subscriptable"),
]
