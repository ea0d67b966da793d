"""A backbone prints what it is in a few lines."""

from torch import nn

from tests.train.small import small
from zoo.assembly import build

LINES = [
    "Backbone small: latent 1 x 8 x 8, 10 classes, width 16, 2 blocks, 2 heads",
    "  noise levels 0.5 to 1: patch 8x8, 1 block > patch 4x4, 1 block",
    "  noise levels 0 to 0.5: patch 4x4, 2 blocks",
    "  patch_embedders    2 x linear                    1,312",
    "  positions          2 x sincos                       80",
    "  time_embedder      sinusoidal                    4,384",
    "  class_conditioner  class_tokens                    352",
    "  stage_embedder     learned                          32",
    "  modulation         adaln_zero                    3,808",
    "  blocks             2 x dit                       6,432",
    "  upsamplers         linear_linear                 1,360",
    "  skips              linear                          272",
    "  heads              linear                          272",
    "  18,304 parameters",
]


def test_its_stages_and_parts():
    backbone = build(small(), device="meta")
    assert repr(backbone).splitlines() == LINES
    assert str(backbone) == repr(backbone)
    assert "(fc1): Linear" in nn.Module.__repr__(backbone)


def test_what_is_not_there_is_left_out():
    backbone = build(small("backbone.patch_schedule={type: uniform, patch: 4}"), device="meta")
    backbone.recipe = None
    text = repr(backbone)
    assert text.startswith("Backbone: latent 1 x 8 x 8, 2 blocks\n  noise levels 0 to 1: patch 4x4, 2 blocks\n")
    assert "upsamplers" not in text


def test_levels_have_their_widths_where_there_are_several():
    levels = "[{patch: 4, blocks: 1}, {patch: 4, blocks: 1, dim: 32}]"
    backbone = build(small(f"backbone.patch_schedule={{type: by_depth, levels: {levels}}}"), device="meta")
    first = repr(backbone).splitlines()[1]
    assert first == "  noise levels 0 to 1: patch 4x4, width 16, 1 block > patch 4x4, width 32, 1 block"
