"""REPA for zoo: tokens of a block are aligned with features that a frozen encoder has of the clean picture.

Importing this package does not import torch, so that ``zoo recipes`` can look inside.
"""
