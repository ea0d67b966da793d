"""Blocks of linear attention, as parts for zoo: DiG's gated one, and those of LiT and SANA.

Importing this package does not import torch, so that ``zoo recipes`` can look inside; DiG's block is in
``zoo_linear.dig``, its attention in ``zoo_linear.gated``, and what LiT and SANA are made of in ``zoo_linear.relu``.
"""
