import pytest
import torch

from zoo.parts.base import Rotary
from zoo_lightning.rope import AxialRotary, turn

HEAD_DIM = 12


def angles(grid, patch=(2, 2), finest=(2, 2), **options) -> Rotary:
    return AxialRotary(2 * HEAD_DIM, 2, grid, patch, finest, **options)().rotary


def products(rotary: Rotary, grid: tuple[int, int]) -> torch.Tensor:
    """Dot products [row, column, row, column] of one query and one key, each put on every token of the grid."""
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, HEAD_DIM, dtype=torch.float64).expand(-1, len(rotary.cos), -1)
    return (turn(query, rotary, 0) @ turn(key, rotary, 0).mT).reshape(*grid, *grid)


def test_tables_have_a_row_for_every_token():
    rotary = angles((3, 5))
    assert rotary.cos.shape == rotary.sin.shape == (15, HEAD_DIM)
    torch.testing.assert_close(rotary.cos**2 + rotary.sin**2, torch.ones(15, HEAD_DIM))


def test_first_half_turns_by_row_and_second_by_column():
    cos = angles((3, 5)).cos.reshape(3, 5, HEAD_DIM)
    rows, columns = cos.split(HEAD_DIM // 2, dim=-1)
    assert torch.equal(rows, rows[:, :1].expand_as(rows))
    assert torch.equal(columns, columns[:1].expand_as(columns))
    assert not torch.equal(cos[0, 1], cos[1, 0])


def test_products_depend_on_the_offset_alone():
    by_place = products(angles((4, 5)), (4, 5))
    torch.testing.assert_close(by_place[:3, :4, :3, :4], by_place[1:, 1:, 1:, 1:], atol=1e-5, rtol=0)
    assert not torch.allclose(by_place[0, 0, 0, 1], by_place[0, 0, 1, 0])


def test_a_table_that_is_added_breaks_that_law():
    wrong = angles((4, 5))
    by_place = products(Rotary(wrong.sin, wrong.sin), (4, 5))
    assert not torch.allclose(by_place[:3, :4, :3, :4], by_place[1:, 1:, 1:, 1:], atol=1e-5)


def test_turning_keeps_lengths():
    x = torch.randn(2, 6, HEAD_DIM)
    torch.testing.assert_close(turn(x, angles((2, 3)), 0).norm(dim=-1), x.norm(dim=-1))


@pytest.mark.parametrize("m", [0, 1, 4])
def test_class_tokens_are_not_turned(m):
    x = torch.randn(2, 3, m + 6, HEAD_DIM)
    turned = turn(x, angles((2, 3)), m)
    assert torch.equal(turned[..., : m + 1, :], x[..., : m + 1, :])  # the first image token is at the origin
    assert not torch.isclose(turned[..., m + 1 :, :], x[..., m + 1 :, :]).all(dim=-1).any()


def test_finest_coordinates_agree_between_patches():
    fine = angles((4, 9), patch=(2, 1), finest=(2, 1), coordinates="finest").cos.reshape(4, 9, HEAD_DIM)
    coarse = angles((2, 3), patch=(4, 3), finest=(2, 1), coordinates="finest").cos.reshape(2, 3, HEAD_DIM)
    assert torch.equal(coarse, fine[::2, ::3])
    assert torch.equal(angles((2, 3), patch=(4, 3), finest=(2, 1)).cos, angles((2, 3)).cos)


def test_theta_slows_all_but_the_first_pair():
    slow, fast = angles((2, 1), theta=1e6).sin[1], angles((2, 1), theta=10.0).sin[1]
    assert torch.equal(slow[:2], fast[:2])
    assert (slow[2 : HEAD_DIM // 2] < fast[2 : HEAD_DIM // 2]).all()


@pytest.mark.parametrize(("dim", "heads"), [(24, 4), (10, 1), (16, 3)])
def test_a_head_width_that_does_not_divide_by_four_is_refused(dim, heads):
    with pytest.raises(ValueError, match=rf"must divide by 4 .* {dim} / {heads} ="):
        AxialRotary(dim, heads, (2, 2), (2, 2), (2, 2))


def test_tables_move_with_the_module_and_are_part_of_its_state():
    rope = AxialRotary(8, 2, (2, 2), (2, 2), (2, 2)).to(torch.float64)
    assert rope().rotary.cos.dtype == torch.float64
    assert set(rope.state_dict()) == {"cos", "sin"}
    assert not list(rope.parameters())
