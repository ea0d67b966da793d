"""Token routing for zoo: MaskDiT's encoder and decoder, and SPRINT's fusion, as parts; TREAD's router is zoo's own.

Importing this package does not import torch, so that ``zoo recipes`` can look inside.
"""
