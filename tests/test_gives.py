"""What a part gives is what it says, with what the parts inside it say."""

import pytest
import torch
from hypothesis import strategies as st

from tests.assembly.test_crossings import FREE, WIDER, Plain
from tests.shapes import backbone_of, level, problems_of, run
from tests.strangers.cross import PARTS as CROSS
from tests.strangers.cross import Captions
from zoo.flow.modulation_table import distinct_labels
from zoo.parts import ClassConditioner
from zoo.parts.class_conditioners import ClassTokenConditioner, EmbeddingConditioner
from zoo.parts.modulations import AdaLNZero
from zoo.registry import part
from zoo.testing import check_part


@part("class_conditioner", "wraps")
class Wraps(ClassConditioner):
    """Leaves it to the conditioner inside it to say what it gives."""

    def __init__(self, dim: int, num_classes: int, *, within: str = "vector", tokens: int = 0) -> None:
        super().__init__()
        inside = {"vector": EmbeddingConditioner, "tokens": ClassTokenConditioner, "context": Captions}
        self.within = inside[within](dim, num_classes)
        self.class_tokens = tokens

    def forward(self, labels):
        return self.within(labels)

    def null(self, labels):
        return self.within.null(labels)

    def example_labels(self, batch, device=None):
        return self.within.example_labels(batch, device)

    def check_labels(self, labels, batch):
        self.within.check_labels(labels, batch)


def wrapped(**options):
    return {"parts": [Wraps, Plain, *CROSS], "class_conditioner": {"type": "wraps", **options}}


def test_a_conditioner_gives_what_the_part_inside_it_does():
    vector, tokens = (
        backbone_of([level(2)], **wrapped(**options)) for options in ({}, {"within": "tokens", "tokens": 16})
    )
    assert (run(vector).shape, vector.prefixes) == ((3, 3, 8, 16), {24: 0})
    assert (run(tokens).shape, tokens.prefixes) == ((3, 3, 8, 16), {24: 16})
    labels = torch.tensor([3, 1, 3])
    counts = [len(distinct_labels(each, labels, 3, torch.device("cpu")).labels) for each in (vector, tokens)]
    assert counts == [2, 1]


def test_a_modulation_is_told_of_a_label_that_comes_from_inside():
    backbone = backbone_of([level(2)], block="plain", modulation="in_context", **FREE, **wrapped())
    assert run(backbone).shape == (3, 3, 8, 16)
    assert backbone.prefixes == {24: 2}


def test_a_context_from_inside_that_nothing_at_its_width_attends_to():
    runs = [{"type": "cross", "blocks": 1}, {"type": "dit", "blocks": 1}]
    (problem,) = problems_of(WIDER, block=runs, **wrapped(within="context"))
    assert "gives a context of width 48 that no block attends to" in problem


def test_the_kit_hears_it_too():
    check_part(Wraps, options=st.sampled_from([{}, {"within": "tokens", "tokens": 16}]), examples=5)


@pytest.mark.parametrize(("within", "tokens", "gives"), [("vector", 2, "label"), ("tokens", 0, "prefix")])
def test_a_conditioner_gives_tokens_exactly_where_it_has_some(within, tokens, gives):
    (problem,) = problems_of([level(2)], **wrapped(within=within, tokens=tokens))
    assert problem.endswith(
        f"has class_tokens = {tokens}, and gives {gives}; let it give 'prefix' where it has tokens, and only there"
    )


def test_a_modulation_gives_tokens_exactly_where_it_has_some():
    mine = part("modulation", "mine")(type("Mine", (AdaLNZero,), {"tokens": 1}))
    (problem,) = problems_of([level(2)], modulation="mine", parts=[mine])
    assert "has tokens = 1, and gives vectors; let it give 'prefix'" in problem
