"""Class conditioners: labels in, a condition out."""

from __future__ import annotations

from typing import Any

import torch

from zoo.parts.facts import facts_of
from zoo.parts.values import tensors_in
from zoo.testing.cases import BATCH, Case, Random, Shape
from zoo.testing.law import Law, law


def inputs(case: Case, batch: int, random: Random, device: str) -> tuple[Any, ...]:
    """The part's own examples."""
    part: Any = case.build(device="meta")
    return (part.example_labels(batch, device=device),)


def shapes(case: Case, part: Any, batch: int) -> list[Shape]:
    """What the part says that it gives: a vector, tokens, a context with its mask."""
    condition = part(*case.inputs(batch))
    gives = facts_of(part).gives
    found: list[Shape] = [(batch, case.dim)] if "label" in gives else []
    found += [(batch, part.class_tokens, case.dim)] if part.class_tokens else []
    if "context" in gives:
        length = condition.context.shape[1]
        found += [(batch, length, case.dim)] + [(batch, length)] * (condition.context_mask is not None)
    return found


@law(
    "Set gives, in the constructor where options decide, to what forward() returns: label, prefix or context; "
    "and class_tokens to their number."
)
def says_what_it_gives(case: Case) -> None:
    """``gives`` names what ``forward`` returns, and no more."""
    part: Any = case.build()
    own = part(*case.inputs(BATCH))
    given = {"label": own.vector, "prefix": own.tokens, "context": own.context}
    found = {fact for fact, value in given.items() if value is not None}
    gives = facts_of(part).gives
    assert found == gives, f"gives is {sorted(gives)}, and forward returns {sorted(found)}"
    m = 0 if own.tokens is None else own.tokens.shape[1]
    assert m == part.class_tokens, f"class_tokens is {part.class_tokens}, and forward returns {m}"


@law(
    "Let null() return labels of the same shape and dtype that forward() gives another condition for; "
    "uses_labels tells whether there is any."
)
def null_is_a_label(case: Case) -> None:
    """``null`` keeps shape and dtype, and forward takes it; ``uses_labels`` says whether labels matter."""
    part: Any = case.build()
    labels = part.example_labels(BATCH)
    null = part.null(labels)
    for given, absent in zip(tensors_in(labels), tensors_in(null), strict=True):
        assert absent.shape == given.shape, "null has another shape than the labels"
        assert absent.dtype == given.dtype, "null has another dtype than the labels"
    part.check_labels(null, BATCH)
    own, nulls = part(labels), part(null)
    says = bool(tensors_in(own))
    assert says == part.uses_labels, f"uses_labels is {part.uses_labels}, and a label gives {own}"
    for given, absent in ((own.vector, nulls.vector), (own.tokens, nulls.tokens), (own.context, nulls.context)):
        assert (given is None) == (absent is None), "null gives another kind of condition"
        if given is not None:
            assert not torch.equal(given, absent), "null cannot be told from a label"


@law("Leave at least one token of every context visible in context_mask (True: there), that of null too.")
def context_is_somewhere(case: Case) -> None:
    """Every row of the context's mask is True somewhere, that of the null condition too, or attention gives NaN."""
    part: Any = case.build()
    labels = part.example_labels(BATCH)
    for each, of in ((labels, "a label"), (part.null(labels), "null")):
        mask = part(each).context_mask
        assert mask is None or mask.any(dim=1).all(), f"the context of {of} is nowhere there: its mask is False"


LAWS: dict[str, tuple[Law[Case], ...]] = {
    "class_conditioner": (says_what_it_gives, null_is_a_label, context_is_somewhere)
}
