"""Weights of the backbone by patterns of their names: those that stay as they are, and those of another learning rate.

Patterns are the shell's: ``*`` stands for anything, dots too, as in ``blocks.*.attention.*``; letters are told apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from torch import nn

from zoo.errors import near

BACKBONE = "backbone."
"""What stands in front of the names of the backbone's weights in an objective."""


def freeze(backbone: nn.Module, patterns: Sequence[str]) -> None:
    """Let the weights that any of the patterns meets get no gradients, in place."""
    for name, weight in backbone.named_parameters() if patterns else ():
        if _is_met(name, patterns):
            weight.requires_grad_(False)


def factors(names: Iterable[str], learning_rate_of: Mapping[str, float]) -> dict[str, float]:
    """What the learning rate of each weight of an objective is multiplied by; 1 where no pattern meets it.

    Args:
        names: as in the objective.
        learning_rate_of: factors by pattern of names of the backbone's; no weight is met by two that differ.
    """
    found = {}
    for name in names:
        own = name.removeprefix(BACKBONE) if name.startswith(BACKBONE) else ""
        met = (factor for pattern, factor in learning_rate_of.items() if own and fnmatchcase(own, pattern))
        found[name] = next(met, 1.0)
    return found


def pattern_problems(
    names: Sequence[str], frozen: Sequence[str], learning_rate_of: Mapping[str, float]
) -> Iterator[tuple[str, str]]:
    """What is wrong with patterns, each with the option that it is of.

    Args:
        names: of the weights that the backbone would train.
        frozen: ``train.freeze``.
        learning_rate_of: ``train.learning_rate_of``.
    """
    for option, patterns in (("freeze", frozen), ("learning_rate_of", [*learning_rate_of])):
        for pattern in patterns:
            if not _any_met(names, [pattern]):
                meant = near(pattern, _patterns_of(names, pattern))
                hint = f"did you mean {meant!r}?" if meant else f"names are such as {names[0]!r}"
                yield option, f"{pattern!r} meets no weight that the backbone trains; {hint}"
    kept = [name for name in names if not _is_met(name, frozen)]
    if not kept:
        yield "freeze", "leaves no weight of the backbone to train; let some be met by no pattern"
        return
    for pattern in learning_rate_of:
        if _any_met(names, [pattern]) and not _any_met(kept, [pattern]):
            yield "learning_rate_of", f"{pattern!r} meets frozen weights alone; leave it out, or thaw some of them"
    for name in kept:
        met = [pattern for pattern in learning_rate_of if fnmatchcase(name, pattern)]
        if len({learning_rate_of[pattern] for pattern in met}) > 1:
            both = " and ".join(f"{pattern!r} ({learning_rate_of[pattern]:g})" for pattern in met[:2])
            yield "learning_rate_of", f"{name} is met by {both}; let one factor be its own"
            return


def pattern_notes(backbone: nn.Module, frozen: Sequence[str], learning_rate_of: Mapping[str, float]) -> Iterator[str]:
    """What the patterns mean of a backbone whose weights are frozen already, a line for each."""
    weights = dict(backbone.named_parameters())
    if frozen:
        still = [each.numel() for name, each in weights.items() if _is_met(name, frozen)]
        whole = sum(each.numel() for each in weights.values())
        yield f"train.freeze: {len(still)} weights, {sum(still):,} of {whole:,} parameters, stay as they are"
    for pattern, factor in learning_rate_of.items():
        own = [each.numel() for name, each in weights.items() if each.requires_grad and fnmatchcase(name, pattern)]
        yield (
            f"train.learning_rate_of: {pattern}: {factor:g} times the learning rate for {len(own)} weights,"
            f" {sum(own):,} parameters"
        )


def _is_met(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _any_met(names: Iterable[str], patterns: Sequence[str]) -> bool:
    return any(_is_met(name, patterns) for name in names)


def _patterns_of(names: Iterable[str], like: str) -> list[str]:
    """Names, and patterns of all that begins alike; of blocks one, unless ``like`` has a number itself."""
    found: dict[str, None] = {}
    for name in names:
        plain = name if re.search(r"\d", like) else re.sub(r"\.\d+\.", ".*.", name)
        keys = plain.split(".")
        found.update({".".join([*keys[:count], "*"]): None for count in range(1, len(keys))})
        found[plain] = None
    return list(found)
