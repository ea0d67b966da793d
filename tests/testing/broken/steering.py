"""Modulations and heads that break a law."""

from dataclasses import replace

from tests.testing.broken import Broken
from zoo.parts.heads import LinearHead
from zoo.parts.modulations import AdaLNZero, InContext
from zoo.registry import part
from zoo.testing import laws


@part("modulation", "six_for_all")
class SixForAll(AdaLNZero):
    """Made when every block took six vectors."""

    def __init__(self, blocks, heads_by_width) -> None:
        super().__init__(tuple(slot._replace(vectors=6) for slot in blocks), heads_by_width)


@part("modulation", "one_token_less")
class OneTokenLess(InContext):
    def forward(self, conditions):
        made = super().forward(conditions)
        return replace(made, tokens={width: tokens[:, 1:] for width, tokens in made.tokens.items()})


@part("head", "tokens_alone")
class TokensAlone(LinearHead):
    """Returns the pixels of tokens, as heads did that somebody else put together."""

    def forward(self, tokens, vectors, grid):
        return self.proj(self.normed(tokens, vectors))


BROKEN: list[Broken] = [
    (laws.shape_contract, SixForAll, "returns shapes"),
    (laws.shape_contract, OneTokenLess, "returns shapes"),
    (laws.shape_contract, TokensAlone, "returns shapes"),
]
