"""What each kind of part promises: its base class.

Letters in shapes: B batch, b samples of one stage, C latent channels, H W latent size (or one axis, or three), D width,
N image tokens of the current grid, m tokens in front of them, T = m + N all tokens, L context tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.labels import Labels
from zoo.parts.module_part import ModulePart, stage_by_stage
from zoo.parts.values import (
    ClassCondition,
    Condition,
    Group,
    Layout,
    Modulations,
    Position,
    Vectors,
)
from zoo.schedule import Grid, Stage


class PatchSchedule(ABC):
    """Patch sizes by depth, by noise level, or both. Has no weights.

    Constructor: ``(depth, axes, *, options)``.
    """

    kind: ClassVar[str] = "patch_schedule"
    ties: Literal["cleaner", "noisier"] = "cleaner"
    """The stage that a noise level exactly on a threshold belongs to."""

    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """The stages, from noisy to clean; the last has ``noise_above`` 0 and includes t = 0."""

    def key_path(self, stage: int | None, level: int | None, field: str | None) -> tuple[str | int, ...]:
        """The option that a stage, level, or field of it came from, for error messages; ``()`` if none can be told."""
        return ()


class PatchEmbedder(ModulePart, ABC):
    """Latents to tokens, for one patch and width: where a stage starts, and where a skip feeds on latents.

    Constructor: ``(dim, channels, patch, axes, *, options)``.
    """

    kind = "patch_embedder"

    @abstractmethod
    def forward(self, latents: Float[Tensor, "B C *size"]) -> Float[Tensor, "B N D"]:
        """Tokens of the grid (H / ph, W / pw), row-major."""


class PositionEmbedding(ModulePart, ABC):
    """Positions of one grid. Constructor: ``(dim, heads, grid, patch, stride, m, axes, *, options)``.

    ``stride`` is the way from one token to the next on each axis, in tokens of the finest patch; ``m`` how many tokens
    in front come in with this grid (where they do, a backbone starts, or its width changes).
    """

    kind = "position"

    @abstractmethod
    def forward(self) -> Position:
        """The positions of the grid's tokens, row-major."""


class TimeEmbedder(ModulePart, ABC):
    """Noise level to vector, for one width. Constructor: ``(dim, *, options)``."""

    kind = "time_embedder"

    @abstractmethod
    def forward(self, t: Float[Tensor, " B"]) -> Float[Tensor, "B D"]:
        """The embedding of noise levels t in [0, 1], 0 = data, 1 = pure noise."""


class ClassConditioner(ModulePart, ABC):
    """Labels to a condition, for one width. Constructor: ``(dim, num_classes, *, options)``.

    What labels are is the part's own affair: class indices, embeddings, ...; a tensor ``[B, ...]``, or a mapping of
    names to such tensors. It says by ``gives`` what ``forward`` returns: ``label`` (a vector), ``prefix`` (tokens),
    ``context``.
    """

    kind = "class_conditioner"
    class_tokens: int = 0
    """Tokens m that ``forward`` returns for each sample; 0 for none."""
    uses_labels: bool = True
    """Whether labels say anything; False makes a backbone unconditional: it takes any labels, and there is nothing to
    guide."""
    drops: int = 0
    """Numbers that ``drop_some`` gets of each sample; 0 where a label is dropped as a whole alone."""

    @abstractmethod
    def forward(self, labels: Any) -> ClassCondition:
        """The condition; a learned null condition must be looked up here, or DDP misses it."""

    @abstractmethod
    def null(self, labels: Any) -> Labels:
        """A constant of the labels' shape and dtype, and under their names, that stands for no condition."""

    @abstractmethod
    def example_labels(self, batch: int, device: torch.device | str | None = None) -> Labels:
        """Valid labels for the audit and for tests, none of them null; nothing is ever drawn from them."""

    @abstractmethod
    def check_labels(self, labels: Any, batch: int) -> None:
        """Refuse labels that ``forward`` cannot take.

        Raises:
            ValueError: says what was expected, and what was given.
        """

    def drop_some(self, labels: Any, scores: Float[Tensor, "B drops"]) -> Labels:
        """Labels as training sees them, where a part has some of what a label says dropped, and the rest stay.

        Draw nothing here. What ``objective.label_dropout`` drops as a whole is null after that.

        Args:
            labels: what ``forward`` takes; leave them as they are.
            scores: uniform in [0, 1).
        """
        return labels

    def parse(self, text: str) -> Labels:
        """Labels of one sample, a single row, as ``zoo sample --labels`` has them; leave it out where no text says any.

        Raises:
            ValueError: says what to write.
        """
        raise NotImplementedError(f"{type(self).__name__} has no parse")

    @classmethod
    def parses(cls) -> bool:
        """Whether a text can say labels: whether the part has a ``parse`` of its own."""
        return cls.parse is not ClassConditioner.parse


class Modulation(ModulePart, ABC):
    """Condition to the vectors of every block and head. Constructor: ``(blocks, heads_by_width, widths, has_label, *,
    options)``.

    ``blocks`` are ``zoo.sites.Slot``s, what each block asks for: width of the condition, width of the vectors, and how
    many; ``heads_by_width`` the same of heads, by the width of their tokens; ``widths`` those of the conditions;
    ``has_label`` whether they have a vector of the label.
    """

    kind = "modulation"
    gives = frozenset({"vectors"})
    uses = frozenset({"label"})
    tokens: int = 0
    """Tokens that it puts in front, before the class conditioner's, at every width."""

    @abstractmethod
    def forward(self, conditions: Mapping[int, Condition]) -> Modulations:
        """From conditions by width to the vectors of all blocks and heads, and tokens by width."""


class Block(ModulePart, ABC):
    """Tokens to tokens, at one depth.

    Constructor: ``(dim, heads, condition_dim, depth, index, places, axes, *, options)``. ``places`` are
    ``zoo.parts.Place``s: where the block stands in the levels of each stage, all of which share it. An author writes
    ``forward_stage``. Attributes may be set by the constructor.
    """

    kind = "block"
    modulation_vectors: int = 6
    """Vectors [b, D] of the modulation that it takes: any number, 0 for none."""
    lends: tuple[int, int] | None = None
    """Which of them, by index, shift and scale it last, for a head that borrows them (``shared_adaln``); None for
    none."""
    takes: tuple[int, ...] = ()
    """Earlier blocks, by index, whose outputs it gets; of equal patch and width in every stage."""

    def __init_subclass__(cls, **options: Any) -> None:
        """A class that says ``forward_stage`` anew and not ``forward`` is called by the loop over it."""
        super().__init_subclass__(**options)
        stage_by_stage(cls, Block)

    @abstractmethod
    def forward_stage(
        self, tokens: Float[Tensor, "b T D"], vectors: Vectors, layout: Layout, *taken: Float[Tensor, "b T D"]
    ) -> Float[Tensor, "b T D"]:
        """Tokens of the same shape and dtype, for samples of one stage; the first ``layout.m`` are those in front.

        ``vectors`` are ``modulation_vectors`` many, [b, D] each; ``taken`` what the blocks that it ``takes`` returned.
        """

    def forward(self, groups: Sequence[Group]) -> list[Tensor]:
        """The groups of all stages in one call, so that each weight is used once a pass.

        A block may do better than this loop, such as by joining the rows of its Linears. It calls its modules then,
        and never reads their weights, which may be sharded, quantised or adapted.
        """
        return [self.forward_stage(group.tokens, group.vectors, group.layout, *group.taken) for group in groups]


class Upsampler(ModulePart, ABC):
    """Coarse tokens to finer ones. Constructor: ``(dim, next_dim, kept_dim, patch, next_patch, axes, *, options)``."""

    kind = "upsampler"

    @abstractmethod
    def forward(
        self, tokens: Float[Tensor, "b T D"], m: int, grid: Grid, kept: Float[Tensor, "b N2 K"] | None = None
    ) -> tuple[Float[Tensor, "b T2 D2"], Grid]:
        """Tokens on the finer grid, row-major, behind the same number m of tokens in front; and that grid.

        Where the width changes there are none in front (m = 0), since the new width has its own.

        Args:
            tokens: of the level before.
            m: how many are in front of the image's.
            grid: of the image's.
            kept: image tokens that left the finer patch on the way down, for parts that need or use ``kept``; None, and
                so is ``kept_dim``, where a part that uses it comes to a patch without having been there.
        """


class Downsampler(ModulePart, ABC):
    """Tokens to a coarser patch, or to another width at the same. Constructor: ``(dim, next_dim, patch, next_patch,
    axes, *, options)``."""

    kind = "downsampler"

    @abstractmethod
    def forward(self, tokens: Float[Tensor, "b T D"], m: int, grid: Grid) -> tuple[Float[Tensor, "b T2 D2"], Grid]:
        """Tokens on the coarser grid, row-major, behind the same number m of tokens in front; and that grid.

        Where the width changes there are none in front (m = 0), since the new width has its own. At an equal patch
        tokens may be some of the grid's, which a router lets go on (``Router.spans_widths``), unless the part refuses
        ``subset``: each by itself, as many as came.
        """


class Skip(ModulePart, ABC):
    """What joins image tokens after an upsampler. Constructor: ``(next_dim, kept_dim, axes, *, options)``."""

    kind = "skip"
    feeds: Literal["latents", "kept", "nothing"] = "latents"
    """What ``forward`` gets beside the tokens: the latents' own patches, through a patch embedder; or what left the
    finer patch on the way down, which it then needs."""

    @abstractmethod
    def forward(self, image: Float[Tensor, "b N D"], other: Float[Tensor, "b N K"]) -> Float[Tensor, "b N D"]:
        """The image tokens, joined."""


class StageEmbedder(ModulePart, ABC):
    """A stage's own vector in the condition, for one width. Constructor: ``(dim, stages, *, options)``."""

    kind = "stage_embedder"

    @abstractmethod
    def forward(self, stage: int) -> Float[Tensor, " D"] | None:
        """The vector of stage 0 (noisiest) and on, or None for nothing."""


class Head(ModulePart, ABC):
    """Tokens to latents, for one patch and width. Constructor: ``(dim, channels, patch, axes, *, options)``."""

    kind = "head"
    modulation_vectors: int = 2
    """Vectors [b, D] of the modulation that it takes: any number, such as 2 (shift, scale), 0 for none."""

    @abstractmethod
    def forward(self, tokens: Float[Tensor, "b N D"], vectors: Vectors, grid: Grid) -> Float[Tensor, "b C *size"]:
        """What the weights predict, of image tokens alone; ``vectors`` are ``modulation_vectors`` many, [b, D] each."""


class Router(ModulePart, ABC):
    """Which image tokens run through blocks ``first`` to ``stop - 1``. Constructor: ``(depth, block_dims, *,
    options)``, with the width of every block.

    No level begins at a block between the two, in any stage. A level may begin at ``stop``: all tokens come back before
    they go to its patch and width, but see ``spans_widths``.
    """

    kind = "router"
    gives = frozenset({"subset"})
    first: int = 0
    stop: int = 0
    """Equal to ``first`` for no routing."""
    spans_widths: bool = False
    """Whether, where the level at ``stop`` has the patch of the one before and another width, the downsampler between
    the two gets the tokens that went on alone, and ``end`` these of the new width, before its position: as for a
    learned token in the place of the others. Such a downsampler cannot refuse ``subset``. A level at ``stop`` of
    another patch and another width is an error of the recipe: tokens come back of the width of block ``stop``."""
    fuses: bool = False
    """Whether ``end`` makes other tokens of those that come back, in sampling too, as SPRINT's Linear does."""

    @abstractmethod
    def begin(
        self, tokens: Float[Tensor, "b T D"], layout: Layout, scores: Float[Tensor, "b N"] | None
    ) -> tuple[Float[Tensor, "b T2 D"], Layout, Any]:
        """Tokens that go on, their layout, and what ``end`` is given; those in front always go on.

        Args:
            tokens: all of them.
            layout: of them.
            scores: drawn for every image token of each sample, uniform in [0, 1); None keeps all. How many go on
                follows from N alone.
        """

    @abstractmethod
    def end(self, tokens: Float[Tensor, "b T2 D"], m: int, route: Any) -> Float[Tensor, "b T D"]:
        """All tokens again, from those that went on.

        Args:
            tokens: those that went on, behind those in front; of the width that ``begin`` got, or of the next
                level's (``spans_widths``).
            m: how many are in front: as ``begin`` got, or none behind a change of width.
            route: what ``begin`` returned.
        """
