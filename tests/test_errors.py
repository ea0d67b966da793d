"""What messages are made of."""

from zoo.errors import listed


def test_of_many_the_first_are_listed():
    assert listed(list("abcdefg"), 5) == "a, b, c, d, e and 2 more"
    assert listed(["a", "b"], 2) == "a, b"
    assert listed([], 2) == ""
