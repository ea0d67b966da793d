"""How DiC and DiCo start: what is zero, and within which bounds all else is."""

import pytest
import torch

import zoo


@pytest.fixture(scope="module")
def fresh(registry, shipped):
    """Builds one with five narrow blocks; its weights by name, the backbone itself first."""

    def built(name):
        levels = "[{patch: 1, blocks: 2}, {patch: 2, blocks: 1, dim: 32}, {patch: 1, blocks: 2}]"
        small = (f"backbone.patch_schedule.levels={levels}", "backbone.dim=16", "backbone.depth=5")
        torch.manual_seed(0)
        backbone = zoo.build(shipped(name, *small), registry=registry)
        return backbone, {name: each.detach() for name, each in backbone.named_parameters()}

    return built


def uniform(weight, fans):
    """Whether it is evenly drawn within the bound of xavier for such fans; all weights here have a hundred numbers."""
    bound = (6 / fans) ** 0.5
    return 0.9 * bound < weight.abs().max() <= bound and weight.std() == pytest.approx(bound / 3**0.5, rel=0.15)


def zeros(weights):
    """The weights, not biases, that start at zero."""
    return {name for name, each in weights.items() if not name.endswith("bias") and not each.any()}


HEAD = {"modulation.head.weight", "heads.1x1.proj.weight"}


@pytest.mark.parametrize("name", ["dic_s", "dico_s"])
def test_biases_are_zero_and_so_is_the_output(name, fresh):
    backbone, weights = fresh(name)
    assert not any(each.any() for name, each in weights.items() if name.endswith("bias"))
    velocity = backbone(torch.randn(2, *backbone.latent), torch.tensor([0.1, 0.9]), torch.tensor([0, 1]))
    assert not velocity.any()
    for name in ("time_embedder.16.layers.0.weight", "class_conditioner.32.embedding.weight"):
        assert weights[name].std() == pytest.approx(0.02, rel=0.1)


def test_of_dic_the_head_alone_is_zero(fresh):
    _, weights = fresh("dic_s")
    assert zeros(weights) == HEAD
    assert uniform(weights["modulation.blocks.0.weight"], 16 + 3 * 16)
    assert uniform(weights["blocks.0.conv1.weight"], 9 * (16 + 16))
    assert uniform(weights["blocks.3.conv1.weight"], 9 * (32 + 16))  # takes a skip
    assert uniform(weights["patch_embedders.1x1.proj.weight"], 9 * (4 + 16))
    assert all(weights[f"blocks.0.{norm}.weight"].eq(1).all() for norm in ("norm1", "norm2"))


def test_fresh_blocks_of_dico_let_tokens_pass(fresh):
    _, weights = fresh("dico_s")
    assert zeros(weights) == HEAD | {f"modulation.blocks.{index}.weight" for index in range(5)}
    assert uniform(weights["blocks.0.depthwise.weight"], 9 + 9 * 16)
    assert uniform(weights["blocks.0.conv1.weight"], 16 + 16)
    assert uniform(weights["patch_embedders.1x1.proj.weight"], 9 * 4 + 16)  # flat
