"""What left a patch on the way down: who gets it on the way up, and where it is not there."""

import pytest
import torch
from torch import nn

from tests.shapes import backbone_of, level, problems_of, run
from zoo.parts.base import Skip
from zoo.parts.skips import KeptAddSkip
from zoo.parts.upsamplers import LinearUpsampler
from zoo.registry import part

HOURGLASS = [level(2), level(4), level(2)]
FINER = [level(4), level(2)]


@part("skip", "fed")
class Fed(Skip):
    """Says what it is fed with, and no more."""

    feeds = "kept"

    def __init__(self) -> None:
        super().__init__()

    def forward(self, image, other):
        return image + other


@part("upsampler", "may")
class May(LinearUpsampler):
    """Takes what was kept where there is any."""

    uses = frozenset({"kept"})

    def __init__(self, dim: int, next_dim: int, kept_dim: int | None, patch, next_patch) -> None:
        super().__init__(dim, next_dim, patch, next_patch)
        self.beside = None if kept_dim is None else nn.Linear(kept_dim, next_dim)

    def forward(self, tokens, m, grid, kept=None):
        assert (kept is None) == (self.beside is None)
        tokens, grid = super().forward(tokens, m, grid)
        if kept is None:
            return tokens, grid
        return torch.cat([tokens[:, :m], tokens[:, m:] + self.beside(kept)], dim=1), grid


@part("upsampler", "may_be_told")
class MayBeTold(LinearUpsampler):
    """Says it when it is built."""

    def __init__(self, dim: int, next_dim: int, patch, next_patch, *, fact: str = "uses") -> None:
        super().__init__(dim, next_dim, patch, next_patch)
        setattr(self, fact, {"kept"})
        self.seen = []

    def forward(self, tokens, m, grid, kept=None):
        self.seen.append(kept)
        return super().forward(tokens, m, grid)


@part("upsampler", "asks")
class Asks(LinearUpsampler):
    """Asks for the width of what was kept, and says by options what it is to it."""

    def __init__(
        self,
        dim: int,
        next_dim: int,
        kept_dim: int | None,
        patch,
        next_patch,
        *,
        fact: str = "uses",
        fails: bool = False,
    ) -> None:
        super().__init__(dim, next_dim, patch, next_patch)
        self.fact = fact
        if fails:
            nn.Linear(kept_dim, next_dim)

    needs = property(lambda self: {"kept"} if self.fact == "needs" else set())
    uses = property(lambda self: {"kept"} if self.fact == "uses" else set())

    def forward(self, tokens, m, grid, kept=None):
        return super().forward(tokens, m, grid)


@part("skip", "fed_by_option")
class FedByOption(Skip):
    """Says by an option what it is fed with, and asks for its width either way."""

    def __init__(self, next_dim: int, kept_dim: int | None, *, feed: str = "latents") -> None:
        super().__init__()
        self.feeds = feed

    def forward(self, image, other):
        return image + other


def test_a_skip_that_is_fed_with_what_was_kept_needs_it():
    assert not KeptAddSkip.needs
    run(backbone_of(HOURGLASS, skip="fed", parts=[Fed]))
    assert problems_of(FINER, skip="fed", parts=[Fed]) == [
        "backbone.skip: fed: needs what left patch 2 on the way down, and stage 0 comes to 2 without having been there"
    ]


@pytest.mark.parametrize("skip", ["none", "kept_add"])
def test_an_upsampler_gets_what_it_uses_where_it_is_there(skip):
    backbone = backbone_of(HOURGLASS, upsampler="may", skip=skip, parts=[May])
    assert backbone.upsamplers["4x4_to_2x2"].beside.in_features == 24
    seen = []
    backbone.downsamplers["2x2_to_4x4"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][:, 2:]))
    backbone.upsamplers["4x4_to_2x2"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[3]))
    run(backbone)
    assert torch.equal(*seen)


@pytest.mark.parametrize(
    "stages",
    [
        [{"noise_above": 0.0, "levels": FINER}],
        [{"noise_above": 0.5, "levels": [level(4, 2), level(2)]}, {"noise_above": 0.0, "levels": HOURGLASS}],
    ],
)
def test_an_upsampler_is_built_without_what_not_every_stage_has(stages):
    backbone = backbone_of(stages=stages, upsampler="may", skip="none", parts=[May])
    assert [up.beside for up in backbone.upsamplers.values()] == [None]
    for stage in range(len(stages)):
        assert run(backbone, stage=stage).isfinite().all()  # and May has asserted that it was given nothing


@pytest.mark.parametrize("fact", ["uses", "needs"])
def test_what_a_constructor_says_is_heard(fact):
    upsampler = {"type": "may_be_told", "fact": fact}
    backbone = backbone_of(HOURGLASS, upsampler=upsampler, skip="none", parts=[MayBeTold])
    run(backbone)
    (kept,) = backbone.upsamplers["4x4_to_2x2"].seen
    assert kept.shape == (3, 32, 24)
    given = {"upsampler": upsampler, "skip": "none", "parts": [MayBeTold]}
    assert len(problems_of(FINER, **given)) == (fact == "needs")


@pytest.mark.parametrize(
    ("option", "refused"), [({}, 0), ({"fact": "nothing"}, 0), ({"fact": "needs"}, 1), ({"fails": True}, 1)]
)
def test_what_a_property_says_is_heard_and_a_constructor_may_ask_for_the_width(option, refused):
    given = {"upsampler": {"type": "asks", **option}, "skip": "none", "parts": [Asks]}
    assert [problem.partition(": needs ")[0] for problem in problems_of(FINER, **given)] == [
        "backbone.upsampler: asks"
    ] * refused
    run(backbone_of(HOURGLASS, **given))


@pytest.mark.parametrize("feed", ["latents", "kept"])
def test_a_skip_may_ask_for_the_width_and_be_fed_with_latents(feed):
    given = {"skip": {"type": "fed_by_option", "feed": feed}, "parts": [FedByOption]}
    assert len(problems_of(FINER, **given)) == (feed == "kept")
