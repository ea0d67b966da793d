"""LightningDiT's block and axial rotary positions, as parts for zoo.

Importing this package does not import torch, so that ``zoo recipes`` can look inside; the parts are in
``zoo_lightning.parts``.
"""
