"""LightningDiT's block, as a part for zoo.

Importing this package does not import torch, so that ``zoo recipes`` can look inside; the part is in
``zoo_lightning.block``.
"""
