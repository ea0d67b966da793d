"""Parts that each break one law, by kind: what a law has to catch."""

from zoo.testing.cases import Case
from zoo.testing.law import Law

Broken = tuple[Law[Case], type, str]
"""A law, a part that breaks it, and what is said of it."""
