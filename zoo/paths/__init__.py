"""The paths between data and noise: what a noise level means, and what a prediction says about it."""

from zoo.paths.base import AffinePath, Mixture, Prediction
from zoo.paths.builtins import EDMPath, LinearPath, TrigonometricPath, VariancePreservingPath

__all__ = [
    "AffinePath",
    "EDMPath",
    "LinearPath",
    "Mixture",
    "Prediction",
    "TrigonometricPath",
    "VariancePreservingPath",
]
