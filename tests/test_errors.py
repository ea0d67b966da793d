"""What messages are made of."""

import pytest

from zoo.errors import did_you_mean, listed, with_article


def test_of_many_the_first_are_listed():
    assert listed(list("abcdefg"), 5) == "a, b, c, d, e and 2 more"
    assert listed(["a", "b"], 2) == "a, b"
    assert listed([], 2) == ""


@pytest.mark.parametrize(
    ("name", "offer"), [("lineer", "; did you mean 'linear'?"), ("zzz", ""), ("linear", "; did you mean 'linear'?")]
)
def test_did_you_mean(name, offer):
    assert did_you_mean(name, ["linear", "linear_mlp"]) == offer


@pytest.mark.parametrize(
    ("noun", "told"),
    [("attention", "an attention"), ("int", "an int"), ("IndexError", "an IndexError"), ("block", "a block")],
)
def test_nouns_have_their_article(noun, told):
    assert with_article(noun) == told
