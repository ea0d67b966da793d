"""A part that mixes the samples of a batch: the laws that it breaks besides say by which it is told."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

from zoo.kinds import KINDS
from zoo.parts import MLP, Layout, Linear
from zoo.registry import part
from zoo.testing import ASSEMBLY_LAWS, laws_of
from zoo.testing.conclude import Outcome, outcome
from zoo.testing.conformance import checks_of, entries_of
from zoo.testing.mixing import FOLLOW

pytestmark = pytest.mark.usefixtures("drawn_as_ever")


@part("mlp", "mixing")
class Mixing(MLP):
    """By BatchNorm, which takes averages in training, and those that it keeps when it samples."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc, self.norm = Linear(dim, dim), self.make_norm(dim)

    def make_norm(self, dim: int) -> nn.Module:
        return nn.BatchNorm1d(dim)

    def forward(self, tokens: Tensor, layout: Layout) -> Tensor:
        return self.norm(self.fc(tokens).transpose(1, 2)).transpose(1, 2)


@part("mlp", "always_mixing")
class AlwaysMixing(Mixing):
    """By the batch's own averages in either mode."""

    def make_norm(self, dim: int) -> nn.Module:
        return nn.BatchNorm1d(dim, track_running_stats=False)


@part("mlp", "failing")
class Failing(AlwaysMixing):
    """It mixes samples, and fails on one that is NaN."""

    def forward(self, tokens: Tensor, layout: Layout) -> Tensor:
        if tokens.isnan().any():
            raise RuntimeError("no NaN")
        return super().forward(tokens, layout)


def came_of(cls: type, law: str) -> Outcome:
    (check,) = (each for each in checks_of(entries_of([cls]), examples=4) if each.law_name == law)
    return outcome(check, "again")


@pytest.mark.parametrize(
    ("cls", "law", "cause", "found"),
    [
        (AlwaysMixing, "keeps_nan_apart", "batch_invariance", "a sample that is NaN reaches others"),
        (AlwaysMixing, "trains_on_two_ranks", "batch_invariance", "another than one process has"),
        (Mixing, "leaves_its_state", "trains_as_it_samples", "forward changes norm.running_mean"),
        (Mixing, "trains_on_two_ranks", "trains_as_it_samples", "another than one process has"),
    ],
)
def test_what_follows_says_what_was_found_and_by_which_law_it_is_told(cls, law, cause, found):
    came = came_of(cls, law)
    assert (came.state, came.follows, came.likely) == ("broken", cause, True)
    assert found in came.message
    told = f"  likely for the reason for which it breaks {cause}: mend that first, and check again"
    assert came.message.splitlines()[-1] == told


@pytest.mark.parametrize(("cls", "law"), [(AlwaysMixing, "batch_invariance"), (Mixing, "trains_as_it_samples")])
def test_the_law_that_tells_of_it_follows_from_none(cls, law):
    came = came_of(cls, law)
    assert (came.state, came.follows) == ("broken", "")
    assert "likely" not in came.message


def test_what_fails_at_a_line_of_the_part_does_not_follow():
    came = came_of(Failing, "keeps_nan_apart")
    assert (came.state, came.follows) == ("broken", "")
    assert "fails: RuntimeError: no NaN" in came.message


def test_all_that_follow_are_laws():
    known = {law.__name__ for kind in KINDS for law in laws_of(kind)}
    assert known | {f"assembly-{law.__name__}" for law in ASSEMBLY_LAWS} >= set(FOLLOW).union(*FOLLOW.values())
