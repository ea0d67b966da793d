"""Judging what comes out: features of images, and metrics that compare them with real ones."""

from __future__ import annotations

from zoo.evaluate.base import Features, FeatureSet, Images, ImageSet, Metric
from zoo.evaluate.by_class import Accuracy, Diversity, Novelty
from zoo.evaluate.digits import DigitsFeatures
from zoo.evaluate.frechet import FID, SpatialFID
from zoo.evaluate.inception import InceptionFeatures
from zoo.evaluate.inception_score import InceptionScore
from zoo.evaluate.mmd import CMMD, KID
from zoo.evaluate.network_file import open_network, prepared
from zoo.evaluate.pca import PCAFeatures
from zoo.evaluate.precision_recall import PrecisionRecall
from zoo.evaluate.torchscript import TorchScriptFeatures
from zoo.hookspecs import hookimpl

__all__ = ["FeatureSet", "Features", "ImageSet", "Images", "Metric", "open_network", "prepared", "zoo_parts"]


@hookimpl
def zoo_parts() -> list[type]:
    """The built-in features and metrics."""
    features = [PCAFeatures, DigitsFeatures, InceptionFeatures, TorchScriptFeatures]
    beside_classes = [Accuracy, Diversity, Novelty]
    return [*features, FID, SpatialFID, KID, CMMD, InceptionScore, PrecisionRecall, *beside_classes]
