"""Learned positions; what all positions keep is in the conformance kit."""

import pytest
import torch

import zoo
from zoo.parts.positions import LearnedPosition


def test_a_learned_table_has_a_row_for_every_token():
    torch.manual_seed(0)
    position = LearnedPosition(256, (2, 3, 4), 5)()
    assert position.add.shape == (24, 256)
    assert position.add.std().item() == pytest.approx(0.02, rel=0.05)
    assert position.prefix is None


@pytest.mark.parametrize("m", [0, 3])
def test_tokens_in_front_have_a_table_where_there_are_any(m):
    position = LearnedPosition(8, (2, 2), m, prefix=True)
    assert [name for name, _ in position.named_parameters()] == ["table", *["prefix"] * (m > 0)]
    assert position().prefix is None or position().prefix.shape == (m, 8)


def test_the_table_for_those_in_front_belongs_to_where_they_come_in():
    backbone = zoo.build(
        {
            "backbone": {
                "latent": {"channels": 1, "height": 4, "width": 8},
                "num_classes": 2,
                "dim": 8,
                "depth": 3,
                "heads": 1,
                "class_conditioner": {"type": "class_tokens", "tokens": 2},
                "position": {"type": "learned", "prefix": True},
                "patch_schedule": {
                    "type": "by_depth",
                    "levels": [
                        {"patch": 2, "blocks": 1},
                        {"patch": 1, "blocks": 1},
                        {"patch": 1, "blocks": 1, "dim": 16},
                    ],
                },
            }
        }
    )
    shapes = {name: tuple(each.shape) for name, each in backbone.positions.named_parameters()}
    assert shapes == {
        "2x2.table": (8, 8),
        "2x2.prefix": (2, 8),
        "1x1_8.table": (32, 8),
        "1x1_16.table": (32, 16),
        "1x1_16.prefix": (2, 16),
    }
