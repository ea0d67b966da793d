"""What operators are said to compute and to move."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.train.small import small
from zoo.assembly import build
from zoo.audit import audit, held_memory
from zoo.plan.operations import Operation, Recorder, joined_bytes
from zoo.plan.passes import sampling_pass, training_step


def recorded(run: Callable[[], object]) -> list[Operation]:
    with Recorder() as found:
        run()
    return found.operations


def test_a_product() -> None:
    x, layer = torch.zeros(6, 4), nn.Linear(4, 8)
    (found,) = recorded(lambda: layer(x))
    assert (found.kind, found.flops, found.dtype) == ("product", 2 * 6 * 4 * 8, torch.float32)
    assert found.bytes == 4 * (8 + 6 * 4 + 4 * 8 + 6 * 8)


def test_a_backward_pass_has_two_products_for_one() -> None:
    x, layer = torch.zeros(6, 4, requires_grad=True), nn.Linear(4, 8)
    found = recorded(lambda: layer(x).sum().backward())
    assert [each.flops for each in found if each.kind == "product"] == [2 * 6 * 4 * 8] * 3


def test_attention() -> None:
    q, k, v = torch.zeros(1, 2, 5, 8), torch.zeros(1, 2, 7, 8), torch.zeros(1, 2, 7, 8)
    (found,) = recorded(lambda: F.scaled_dot_product_attention(q, k, v))
    assert (found.kind, found.flops, found.tokens) == ("attention", 4 * 2 * 5 * 7 * 8, (5, 7))


def test_a_convolution() -> None:
    x, layer = torch.zeros(2, 3, 8, 8), nn.Conv2d(3, 5, 3, padding=1)
    (found,) = recorded(lambda: layer(x))
    assert (found.kind, found.flops) == ("product", 2 * 2 * 8 * 8 * 5 * 3 * 9)


def test_views_are_no_operators() -> None:
    x = torch.zeros(4, 6)
    assert not recorded(lambda: x.view(2, 12).mT[0].expand(3, 2))


def test_what_is_made_without_values_is_none_either() -> None:
    x = torch.zeros(4, 6)
    assert not recorded(lambda: [torch.empty_like(x), x.new_empty(3), torch.empty(2)])


def test_what_is_expanded_is_read_as_it_is() -> None:
    row, x = torch.zeros(1, 8), torch.zeros(100, 8)
    (found,) = recorded(lambda: x * row.expand(100, 8))
    assert found.bytes == 4 * (800 + 8 + 800)


def test_what_changes_in_place_is_read_and_written() -> None:
    x, y = torch.zeros(10), torch.zeros(10)
    (found,) = recorded(lambda: x.add_(y))
    assert found.bytes == 4 * (10 + 10 + 10)


def test_lists_change_in_place_too() -> None:
    weights = [torch.zeros(10), torch.zeros(5)]
    (found,) = recorded(lambda: torch._foreach_mul_(weights, 0.5))
    assert (found.kind, found.bytes) == ("update", 2 * 4 * 15)


def test_storages_at_one_address_are_told_apart() -> None:
    """Memory that is freed is given out again."""

    def run() -> Tensor:
        x = torch.zeros(1000)
        for _ in range(5):
            x = x + 1
        return x

    written = [number for each in recorded(run) for number in each.written]
    assert len(set(written)) == 6


def test_fake_tensors_tell_the_same() -> None:
    def run() -> None:
        x = torch.ones(4, 8, requires_grad=True)
        weight = torch.ones(16, 8, requires_grad=True)
        F.gelu(F.layer_norm(F.linear(x, weight), (16,))).sum().backward()

    real = recorded(run)
    with FakeTensorMode():
        fake = recorded(run)
    assert [(each.name, each.flops, each.bytes) for each in fake] == [(e.name, e.flops, e.bytes) for e in real]


def test_operators_that_stand_together_move_what_goes_in_and_out() -> None:
    x, y, weight = torch.zeros(10, 10), torch.zeros(10, 10), torch.zeros(10, 10)
    kept = []

    def run() -> None:
        inner = (x + y) * 2 + x  # three operators; x is read once, what is between them not at all
        kept.append(inner)
        kept.append(inner @ weight)

    assert joined_bytes(recorded(run)) == 4 * (100 + 100 + 100)


def test_what_is_read_later_is_written_as_well() -> None:
    x, weight = torch.zeros(10, 10), torch.zeros(10, 10)

    def run() -> Tensor:
        first = x + 1  # goes into the product, and again into the sum after it
        return first @ weight + first

    assert joined_bytes(recorded(run)) == 4 * (100 + 100) + 4 * (100 + 100 + 100)


def test_a_pass_has_the_multiply_adds_of_the_audit() -> None:
    recipe = small()
    report, backbone = audit(recipe), build(recipe, device="meta")
    for stage, expected in enumerate(report.stages):
        found = sampling_pass(backbone, recipe, stage, rows=3)
        assert sum(each.flops for each in found) == 3 * 2 * expected.macs


@pytest.mark.parametrize("counts", [(2, 6), (4, 0)])
def test_a_step_has_three_times_as_many(counts: tuple[int, int]) -> None:
    """But for latents, which need no gradients, and attention, which is computed anew."""
    recipe = small()
    report = audit(recipe)
    passes, update = training_step(build(recipe, device="meta"), recipe, counts)
    macs = sum(count * stage.macs for count, stage in zip(counts, report.stages, strict=True))
    assert sum(each.flops for each in passes) == pytest.approx(6 * macs, rel=0.05)
    assert {each.kind for each in update} == {"update", "other"}
    moments = held_memory(build(recipe, device="meta"), recipe).optimizer
    moved = sum(each.bytes for each in update if each.name == "_fused_adamw_")
    assert moved == pytest.approx(4 * moments, rel=0.01)  # weights and gradients, which it may scale, are as many bytes
