"""A recipe that leaves out what has a default."""

BASE = """\
backbone:
  latent: {channels: 4, height: 8, width: 8}
  num_classes: 10
  dim: 32
  depth: 2
  heads: 2
  patch_schedule: {type: uniform, patch: 2}
"""
