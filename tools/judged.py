"""Figures of sets of images beside real ones, without a run."""

from collections.abc import Mapping, Sequence

from zoo.evaluate import Features, Images, Metric
from zoo.evaluate.judging import Judge, features_of


def judge_sets(
    features: Features, metrics: Sequence[Metric], real: Images, sets: Mapping[str, Images]
) -> dict[str, dict[str, float]]:
    """Figures by set and by name; the features are fitted to the real images."""
    features.fit(real)
    judge = Judge(features, metrics, features_of(features, real))
    return {name: judge.figures(features_of(features, each))[0] for name, each in sets.items()}
