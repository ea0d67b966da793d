"""Pyramidal Flow's stages and path, as parts for zoo.

Importing this package does not import torch, so that ``zoo recipes`` can look inside.
"""
