"""Random assemblies keep the laws, and every law catches what breaks it."""

import pytest
import torch
from torch import nn

from zoo.backbone import Backbone
from zoo.parts.blocks import DiTBlock
from zoo.parts.class_conditioners import EmbeddingConditioner
from zoo.parts.heads import LinearHead
from zoo.parts.time_embedders import SinusoidalTimeEmbedder
from zoo.plugins import Plugin
from zoo.registry import Registry, part
from zoo.testing import ASSEMBLY_LAWS, assemblies, check_assemblies


@pytest.mark.parametrize("law", ASSEMBLY_LAWS, ids=lambda law: law.__name__)
def test_random_assemblies_keep_the_law(registry, law):
    check_assemblies(registry, laws=[law], examples=40)


@part("block", "attends_across_the_batch")
class AttendsAcrossTheBatch(DiTBlock):
    """What a wrong mask over packed images does: each sees a little of the others."""

    def forward(self, tokens, modulation, layout):
        return super().forward(tokens + 0.01 * tokens.mean(dim=0, keepdim=True), modulation, layout)


@part("head", "single_precision")
class SinglePrecisionHead(LinearHead):
    def forward(self, tokens, modulation):
        return super().forward(tokens, modulation).float()


@part("class_conditioner", "detached")
class DetachedConditioner(EmbeddingConditioner):
    def forward(self, labels):
        condition = super().forward(labels)
        return type(condition)(vector=condition.vector.detach())


@part("time_embedder", "hidden_state")
class HiddenState(SinusoidalTimeEmbedder):
    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.shift = float(torch.rand((), device="cpu"))

    def forward(self, t):
        return super().forward(t) + self.shift


SHARED = nn.Parameter(torch.zeros(1))


@part("time_embedder", "shared")
class Shared(SinusoidalTimeEmbedder):
    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.shift = SHARED


@pytest.mark.usefixtures("no_shrinking")
@pytest.mark.parametrize(
    ("law", "broken"),
    [
        (assemblies.sample_is_alone, AttendsAcrossTheBatch),
        (assemblies.keeps_dtype_and_shape, SinglePrecisionHead),
        (assemblies.gradient_reaches_all, DetachedConditioner),
        (assemblies.state_round_trip, HiddenState),
        (assemblies.builds_share_nothing, Shared),
    ],
    ids=lambda value: value.__name__,
)
def test_law_catches_a_broken_part(law, broken):
    registry = Registry()

    class Broken:
        @staticmethod
        def zoo_parts():
            return [broken]

    registry.register(_implements(Broken), Plugin("broken", "0"))
    kind, name = broken.__zoo_part__
    with pytest.raises(AssertionError):
        check_assemblies(registry, laws=[law], examples=10, **{kind: name})


@pytest.mark.usefixtures("no_shrinking")
@pytest.mark.parametrize(
    ("law", "method", "wrong"),
    [
        (assemblies.follows_its_stages, "stage_of", lambda self, t: torch.zeros(len(t), dtype=torch.long)),
        (assemblies.takes_modulation, "modulate", lambda self, stage, t, labels: Backbone._modulate(
            self, 0, t * 0.5, self.class_conditioner(labels))),
    ],
)  # fmt: skip
def test_law_catches_a_broken_backbone(registry, monkeypatch, law, method, wrong):
    monkeypatch.setattr(Backbone, method, wrong)
    with pytest.raises(AssertionError):
        check_assemblies(registry, laws=[law], examples=20)


def _implements(plugin):
    from zoo import hookimpl

    plugin.zoo_parts = staticmethod(hookimpl(plugin.zoo_parts))
    return plugin
