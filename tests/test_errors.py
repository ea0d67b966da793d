"""What messages are made of."""

import pytest

from zoo.errors import ZooError, did_you_mean, first_line, in_words, listed, with_article


def test_of_many_the_first_are_listed():
    assert listed(list("abcdefg"), 5) == "a, b, c, d, e and 2 more"
    assert listed(["a", "b"], 2) == "a, b"
    assert listed([], 2) == ""


@pytest.mark.parametrize(
    ("name", "offer"),
    [
        ("lineer", "; did you mean 'linear'?"),
        ("zzz", ""),
        ("linear", "; did you mean 'linear'?"),
        ("lr", "; did you mean 'learning_rate'?"),
        ("lm", "; did you mean 'linear_mlp'?"),
        ("LINEAR-MLP", "; did you mean 'linear_mlp'?"),
    ],
)
def test_did_you_mean(name, offer):
    assert did_you_mean(name, ["linear", "linear_mlp", "learning_rate"]) == offer


@pytest.mark.parametrize(
    ("noun", "told"),
    [("attention", "an attention"), ("int", "an int"), ("IndexError", "an IndexError"), ("block", "a block")],
)
def test_nouns_have_their_article(noun, told):
    assert with_article(noun) == told


class SpeechlessError(Exception):
    def __str__(self):
        return None


@pytest.mark.parametrize(
    ("error", "first", "all_of_it"),
    [
        (ValueError("a\n  b"), "a", "ValueError: a b"),
        (KeyError(), "", "KeyError"),
        (SpeechlessError(), "", "SpeechlessError"),
        (ValueError("x" * 5000), f"{'x' * 497}...", f"ValueError: {'x' * 497}..."),
        (ZooError("x" * 5000), f"{'x' * 497}...", f"ZooError: {'x' * 497}..."),  # a plug-in may raise it too
    ],
)
def test_what_somebody_elses_error_says_is_told_in_a_line_within_bounds(error, first, all_of_it):
    assert (first_line(error), in_words(error)) == (first, all_of_it)
