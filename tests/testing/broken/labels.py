"""Class conditioners that break a law of theirs."""

import torch
from torch import nn

from tests.testing.broken import Broken
from zoo.parts import ClassCondition, ClassConditioner, IndexConditioner
from zoo.parts.class_conditioners import ClassTokenConditioner, EmbeddingConditioner, NoConditioner
from zoo.registry import part
from zoo.testing.of_kind import class_conditioner


@part("class_conditioner", "null_is_class_0")
class NullIsClass0(IndexConditioner):
    gives = frozenset({"label"})

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__(num_classes)
        self.embedding = nn.Embedding(num_classes + 1, dim)

    def forward(self, labels):
        return ClassCondition(vector=self.embedding(labels))

    def null(self, labels):
        return labels


@part("class_conditioner", "null_is_the_last_class")
class NullIsTheLastClass(EmbeddingConditioner):
    """Told from the labels of a batch, but for those of one class."""

    def null(self, labels):
        return torch.full_like(labels, self.num_classes - 1)


@part("class_conditioner", "with_registers")
class WithRegisters(EmbeddingConditioner):
    """Right: beside the vector of the class, tokens in front that are the same for all, null too."""

    gives = frozenset({"label", "prefix"})
    class_tokens = 2

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__(dim, num_classes)
        self.registers = nn.Embedding(self.class_tokens, dim)

    def forward(self, labels):
        tokens = self.registers.weight.expand(len(labels), -1, -1)
        return ClassCondition(vector=super().forward(labels).vector, tokens=tokens)


@part("class_conditioner", "registers_without_a_null")
class RegistersWithoutANull(WithRegisters):
    def null(self, labels):
        return torch.full_like(labels, self.num_classes - 1)


@part("class_conditioner", "text")
class TextConditioner(ClassConditioner):
    """Right: the embedding of a text, and that of the empty one in a table of its own as null."""

    gives = frozenset({"label"})

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(4, dim)
        self.register_buffer("empty", torch.empty(4))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.empty, -1.0)

    def forward(self, labels):
        return ClassCondition(vector=self.proj(labels.to(self.proj.weight.dtype)))

    def null(self, labels):
        return self.empty.to(labels).expand_as(labels)

    def example_labels(self, batch, device=None):
        return torch.ones(batch, 4, device=device)

    def check_labels(self, labels, batch):
        if getattr(labels, "dtype", None) != torch.float32 or labels.shape != (batch, 4):
            raise ValueError(f"labels: must be embeddings [{batch}, 4] in one tensor of float32")


@part("class_conditioner", "learned_unknown")
class LearnedUnknown(TextConditioner):
    """Right: what is not known has a weight of its own, which learns by dropped labels alone."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.unknown = nn.Embedding(1, dim)

    def forward(self, labels):
        known = (labels >= 0).all(dim=1, keepdim=True)
        return ClassCondition(vector=super().forward(labels).vector.where(known, self.unknown.weight))


@part("class_conditioner", "null_of_its_table")
class NullOfItsTable(TextConditioner):
    """Wherever the part is, and in its dtype."""

    def null(self, labels):
        return self.empty.expand_as(labels)


@part("class_conditioner", "example_is_null")
class ExampleIsNull(TextConditioner):
    def example_labels(self, batch, device=None):
        return self.null(super().example_labels(batch, device))


@part("class_conditioner", "null_on_the_cpu")
class NullOnTheCPU(EmbeddingConditioner):
    def null(self, labels):
        return torch.full(labels.shape, self.num_classes)


@part("class_conditioner", "silent")
class Silent(NoConditioner):
    uses_labels = True


@part("class_conditioner", "keeps_its_vector_quiet")
class KeepsItsVectorQuiet(EmbeddingConditioner):
    gives = frozenset()


@part("class_conditioner", "promises_a_context")
class PromisesAContext(EmbeddingConditioner):
    gives = frozenset({"label", "context"})


@part("class_conditioner", "miscounts_its_tokens")
class MiscountsItsTokens(ClassTokenConditioner):
    def forward(self, labels):
        return ClassCondition(tokens=super().forward(labels).tokens.repeat(1, 2, 1))


@part("class_conditioner", "nothing_to_attend_to")
class NothingToAttendTo(IndexConditioner):
    """Masks all of the null condition's context, of which attention makes NaN."""

    gives = frozenset({"context"})

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__(num_classes)
        self.embedding = nn.Embedding(num_classes + 1, 2 * dim)

    def forward(self, labels):
        context = self.embedding(labels).unflatten(1, (2, -1))
        there = (labels < self.num_classes).unsqueeze(1).expand(-1, 2)
        return ClassCondition(context=context, context_mask=there)


@part("class_conditioner", "checks_nothing")
class ChecksNothing(EmbeddingConditioner):
    def check_labels(self, labels, batch):
        """Takes all."""


@part("class_conditioner", "checks_the_range_alone")
class ChecksTheRangeAlone(EmbeddingConditioner):
    def check_labels(self, labels, batch):
        if labels.max() > self.num_classes:
            raise ValueError("out of range")


@part("class_conditioner", "two_to_a_row")
class TwoToARow(EmbeddingConditioner):
    """Two classes read one row of the table."""

    def forward(self, labels):
        return super().forward(torch.where(labels < self.num_classes, labels - labels % 2, labels))


class DropsText(TextConditioner):
    """Right: drops numbers of an embedding; those that follow change this."""

    drops = 4

    def drop_some(self, labels, scores):
        return labels.masked_fill(scores < 0.5, -1.0)


@part("class_conditioner", "drops_at_random")
class DropsAtRandom(DropsText):
    def drop_some(self, labels, scores):
        return super().drop_some(labels, torch.rand_like(labels))


@part("class_conditioner", "drops_in_place")
class DropsInPlace(DropsText):
    def drop_some(self, labels, scores):
        return labels.copy_(super().drop_some(labels, scores))


@part("class_conditioner", "drops_axes")
class DropsAxes(DropsText):
    def drop_some(self, labels, scores):
        return super().drop_some(labels, scores)[:, :3]


@part("class_conditioner", "drops_by_others")
class DropsByOthers(DropsText):
    def drop_some(self, labels, scores):
        return super().drop_some(labels, (scores - scores.mean()).abs())


BROKEN: list[Broken] = [
    (class_conditioner.drops_by_scores, DropsAtRandom, "drop_some draws from torch's global generator"),
    (class_conditioner.drops_by_scores, DropsInPlace, "drop_some changes the labels"),
    (class_conditioner.drops_by_scores, DropsAxes, "drop_some gives labels of another shape"),
    (class_conditioner.drops_by_scores, DropsByOthers, "drop_some drops otherwise of a sample alone"),
    (class_conditioner.refuses_other_labels, ChecksNothing, "check_labels takes None"),
    (class_conditioner.refuses_other_labels, ChecksTheRangeAlone, "check_labels fails on None: AttributeError"),
    (class_conditioner.null_is_a_label, NullIsClass0, "null cannot be told from a label"),
    (class_conditioner.null_is_a_label, NullIsTheLastClass, "null cannot be told from a label"),
    (class_conditioner.null_is_a_label, RegistersWithoutANull, "null cannot be told from a label"),
    (class_conditioner.null_is_a_label, ExampleIsNull, "told from a label: example_labels gives null itself"),
    (class_conditioner.null_is_a_label, NullOfItsTable, "null has another dtype than the labels"),
    (class_conditioner.null_is_a_label, NullOnTheCPU, "null is on another device than the labels"),
    (class_conditioner.null_is_a_label, Silent, "uses_labels is True, and a label gives"),
    (class_conditioner.says_what_it_gives, KeepsItsVectorQuiet, r"gives is \[\], and forward returns \['label'\]"),
    (class_conditioner.says_what_it_gives, PromisesAContext, r"gives is \['context', 'label'\], and forward returns"),
    (class_conditioner.says_what_it_gives, MiscountsItsTokens, r"class_tokens is \d+, and forward returns \d+"),
    (class_conditioner.context_is_somewhere, NothingToAttendTo, "the context of null is nowhere there"),
    (class_conditioner.tells_classes_apart, TwoToARow, "classes 0 and 1 have one condition"),
]
