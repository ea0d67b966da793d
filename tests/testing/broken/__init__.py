"""Parts that each break one law, by kind: what a law has to catch."""

from zoo.testing.laws import Law

Broken = tuple[Law, type, str]
"""A law, a part that breaks it, and what is said of it."""
