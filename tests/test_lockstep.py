"""The samples of all stages go through the blocks together, and each gets what it would get alone."""

import pytest
import torch

from zoo.assembly import build, load_recipe
from zoo.lockstep import Piece
from zoo.recipe.find import package_recipes
from zoo.testing.cases import randomise

RECIPES = sorted(path.stem for path in package_recipes().glob("*.yaml"))
PRECISION = 1e-12


def shrunken(name):
    """A recipe with two blocks a level, on a latent in which its largest patch has a few tokens."""
    schedule = load_recipe(name).resolved()["backbone"]["patch_schedule"]
    levels = [stage["levels"] for stage in schedule.get("stages", [schedule]) if "levels" in stage]
    for level in (level for several in levels for level in several):
        level["blocks"] = 2
    return {
        "backbone.dim": 24,
        "backbone.heads": 2,
        "backbone.num_classes": 3,
        "backbone.depth": max((2 * len(several) for several in levels), default=2),
        "backbone.patch_schedule": schedule,
        "backbone.latent": {"channels": 3, "height": 16, "width": 16},
        "data.normalize": "none",
    }


def built(name):
    backbone = build(name, shrunken(name), dtype=torch.float64)
    randomise(backbone, 0, std=0.3)
    return backbone


def pieces_of(backbone):
    """Three samples of the noisiest stage, one of every other, and two more of the noisiest."""
    generator = torch.Generator().manual_seed(1)

    def piece(stage, count):
        latents = torch.randn(count, *backbone.latent_of(stage), generator=generator, dtype=torch.float64)
        t = torch.rand(count, generator=generator, dtype=torch.float64)
        return Piece(stage, latents, t, backbone.conditioner.example_labels(count))

    return [piece(0, 3), *(piece(stage, 1) for stage in range(1, len(backbone.stages))), piece(0, 2)]


def gradients(backbone, velocities):
    backbone.zero_grad()
    weigh = torch.Generator().manual_seed(2)
    loss = sum((each * torch.randn(each.shape, generator=weigh, dtype=each.dtype)).sum() for each in velocities)
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in backbone.named_parameters()}


def off(one, other):
    """By how much, of the largest of them."""
    return ((one - other).abs().max() / other.abs().max().clamp(min=1e-30)).item()


@pytest.mark.parametrize("name", RECIPES)
def test_lockstep_is_stage_by_stage(name):
    backbone = built(name)
    pieces = pieces_of(backbone)
    together = backbone.forward_stages(pieces)
    alone = [backbone.forward_stages([piece])[0] for piece in pieces]
    assert max(map(off, together, alone)) < PRECISION
    expected = gradients(backbone, alone)
    largest = max(gradient.abs().max() for gradient in expected.values())
    for parameter, gradient in gradients(backbone, together).items():
        assert (gradient - expected[parameter]).abs().max() < PRECISION * largest, parameter


@pytest.mark.parametrize("name", ["hybrid_b", "ppflow_b_3"])
def test_every_block_is_called_once_a_pass(name):
    """With the groups of all stages, in their order."""
    backbone, calls = built(name), []
    for index, block in enumerate(backbone.blocks):
        block.register_forward_pre_hook(
            lambda _, inputs, index=index: calls.append((index, [len(group.tokens) for group in inputs[0]]))
        )
    t = torch.tensor([0.05, 0.95, 0.99, 0.02, 0.03], dtype=torch.float64)
    backbone(torch.zeros(5, *backbone.latent, dtype=torch.float64), t, torch.arange(5) % 3)
    assert calls == [(index, [2, 3]) for index in range(len(backbone.blocks))]


def test_condition_labels_and_modulation_run_once_a_pass(monkeypatch):
    backbone = built("hybrid_b")
    calls = []
    for name in ("time_embedder", "class_conditioner", "modulation"):
        getattr(backbone, name).register_forward_hook(lambda module, *_, name=name: calls.append(name))
    backbone.forward_stages(pieces_of(backbone))
    assert sorted(calls) == ["class_conditioner", "modulation", "time_embedder"]


def test_a_block_that_lets_stages_see_each_other_is_caught(monkeypatch):
    """The comparison is no empty one."""
    backbone = built("hybrid_b")
    kind = type(backbone.blocks[0])
    forward = kind.forward
    monkeypatch.setattr(
        kind, "forward", lambda self, groups: [each + 1e-9 * (len(groups) - 1) for each in forward(self, groups)]
    )
    pieces = pieces_of(backbone)
    alone = [backbone.forward_stages([piece])[0] for piece in pieces]
    assert max(map(off, backbone.forward_stages(pieces), alone)) > PRECISION


def test_forward_is_lockstep_in_the_order_of_the_batch():
    backbone = built("hybrid_b")
    latents = torch.randn(4, *backbone.latent, dtype=torch.float64)
    t = torch.tensor([0.1, 0.9, 0.2, 0.8], dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3])
    noisy, clean = torch.tensor([1, 3]), torch.tensor([0, 2])
    pieces = [Piece(stage, latents[own], t[own], labels[own]) for stage, own in enumerate((noisy, clean))]
    expected = backbone.forward_stages(pieces)
    velocity = backbone(latents, t, labels)
    assert torch.equal(velocity[noisy], expected[0])
    assert torch.equal(velocity[clean], expected[1])
