"""What a backbone refuses to take, and in which words."""

import pytest
import torch

from tests.shapes import backbone_of, level
from zoo.lockstep import Piece

GIVEN = {
    "latents": torch.zeros(2, 3, 8, 16, dtype=torch.float64),
    "t": torch.tensor([0.9, 0.1], dtype=torch.float64),
    "labels": torch.tensor([0, 1]),
}
STAGES = [
    {"noise_above": 0.5, "levels": [level(4, 2), level(2)]},
    {"noise_above": 0.0, "levels": [level(2, 2), level(1)]},
]
ROUTE = {"type": "tread", "first": 0, "stop": 2}


@pytest.fixture(scope="module")
def plain():
    return backbone_of([level(4)])


@pytest.fixture(scope="module")
def routed():
    """Its router sees 2 x 4 tokens of a sample."""
    return backbone_of([level(4, 2)], router=ROUTE)


@pytest.fixture(scope="module")
def staged():
    """Its router sees 2 x 4 tokens of a noisy sample, and 4 x 8 of a clean one."""
    return backbone_of(stages=STAGES, router=ROUTE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latents": torch.zeros(2, 3, 16, 8)}, r"latents: must have shape \[B, 3, 8, 16\].*got \[2, 3, 16, 8\]"),
        ({"latents": torch.zeros(2, 4, 8, 16)}, r"latents: must have shape"),
        ({"latents": torch.zeros(3, 8, 16)}, r"latents: must have shape"),
        ({"latents": torch.zeros(0, 3, 8, 16)}, r"with B >= 1"),
        ({"latents": torch.zeros(2, 3, 8, 16, dtype=torch.long)}, r"latents: must be floating point"),
        ({"t": torch.zeros(3)}, r"t: must have shape \[2\]"),
        ({"t": torch.zeros(2, 1)}, r"t: must have shape \[2\]"),
        ({"t": torch.zeros(2, dtype=torch.long)}, r"t: must be floating point"),
        ({"t": torch.tensor([0.5, 1.5])}, r"t\[1\] is 1.5"),
        ({"t": torch.tensor([-0.5, 0.5])}, r"t\[0\] is -0.5"),
        ({"t": torch.tensor([0.5, float("nan")])}, r"t\[1\] is nan"),
        ({"labels": torch.tensor([0, 6])}, r"labels: 6 is out of range; class indices go from 0 to 4, and 5 stands"),
        ({"labels": torch.tensor([-1, 0])}, r"labels: -1 is out of range"),
        ({"labels": torch.tensor([0, 1, 2])}, r"labels: must have shape \[2\]"),
        ({"labels": torch.tensor([[0], [1]])}, r"labels: must have shape \[2\]"),
        ({"labels": torch.tensor([0.0, 1.0])}, r"labels: must be integer"),
        ({"labels": torch.tensor([True, False])}, r"labels: must be integer"),
        ({"labels": torch.tensor([0, 1], dtype=torch.uint8)}, r"labels: must be integer.*got torch.uint8"),
        ({"labels": None}, r"labels: needed"),
        ({"scores": torch.zeros(2, 8)}, r"^scores: this backbone has no router to take them; leave them out$"),
    ],
)
def test_bad_inputs_are_refused(plain, change, message):
    with pytest.raises(ValueError, match=message):
        plain.check_inputs(**{**GIVEN, **change})


def test_forward_checks_its_inputs(plain, routed):
    with pytest.raises(ValueError, match="labels: 6 is out of range"):
        plain(**{**GIVEN, "labels": torch.tensor([0, 6])})
    with pytest.raises(ValueError, match=r"scores\[0, 0\] is 1.0"):
        routed(**GIVEN, scores=torch.ones(2, 8))


BAD_SCORES = [
    ([[0.5] * 8] * 2, r"^scores: must be a tensor with a row for each sample, got list$"),
    (torch.zeros(3, 8), r"^scores: must have shape \[2, 8\D.*, one of each .* the router sees, got \[3, 8\]$"),
    (torch.zeros(2, 7), r"^scores: must have shape \[2, 8\D.*got \[2, 7\]$"),
    (torch.zeros(16), r"^scores: must have shape \[2, 8\D.*got \[16\]$"),
    (torch.tensor(0.5), r"^scores: must have shape \[2, 8\D.*got \[\]$"),
    (torch.zeros(2, 8, 1), r"^scores: must have shape \[2, 8\D.*got \[2, 8, 1\]$"),
    (torch.zeros(2, 8, dtype=torch.long), r"^scores: must be floating point numbers in \[0, 1\), got torch.int64$"),
]


def one(row, column, value):
    scores = torch.zeros(2, 8)
    scores[row, column] = value
    return scores


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        *BAD_SCORES,
        (torch.zeros(2, 9), r"^scores: must have shape \[2, 8\], .*got \[2, 9\]$"),
        (one(1, 3, float("nan")), r"^scores: must lie in \[0, 1\), but scores\[1, 3\] is nan$"),
        (one(0, 7, 1.0), r"scores\[0, 7\] is 1.0$"),
        (one(1, 0, -0.5), r"scores\[1, 0\] is -0.5$"),
    ],
)
def test_scores_that_are_none_of_a_router_are_refused(routed, scores, message):
    with pytest.raises(ValueError, match=message):
        routed.check_inputs(**GIVEN, scores=scores)


@pytest.mark.parametrize("scores", [None, torch.zeros(2, 8), torch.rand(2, 8, dtype=torch.float64)])
def test_scores_of_a_router_are_taken(routed, scores):
    assert routed(**GIVEN, scores=scores).shape == GIVEN["latents"].shape


def test_without_a_router_none_is_as_many_scores_as_it_wants(plain):
    velocity = plain(**GIVEN, scores=torch.rand(2, plain.scores))
    assert torch.equal(velocity, plain(**GIVEN))


@pytest.mark.parametrize(("scores", "message"), BAD_SCORES)
def test_a_stage_alone_looks_at_the_form_of_its_scores(routed, scores, message):
    """At no value: it waits for no device."""
    with pytest.raises(ValueError, match=message):
        routed.forward_stages([Piece(0, **GIVEN, scores=scores)])


def test_a_stage_takes_the_first_of_the_scores_of_all(staged):
    """Of as many as the stage of the most tokens wants, which is what ``scores`` says."""
    assert (staged.scores, staged.scores_of(0), staged.scores_of(1)) == (32, 8, 32)
    scores = torch.rand(2, 32, generator=torch.Generator().manual_seed(0))
    own = staged.forward_stages([Piece(0, **GIVEN, scores=scores[:, :8])])[0]
    assert torch.equal(staged.forward_stages([Piece(0, **GIVEN, scores=scores)])[0], own)
    with pytest.raises(ValueError, match=r"^scores: must have shape \[2, 32 or more\], .*got \[2, 31\]$"):
        staged.forward_stages([Piece(1, **GIVEN, scores=scores[:, :31])])


def test_without_a_router_a_stage_takes_no_scores(plain):
    assert (plain.scores, plain.scores_of(0)) == (0, 0)
    with pytest.raises(ValueError, match=r"^scores: this backbone has no router"):
        plain.forward_stages([Piece(0, **GIVEN, scores=torch.zeros(2, 8))])


@pytest.mark.parametrize("conditioner", [{"type": "class_tokens"}, "none"])
def test_pieces_of_which_some_have_no_labels_are_refused(conditioner):
    """None is nobody's null class: what the others' labels would be joined with is not known."""
    backbone = backbone_of(stages=STAGES, class_conditioner=conditioner)
    both = [Piece(stage, **GIVEN) for stage in (0, 1)]
    assert len(backbone.forward_stages(both)) == 2
    both[1] = both[1]._replace(labels=None)
    expected = r"^pieces: all of them must have labels or none, but 1 of 2 have none, piece 1 first$"
    with pytest.raises(ValueError, match=expected):
        backbone.forward_stages(both)
