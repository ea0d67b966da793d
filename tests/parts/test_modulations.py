"""What built-in modulations give to blocks and heads, of any number of vectors."""

import pytest
import torch

from zoo.parts.blocks import DiTBlock
from zoo.parts.modulations import AdaLNSingle, AdaLNZero, InContext, NoModulation, SharedAdaLN
from zoo.parts.values import Condition, Layout, tensors_in
from zoo.sites import Slot
from zoo.testing.cases import randomise


def random(part):
    part = part.double()
    randomise(part, 0)
    return part


def slots(depth, vectors=6, dim=8, lends=None):
    """What blocks and a head of one width ask for."""
    return (Slot(dim, dim, vectors, lends),) * depth, {dim: Slot(dim, dim, 2)}


def of(part, time):
    """What a part makes of a condition of one width [B, D]."""
    return part({time.shape[1]: Condition(time)})


class TestModulations:
    def test_shared_is_the_same_for_all_and_the_head(self):
        part = random(SharedAdaLN(*slots(3, lends=(3, 4))))
        modulations = of(part, torch.randn(2, 8, dtype=torch.float64))
        assert modulations.blocks[0] is modulations.blocks[2]
        assert modulations.heads[8] == modulations.blocks[0][3:5]

    def test_shared_lends_what_the_first_block_of_the_width_says(self):
        blocks = (Slot(8, 8, 6), Slot(12, 12, 4, (1, 0)), Slot(8, 8, 4, (2, 3)), Slot(8, 8, 6, (3, 4)))
        part = random(SharedAdaLN(blocks, {8: Slot(8, 8, 2)}))
        modulations = part({width: Condition(torch.randn(2, width, dtype=torch.float64)) for width in (8, 12)})
        assert modulations.heads[8] == modulations.blocks[2][2:]
        assert modulations.blocks[0] is modulations.blocks[3]

    def test_shared_has_weights_for_every_number_of_vectors(self):
        blocks, heads = slots(2)
        part = random(SharedAdaLN((*blocks, Slot(8, 8, 3), Slot(8, 8, 0)), heads))
        modulations = of(part, torch.randn(2, 8, dtype=torch.float64))
        assert [len(each) for each in modulations.blocks] == [6, 6, 3, 0]
        assert modulations.blocks[0] is modulations.blocks[1]
        assert not torch.equal(modulations.blocks[0][0], modulations.blocks[2][0])

    def test_a_head_with_nobody_to_borrow_from_has_its_own(self):
        part = random(SharedAdaLN(*slots(2)))  # six vectors, of which nobody says what they are
        assert part.head.weight.shape == (16, 8)
        assert len(of(part, torch.randn(2, 8, dtype=torch.float64)).heads[8]) == 2

    def test_adaln_zero_differs_by_block(self):
        modulations = of(random(AdaLNZero(*slots(2))), torch.randn(2, 8, dtype=torch.float64))
        assert not torch.equal(modulations.blocks[0][5], modulations.blocks[1][5])

    def test_vectors_that_are_made_when_asked_for_are_found_as_in_a_list(self):
        """By authors whose modulation changes what this one gives."""
        blocks = of(random(AdaLNZero(*slots(3))), torch.randn(2, 8, dtype=torch.float64)).blocks
        made = list(blocks)
        assert blocks[-1] is made[2]
        assert [id(each) for each in blocks[1:]] == [id(each) for each in made[1:]]
        for beyond in (3, -4):
            with pytest.raises(IndexError):
                blocks[beyond]

    def test_single_is_shared_plus_a_table(self):
        part = random(AdaLNSingle(*slots(2)))
        condition = torch.randn(2, 8, dtype=torch.float64)
        first, second = of(part, condition).blocks
        difference = (part.tables[1] - part.tables[0]).view(6, 8)
        assert torch.allclose(second[0] - first[0], difference[0].expand(2, -1))
        assert torch.allclose(second[5] - first[5], difference[5].expand(2, -1))
        assert torch.allclose(of(part, condition).heads[8][0], condition + part.head_table[0])

    def test_single_adds_its_head_to_a_condition_of_the_same_width(self):
        with pytest.raises(ValueError, match="whose width is 8, and the head's is 16; take"):
            AdaLNSingle(slots(2)[0], {16: Slot(8, 16, 2)})

    @pytest.mark.parametrize("kind", [AdaLNZero, SharedAdaLN, AdaLNSingle])
    @pytest.mark.parametrize("vectors", [0, 3, 6, 8])
    def test_blocks_get_as_many_vectors_of_their_width_as_they_ask_for(self, kind, vectors):
        blocks = (Slot(8, 8, vectors), Slot(12, 12, 6), Slot(8, 8, vectors))
        part = random(kind(blocks, {12: Slot(12, 12, 2), 8: Slot(8, 8, 0)}))
        conditions = {dim: Condition(torch.randn(2, dim, dtype=torch.float64)) for dim in (8, 12)}
        modulations = part(conditions)
        for slot, own in zip(blocks, modulations.blocks, strict=True):
            assert [tuple(each.shape) for each in own] == [(2, slot.dim)] * slot.vectors
        assert [len(modulations.heads[dim]) for dim in (8, 12)] == [0, 2]

    @pytest.mark.parametrize("kind", [NoModulation, InContext])
    def test_no_vectors_for_blocks_that_take_none(self, kind):
        blocks, heads = slots(3, vectors=0)
        part = kind(blocks, heads) if kind is NoModulation else kind(blocks, heads, (8,), has_label=True)
        time, label, stage = torch.randn(3, 2, 8)
        modulations = part({8: Condition(time, label, stage)})
        assert modulations.blocks == [()] * 3
        assert modulations.heads == {8: ()}
        assert not list(part.parameters())

    @pytest.mark.parametrize("stage", [None, torch.ones(2, 8)])
    @pytest.mark.parametrize("label", [None, torch.ones(2, 8) * 2])
    def test_in_context_puts_label_and_noise_level_in_front(self, label, stage):
        part = InContext((Slot(8, 8, 0),), {}, (8,), has_label=label is not None)
        time = torch.randn(2, 8)
        tokens = part({8: Condition(time, label, stage)}).tokens[8]
        assert tokens.shape == (2, part.tokens, 8)
        assert torch.equal(tokens[:, -1], time if stage is None else time + stage)
        if label is not None:
            assert torch.equal(tokens[:, 0], label)

    def test_a_condition_is_the_sum_of_what_is_there(self):
        time, label, stage = torch.randn(3, 2, 8)
        assert torch.equal(Condition(time).sum, time)
        assert torch.equal(Condition(time, None, stage).sum, time + stage)
        assert torch.equal(Condition(time, label, stage).sum, time + label + stage)

    @pytest.mark.parametrize("kind", [AdaLNZero, SharedAdaLN, AdaLNSingle])
    def test_blocks_start_as_the_identity(self, kind):
        block, modulation = DiTBlock(16, 2), kind(*slots(1, dim=16))
        tokens = torch.randn(2, 6, 16)
        layout = Layout(m=0, grid=(2, 3), patch=(2, 2))
        (vectors,) = of(modulation, torch.randn(2, 16)).blocks
        assert torch.equal(block.forward_stage(tokens, vectors, layout), tokens)

    @pytest.mark.parametrize("kind", [AdaLNZero, SharedAdaLN, AdaLNSingle])
    def test_rows(self, kind):
        part, condition = random(kind(*slots(2))), torch.randn(3, 8, dtype=torch.float64)
        index = torch.tensor([2, 0, 2, 1])
        rows, expected = of(part, condition).rows(index), of(part, condition[index])
        assert len(rows.blocks) == 2
        for values, wanted in zip(tensors_in(rows), tensors_in(expected), strict=True):
            assert torch.allclose(values, wanted, atol=1e-12)

    @pytest.mark.parametrize("kind", [AdaLNZero, SharedAdaLN, AdaLNSingle])
    def test_split(self, kind):
        part, condition = random(kind(*slots(2))), torch.randn(3, 8, dtype=torch.float64)
        for piece, own in zip(of(part, condition).split([2, 1]), condition.split([2, 1]), strict=True):
            for values, wanted in zip(tensors_in(piece), tensors_in(of(part, own)), strict=True):
                assert torch.allclose(values, wanted, atol=1e-12)

    def test_rows_keep_shared_what_is_shared(self):
        modulations = of(random(SharedAdaLN(*slots(3, lends=(3, 4)))), torch.randn(2, 8, dtype=torch.float64))
        rows = modulations.rows(torch.tensor([1, 1, 0]))
        assert rows.blocks[0][3] is rows.blocks[2][3] is rows.heads[8][0]
        assert modulations.nbytes() == 2 * 6 * 8 * 8  # samples, tensors, width, bytes
        assert rows.nbytes() == 3 * 6 * 8 * 8
        first, _ = modulations.split([1, 1])
        assert first.blocks[0][3] is first.blocks[2][3] is first.heads[8][0]
