from functools import partial

import pytest
import torch

import zoo
from zoo.parts import Rotary, rotate
from zoo.parts.positions import SinCosPosition
from zoo.parts.rope import AxialRotary

HEAD_DIM = 12


def angles(grid, stride=None, **options) -> Rotary:
    return AxialRotary(2 * HEAD_DIM, 2, grid, stride or (1.0,) * len(grid), **options)().rotary


def turn(x: torch.Tensor, rotary: Rotary, m: int) -> torch.Tensor:
    """Of one head."""
    return rotate(x.unsqueeze(1), rotary, m).squeeze(1)


def products(rotary: Rotary, grid: tuple[int, ...]) -> torch.Tensor:
    """Dot products [row, column, row, column] of one query and one key, each put on every token of the grid."""
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 1, HEAD_DIM, dtype=torch.float64).expand(-1, 1, len(rotary.cos), -1)
    return (turn(query, rotary, 0) @ turn(key, rotary, 0).mT).reshape(*grid, *grid)


def test_tables_have_a_row_for_every_token():
    rotary = angles((3, 5))
    assert rotary.cos.shape == rotary.sin.shape == (15, HEAD_DIM)
    torch.testing.assert_close(rotary.cos**2 + rotary.sin**2, torch.ones(15, HEAD_DIM))


def test_a_table_may_be_added_too():
    table = partial(SinCosPosition, grid=(3, 5), stride=(1.0, 1.0))
    both = AxialRotary(2 * HEAD_DIM, 2, (3, 5), (1.0, 1.0), add=table)()
    assert torch.equal(both.add, table(2 * HEAD_DIM)().add)
    assert torch.equal(both.rotary.cos, angles((3, 5)).cos)
    backbone = zoo.build("dit_s", {"backbone.position": {"type": "rope", "add": "sincos"}}, device="meta")
    position = backbone.positions["2x2"]()
    assert position.add.shape == (256, 384)
    assert position.rotary.cos.shape == (256, 64)


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
def test_tokens_in_front_are_not_turned(m):
    x = torch.randn(2, 3, m + 6, HEAD_DIM)
    turned = rotate(x, angles((2, 3)), m)
    assert torch.equal(turned[..., : m + 1, :], x[..., : m + 1, :])  # the first image token is at the origin
    assert not torch.isclose(turned[..., m + 1 :, :], x[..., m + 1 :, :]).all(dim=-1).any()


def test_finest_coordinates_agree_between_patches():
    fine = angles((4, 9), coordinates="finest").cos.reshape(4, 9, HEAD_DIM)
    coarse = angles((2, 3), stride=(2.0, 3.0), coordinates="finest").cos.reshape(2, 3, HEAD_DIM)
    assert torch.equal(coarse, fine[::2, ::3])
    assert torch.equal(angles((2, 3), stride=(2.0, 3.0)).cos, angles((2, 3)).cos)


def test_theta_slows_all_but_the_first_pair():
    slow, fast = angles((2, 1), theta=1e6).sin[1], angles((2, 1), theta=10.0).sin[1]
    assert torch.equal(slow[:2], fast[:2])
    assert (slow[2 : HEAD_DIM // 2] < fast[2 : HEAD_DIM // 2]).all()


@pytest.mark.parametrize("grid", [(7,), (3, 4), (2, 3, 4)])
def test_pairs_are_split_evenly_over_the_axes(grid):
    own = angles(grid)
    cos, sin = (each.reshape(*grid, HEAD_DIM) for each in own)
    for axis, (cosines, sines) in enumerate(zip(cos.chunk(len(grid), -1), sin.chunk(len(grid), -1), strict=True)):
        first = cosines.select(axis, 0)
        assert torch.equal(first, torch.ones_like(first))  # the origin of its own axis
        along = sines.movedim(axis, 0).reshape(grid[axis], -1, sines.shape[-1])
        assert torch.equal(along, along[:, :1].expand_as(along))  # wherever on the others
        torch.testing.assert_close(along[:, 0, 0], torch.arange(grid[axis]).float().sin())  # one radian a token


@pytest.mark.parametrize("grid", [(5,), (3, 3, 3)])
def test_products_on_other_axes_than_two_depend_on_the_offset_alone(grid):
    by_place = products(angles(grid), grid)
    here = by_place[(slice(None, -1),) * 2 * len(grid)]
    torch.testing.assert_close(here, by_place[(slice(1, None),) * 2 * len(grid)], atol=1e-5, rtol=0)


def test_angles_of_other_tokens_in_every_sample():
    x, rotary = torch.randn(2, 3, 1 + 4, HEAD_DIM), angles((2, 3))
    index = torch.tensor([[0, 1, 2, 5], [5, 3, 1, 0]])
    turned = rotate(x, Rotary(rotary.cos[index], rotary.sin[index]), 1)
    for sample, own in enumerate(index):
        alone = rotate(x[sample : sample + 1], Rotary(rotary.cos[own], rotary.sin[own]), 1)
        assert torch.equal(turned[sample : sample + 1], alone)


@pytest.mark.parametrize(
    ("dim", "heads", "axes"), [(24, 4, 2), (10, 1, 2), (16, 3, 2), (15, 3, 1), (24, 3, 3), (16, 2, 3)]
)
def test_a_head_width_without_pairs_for_every_axis_is_refused(dim, heads, axes):
    with pytest.raises(ValueError, match=rf"must divide by {2 * axes} .* {dim} / {heads} ="):
        AxialRotary(dim, heads, (2,) * axes, (1.0,) * axes)


def test_tables_move_with_the_module_and_are_part_of_its_state():
    rope = AxialRotary(8, 2, (2, 2), (1.0, 1.0)).to(torch.float64)
    assert rope().rotary.cos.dtype == torch.float64
    assert set(rope.state_dict()) == {"cos", "sin"}
    assert not list(rope.parameters())
