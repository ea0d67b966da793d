"""Modulations ahead of time."""

import torch

from zoo.flow.modulation_table import ModulationTable, distinct_labels

CPU = torch.device("cpu")


def test_labels_are_told_apart(small):
    labels = torch.tensor([3, 1, 3, 0])
    distinct = distinct_labels(small(), labels, 4, CPU)
    assert distinct.labels.tolist() == [0, 1, 3]
    assert distinct.labels[distinct.of_sample].tolist() == labels.tolist()


def test_one_label_will_do_where_modulations_do_not_depend_on_it(small):
    distinct = distinct_labels(small("backbone.class_conditioner=class_tokens"), torch.tensor([3, 1]), 2, CPU)
    assert distinct.labels.tolist() == [3]
    assert distinct.of_sample.tolist() == [0, 0]


def test_unconditional_backbones_need_no_labels(small):
    distinct = distinct_labels(small("backbone.class_conditioner=none"), None, 3, CPU)
    assert distinct.labels is None
    assert distinct.of_sample.tolist() == [0, 0, 0]


def test_the_cap_is_kept(small):
    backbone, labels = small(), torch.tensor([3, 1, 3, 0])
    levels = [0.9, 0.8, 0.7, 0.6, 0.55]
    one = backbone.modulate(0, torch.tensor([0.9]), labels[:1]).nbytes()
    distinct = distinct_labels(backbone, labels, 4, CPU)
    table = ModulationTable(backbone, 0, levels, distinct, torch.float32, limit=one * 3 * 2 + 1)
    for t in levels:
        rows = table.at(t)
        expected = backbone.modulate(0, torch.full((4,), t), labels)
        assert table.held.nbytes() <= one * 3 * 2
        assert torch.allclose(rows.heads[16][0], expected.heads[16][0], atol=1e-6)
        for own, block in zip(rows.blocks, expected.blocks, strict=True):
            assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(own, block, strict=True))


def test_levels_can_be_asked_for_in_any_order(small):
    backbone, labels = small(), torch.tensor([3, 1])
    table = ModulationTable(backbone, 1, [0.4, 0.2], distinct_labels(backbone, labels, 2, CPU), torch.float32, limit=1)
    first, other, again = (table.at(t).heads[16][0] for t in (0.4, 0.2, 0.4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
