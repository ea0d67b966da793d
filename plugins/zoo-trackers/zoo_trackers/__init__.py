"""Weights & Biases and MLflow as callbacks for zoo.

Importing this package imports neither torch nor a tracker's library.
"""
