"""Class conditioners: labels in, a condition out."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import torch

from zoo.errors import first_line
from zoo.labels import Labels, drop, map_labels, rows
from zoo.parts.class_conditioners import IndexConditioner
from zoo.parts.facts import facts_of
from zoo.parts.values import tensors_in
from zoo.testing.asserts import bytes_of
from zoo.testing.cases import BATCH, FEW, Case, Random, Shape
from zoo.testing.generators import seeded
from zoo.testing.law import Law, law


def inputs(case: Case, batch: int, random: Random, device: str) -> tuple[Any, ...]:
    """The part's own examples, the last of several dropped: null, as in training; where the part is, as its tables."""
    part: Any = case.build(device=device)
    labels = part.example_labels(batch, device=device)
    last = torch.arange(batch, device=device) == max(1, batch - 1)
    return (drop(labels, part.null(labels), last),)


def _examples(case: Case, part: Any, device: str | None = None) -> Any:
    """The part's own, which it may draw."""
    with seeded(case.seed):
        return part.example_labels(BATCH, device=device)


def shapes(case: Case, part: Any, batch: int) -> list[Shape]:
    """Of what it returns, a vector, tokens, a context and its mask; a law of their own tells whether it says so."""
    own = part(*case.inputs(batch))
    found: list[Shape] = [] if own.vector is None else [(batch, case.dim)]
    for tokens, mask in ((own.tokens, None), (own.context, own.context_mask)):
        if tokens is not None:
            found.append((batch, tokens.shape[1], case.dim))
            found += [(batch, tokens.shape[1])] * (mask is not None)
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
    "Let null() return labels of the same shape, dtype and device, which forward() gives another condition than any "
    "label has; uses_labels tells whether there is any."
)
def null_is_a_label(case: Case) -> None:
    """``null`` keeps shape, dtype and device, and forward takes it; ``uses_labels`` says whether labels matter."""
    part: Any = case.build()
    labels = _examples(case, part)
    null = part.null(labels)
    for given, absent in zip(tensors_in(labels), tensors_in(null), strict=True):
        assert absent.shape == given.shape, "null has another shape than the labels"
        assert absent.dtype == given.dtype, "null has another dtype than the labels"
    for absent in tensors_in(part.null(_examples(case, part, device="meta"))):
        assert absent.device.type == "meta", "null is on another device than the labels"
    part.check_labels(null, BATCH)
    own, nulls = part(labels), part(null)
    says = bool(tensors_in(own))
    assert says == part.uses_labels, f"uses_labels is {part.uses_labels}, and a label gives {own}"
    kinds = ((own.vector, nulls.vector), (own.tokens, nulls.tokens), (own.context, nulls.context))
    assert all((one is None) == (none is None) for one, none in kinds), "null gives another kind of condition"
    alike = torch.full((BATCH,), says)  # in all that it says, of which some may be the same whatever the label is
    for one, none in (*kinds, (own.context_mask, nulls.context_mask)):
        if one is not None and none is not None:
            alike &= one.shape == none.shape and (one == none).flatten(1).all(dim=1)
    pairs = zip(tensors_in(labels), tensors_in(null), strict=True)
    same = torch.stack([(one == none).reshape(BATCH, -1).all(dim=1) for one, none in pairs]).all(dim=0)
    of_itself = ": example_labels gives null itself" if (alike & same).any() else ""
    assert not alike.any(), f"null cannot be told from a label{of_itself}"


@law(
    "Raise a ValueError in check_labels that says what was expected and what came, where forward would fail, or take "
    "it for something else: None, another number of samples, other names, a tensor for a mapping."
)
def refuses_other_labels(case: Case) -> None:
    """``check_labels`` takes the part's own examples, and refuses none, too few of them, and those of other parts."""
    part: Any = case.build()
    if not part.uses_labels:  # which takes any
        return
    labels = _examples(case, part)
    part.check_labels(labels, BATCH)
    named = labels if isinstance(labels, Mapping) else {"labels": labels}
    others: dict[str, tuple[Any, int]] = {
        "None": (None, BATCH),
        f"labels of {BATCH} samples for {BATCH + 1}": (labels, BATCH + 1),
        "a mapping of other names": ({f"other_{name}": each for name, each in named.items()}, BATCH),
        "a tensor of four axes": (torch.zeros(BATCH, 7, 7, 7), BATCH),
    }
    for told, given in others.items():
        try:
            part.check_labels(*given)
        except ValueError:
            continue
        except Exception as error:
            fault = f"{type(error).__name__}: {first_line(error)}"
            raise AssertionError(f"check_labels fails on {told}: {fault}") from error
        raise AssertionError(f"check_labels takes {told}")


@law(
    "Let drop_some() drop each label by its own scores, of which drops says the number, keep shape, dtype and names, "
    "and change nothing in place."
)
def drops_by_scores(case: Case) -> None:
    """``drop_some`` gives labels that ``check_labels`` takes, is a function of label and scores, and draws nothing."""
    part: Any = case.build()
    labels = _examples(case, part)
    before = map_labels(torch.clone, labels)
    scores = torch.rand(BATCH, part.drops, generator=torch.Generator().manual_seed(case.seed))
    with seeded(case.seed) as drawn:
        dropped = part.drop_some(labels, scores)
        names = drawn()
    assert not names, f"drop_some draws from {' and '.join(names)}"
    assert _bytes(labels) == _bytes(before), "drop_some changes the labels that it is given"
    assert _forms(dropped) == _forms(labels), "drop_some gives labels of another shape, dtype or name"
    part.check_labels(dropped, BATCH)
    for row in range(BATCH):
        own = slice(row, row + 1)
        alone = part.drop_some(rows(labels, own), scores[own])
        assert _bytes(alone) == _bytes(rows(dropped, own)), "drop_some drops otherwise of a sample alone"


def _bytes(labels: Labels) -> list[bytes]:
    return [bytes_of(each) for each in tensors_in(labels)]


def _forms(labels: Labels) -> list[Any]:
    named = labels if isinstance(labels, Mapping) else {"": labels}
    return sorted((name, str(each.dtype), tuple(each.shape)) for name, each in named.items())


@law("Leave at least one token of every context visible in context_mask (True: there), that of null too.")
def context_is_somewhere(case: Case) -> None:
    """Every row of the context's mask is True somewhere, that of the null condition too, or attention gives NaN."""
    part: Any = case.build()
    labels = _examples(case, part)
    for each, of in ((labels, "a label"), (part.null(labels), "null")):
        mask = part(each).context_mask
        assert mask is None or mask.any(dim=1).all(), f"the context of {of} is nowhere there: its mask is False"


@law(
    "Look for an index of a table that several classes share; a part that joins classes on purpose need not keep it.",
    examples=FEW,
    required=False,
)
def tells_classes_apart(case: Case) -> None:
    """A conditioner of class indices gives every class a condition of its own."""
    part: Any = case.build()
    if not (isinstance(part, IndexConditioner) and part.uses_labels):
        return
    labels = torch.arange(case.site.num_classes)
    conditions = torch.cat([each.double().flatten(1) for each in tensors_in(part(labels))], dim=1)
    for one, other in combinations(labels.tolist(), 2):
        assert not conditions[one].equal(conditions[other]), f"classes {one} and {other} have one condition"


LAWS: dict[str, tuple[Law[Case], ...]] = {
    "class_conditioner": (
        says_what_it_gives,
        null_is_a_label,
        refuses_other_labels,
        drops_by_scores,
        context_is_somewhere,
        tells_classes_apart,
    )
}
