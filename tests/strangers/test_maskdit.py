"""MaskDiT's two widths: blocks on the visible tokens, and on all again behind a change of width."""

import torch
from hypothesis import strategies as st

from tests.shapes import backbone_of, level, recipe_of
from tests.strangers.maskdit import MaskTokens
from zoo.audit import audit
from zoo.testing import check_part
from zoo.testing.asserts import assert_gradients

WIDTH, NARROW, TOKENS = 24, 16, 32
ENCODER, DECODER = 2, 3
GIVEN = {
    "condition": "shared",
    "class_conditioner": "embedding",
    "router": {"type": "mask_tokens", "stop": ENCODER, "dim": NARROW},
    "parts": [MaskTokens],
}
LEVELS = [level(2, ENCODER), level(2, DECODER, NARROW)]


def velocity(backbone, scores):
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(3, *backbone.latent, generator=generator, dtype=torch.float64)
    t = torch.rand(3, generator=generator, dtype=torch.float64)
    return backbone(latents, t, backbone.conditioner.example_labels(3), scores)


def test_its_router_keeps_the_laws():
    options = st.fixed_dictionaries({"stop": st.just(1), "dim": st.just(NARROW), "share": st.floats(0.1, 0.9)})
    check_part(MaskTokens, options=options, supplied={"dim": NARROW}, examples=8)


def test_the_decoder_gets_a_learned_token_where_the_encoder_saw_none():
    backbone, seen = backbone_of(LEVELS, position="none", **GIVEN), {}
    (down,) = backbone.downsamplers.values()
    down.register_forward_pre_hook(lambda _, given: seen.update(down=given[0]))
    for index, block in enumerate(backbone.blocks):
        block.register_forward_pre_hook(lambda _, given, index=index: seen.update({index: given[0][0]}))
    scores = torch.rand(3, TOKENS)
    velocity(backbone, scores)
    assert seen["down"].shape == (3, TOKENS // 2, WIDTH)
    assert [each.tokens.shape[1:] for each in map(seen.get, range(ENCODER))] == [(TOKENS // 2, WIDTH)] * ENCODER
    decoded = seen[ENCODER].tokens
    hidden = scores < scores.median(dim=1, keepdim=True).values.nextafter(torch.tensor(1.0))
    mask = backbone.router.mask
    assert decoded.shape == (3, TOKENS, NARROW)
    assert hidden.sum() == 3 * TOKENS // 2
    assert (decoded[hidden] == mask).all()
    assert torch.equal(decoded[~hidden], down(seen["down"], 0, (4, 8))[0].flatten(0, 1))


def test_training_costs_what_the_encoder_saves_on_hidden_tokens_and_sampling_all():
    def block(tokens):
        return 12 * tokens * WIDTH**2 + 2 * tokens**2 * WIDTH

    (stage,) = audit(recipe_of(LEVELS, **GIVEN)).stages
    saved = ENCODER * (block(TOKENS) - block(TOKENS // 2)) + TOKENS // 2 * WIDTH * NARROW
    assert stage.macs - stage.training_macs == saved


def test_a_step_reaches_every_parameter_and_sampling_hides_nothing():
    backbone = backbone_of(LEVELS, **GIVEN)
    before = velocity(backbone, None).detach()
    velocity(backbone, torch.rand(3, TOKENS)).square().mean().backward()
    assert_gradients(backbone)
    with torch.no_grad():
        backbone.router.mask.add_(1.0)
    assert torch.equal(velocity(backbone, None), before)
