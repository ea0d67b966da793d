"""What each kind of part promises: base classes, and the named values that pass between parts.

Letters in shapes: B batch, C latent channels, H W latent size, D width, N image tokens of the current grid, m class
tokens, T = m + N all tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from zoo.labels import Labels, form_of
from zoo.schedule import Grid, Stage

# -- values that pass between parts ---------------------------------------------------------------------------------


class Rotary(NamedTuple):
    """Cosines and sines of the angles that queries and keys of the image tokens are turned by.

    Components 2i and 2i + 1 of a head are one pair, turned by one angle (RoFormer, section 3.4.2), so that each angle
    stands twice: ``cos[:, 2 * i] == cos[:, 2 * i + 1]``.
    """

    cos: Float[Tensor, "N head_dim"]
    sin: Float[Tensor, "N head_dim"]


@dataclass(frozen=True)
class Position:
    """Where the image tokens of one grid are: a table to add to them, angles to turn them by, or neither."""

    add: Float[Tensor, "N D"] | None = None
    rotary: Rotary | None = None


@dataclass(frozen=True)
class ClassCondition:
    """What the labels say: a vector that joins the condition, tokens that go before the image's, or neither."""

    vector: Float[Tensor, "B D"] | None = None
    tokens: Float[Tensor, "B m D"] | None = None


class Affine(NamedTuple):
    """Shift and scale of a normalised activation: ``x * (1 + scale) + shift``."""

    shift: Float[Tensor, "B D"]
    scale: Float[Tensor, "B D"]


class BlockModulation(NamedTuple):
    """Shift, scale and gate of a block's attention and of its MLP."""

    attention: Affine
    attention_gate: Float[Tensor, "B D"]
    mlp: Affine
    mlp_gate: Float[Tensor, "B D"]


@dataclass(frozen=True)
class Modulations:
    """The modulation of every block, in order, and of the head."""

    blocks: Sequence[BlockModulation]
    head: Affine

    def rows(self, index: Int[Tensor, " R"]) -> Modulations:
        """Those of the samples at ``index``, in that order. Tensors that blocks share stay shared."""
        taken = {key: tensor[index] for key, tensor in self._tensors().items()}

        def affine(values: Affine) -> Affine:
            return Affine(taken[id(values.shift)], taken[id(values.scale)])

        return Modulations(
            blocks=[
                BlockModulation(
                    affine(block.attention),
                    taken[id(block.attention_gate)],
                    affine(block.mlp),
                    taken[id(block.mlp_gate)],
                )
                for block in self.blocks
            ],
            head=affine(self.head),
        )

    def nbytes(self) -> int:
        """Memory of the tensors, shared ones counted once."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self._tensors().values())

    def _tensors(self) -> dict[int, Tensor]:
        """Every tensor once, by its identity."""
        own = [
            tensor
            for block in self.blocks
            for tensor in (*block.attention, block.attention_gate, *block.mlp, block.mlp_gate)
        ]
        return {id(tensor): tensor for tensor in (*own, *self.head)}


@dataclass(frozen=True)
class Layout:
    """How a block's tokens are laid out.

    Attributes:
        m: class tokens in front of the image tokens.
        grid: image tokens per side (gh, gw); row-major after the class tokens.
        patch: latent pixels per image token (ph, pw).
        rotary: angles of the image tokens, where the position part gives any.
        level_index: place of the block's level in its stage, 0 = coarsest.
        level_blocks: number of blocks in that level.
        context: what tokens may look at beside each other, such as a text's, where there is any.
        context_mask: which of these there are: True = there, at least one of every sample.
        carry: a fresh mapping per level and forward pass, for long skips inside a level. A block writes a key once and
            removes none: with activation checkpointing it runs a second time.
    """

    m: int
    grid: Grid
    patch: Grid
    rotary: Rotary | None
    level_index: int
    level_blocks: int
    context: Float[Tensor, "B L Dc"] | None = None
    context_mask: Bool[Tensor, "B L"] | None = None
    carry: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Declared:
    """What a part that fvcore cannot trace says of itself.

    Attributes:
        output: tensors of the shapes and dtypes that ``forward`` returns.
        macs: multiply-adds of ``forward``, an int.
        norm_ops: operations of norms, which are no part of ``macs``: 4 an element, 5 with a weight.
        attention_macs: multiply-adds of attention alone, queries by keys and weights by values: a part of ``macs``.
    """

    output: Any
    macs: int
    norm_ops: int = 0
    attention_macs: int = 0


def tensors_in(value: Any) -> list[Tensor]:
    """Every tensor in a value that passes between parts, in a fixed order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, tuple | list):
        return [tensor for each in value for tensor in tensors_in(each)]
    if isinstance(value, Mapping):
        return [tensor for each in value.values() for tensor in tensors_in(each)]
    if is_dataclass(value):
        return [tensor for each in fields(value) for tensor in tensors_in(getattr(value, each.name))]
    return []


def map_tensors(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """The same value with each of its tensors changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, tuple | list):
        changed = [map_tensors(change, each) for each in value]
        return type(value)(*changed) if hasattr(value, "_fields") else type(value)(changed)
    if isinstance(value, Mapping):
        return {name: map_tensors(change, each) for name, each in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: map_tensors(change, getattr(value, each.name)) for each in fields(value)})
    return value


# -- kinds ----------------------------------------------------------------------------------------------------------


class PatchSchedule(ABC):
    """Patch sizes by depth, by noise level, or both. Has no weights.

    Constructor: ``(depth, *, options)``.
    """

    kind: ClassVar[str] = "patch_schedule"
    ties: Literal["cleaner", "noisier"] = "cleaner"
    """The stage that a noise level exactly on a threshold belongs to."""

    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """The stages, from noisy to clean; the last has ``noise_above`` 0 and includes t = 0."""

    def key_path(self, stage: int | None, level: int | None) -> tuple[str | int, ...]:
        """The option that a stage or level came from, for error messages; ``()`` if none can be told."""
        return ()


class ModulePart(nn.Module):
    """A part with a forward pass.

    Every module in it that owns a parameter or a buffer has ``reset_parameters()``, which fills them in place and is
    called in the constructor. PyTorch's own modules have one. Building on the meta device allocates nothing, and what
    makes weights and tables afterwards (``Backbone.init_weights``) calls each of them, members before what holds them.
    Tensors stand in parameters and buffers alone. An assembly with a part that breaks this is refused.
    """

    kind: ClassVar[str]

    def declare(self, *inputs: Any) -> Declared | None:
        """The part's own count, for parts that cannot trace on the meta device (scans, kernels of other libraries).

        Args:
            inputs: those of ``forward``, on the meta device.

        Returns:
            An output of the right shape (that of ``forward``, where it runs on the meta device) with the multiply-adds
            for these inputs; or None, if fvcore is to trace the part itself. ``zoo.testing`` holds both against what
            runs on a CPU.
        """
        return None

    def without_gradient(self) -> frozenset[str]:
        """Names of parameters whose gradient is zero by construction, whatever the loss."""
        return frozenset()


class PatchEmbedder(ModulePart, ABC):
    """Latents to tokens, for one patch. Constructor: ``(dim, channels, patch, *, options)``."""

    kind = "patch_embedder"

    @abstractmethod
    def forward(self, latents: Float[Tensor, "B C H W"]) -> Float[Tensor, "B N D"]:
        """Tokens of the grid (H / ph, W / pw), row-major."""


class PositionEmbedding(ModulePart, ABC):
    """Positions of one grid. Constructor: ``(dim, heads, grid, patch, finest_patch, *, options)``."""

    kind = "position"
    gives_rotary: bool = False
    """Whether ``Position.rotary`` is given; it must match the block's ``uses_rotary``."""

    @abstractmethod
    def forward(self) -> Position:
        """The positions of the grid's tokens, row-major."""


class TimeEmbedder(ModulePart, ABC):
    """Noise level to vector. Constructor: ``(dim, *, options)``."""

    kind = "time_embedder"

    @abstractmethod
    def forward(self, t: Float[Tensor, " B"]) -> Float[Tensor, "B D"]:
        """The embedding of noise levels t in [0, 1], 0 = data, 1 = pure noise."""


class ClassConditioner(ModulePart, ABC):
    """Labels to a condition. Constructor: ``(dim, num_classes, *, options)``.

    What labels are is the part's own affair: class indices, embeddings, ...; a tensor ``[B, ...]`` in any case, or a
    mapping of names to such tensors.
    """

    kind = "class_conditioner"
    class_tokens: int = 0
    """Tokens m that ``forward`` returns for each sample; 0 for none."""
    uses_labels: bool = True
    """Whether labels say anything; False makes a backbone unconditional: it takes any labels, and there is nothing to
    guide."""

    @abstractmethod
    def forward(self, labels: Any) -> ClassCondition:
        """The condition; a learned null condition must be looked up here, or DDP misses it."""

    @abstractmethod
    def null(self, labels: Any) -> Labels:
        """A constant of the labels' shape and dtype, and under their names, that stands for no condition."""

    @abstractmethod
    def example_labels(self, batch: int, device: torch.device | str | None = None) -> Labels:
        """Valid labels for the audit and for tests; nothing is ever drawn from them."""

    @abstractmethod
    def check_labels(self, labels: Any, batch: int) -> None:
        """Refuse labels that ``forward`` cannot take.

        Raises:
            ValueError: says what was expected, and what was given.
        """


class IndexConditioner(ClassConditioner, ABC):
    """A class conditioner whose labels are class indices ``[B]`` in ``[0, num_classes]``, the last of which is null."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError("needs backbone.num_classes of at least 1; for an unconditional backbone write `none`")
        self.num_classes = num_classes

    def null(self, labels: Tensor) -> Tensor:
        """``num_classes`` for every sample."""
        return torch.full_like(labels, self.num_classes)

    def classes_in_turn(self, batch: int, device: torch.device | str | None = None) -> Int[Tensor, " B"]:
        """Classes 0, 1, 2, ... and again."""
        return torch.arange(batch, device=device) % self.num_classes

    def example_labels(self, batch: int, device: torch.device | str | None = None) -> Tensor:
        """Classes in turn."""
        return self.classes_in_turn(batch, device)

    def check_labels(self, labels: Labels | None, batch: int) -> None:
        """Refuse labels that ``forward`` cannot take. Waits for the device.

        Raises:
            ValueError: not int32 or int64 ``[batch]``, or outside ``[0, num_classes]``.
        """
        if labels is None:
            raise ValueError(
                f"labels: needed by this class conditioner; give class indices [{batch}] in"
                f" 0..{self.num_classes - 1}, or {self.num_classes} for no condition"
            )
        if not isinstance(labels, Tensor):
            raise ValueError(f"labels: must be class indices [{batch}] in one tensor, got {form_of(labels)}")
        if labels.dtype not in (torch.int32, torch.int64):
            raise ValueError(f"labels: must be integer class indices (int64 or int32), got {labels.dtype}")
        if tuple(labels.shape) != (batch,):
            raise ValueError(f"labels: must have shape [{batch}] as the latents, got {list(labels.shape)}")
        low, high = torch.stack(labels.aminmax()).tolist()
        if low < 0 or high > self.num_classes:
            raise ValueError(
                f"labels: {low if low < 0 else high} is out of range; class indices go from 0 to"
                f" {self.num_classes - 1}, and {self.num_classes} stands for no condition"
            )


class Modulation(ModulePart, ABC):
    """Condition to shift, scale and gate of every block and of the head. Constructor: ``(dim, depth, *, options)``."""

    kind = "modulation"

    @abstractmethod
    def forward(self, condition: Float[Tensor, "B D"]) -> Modulations:
        """Modulations of all ``depth`` blocks and of the head."""


class Block(ModulePart, ABC):
    """A transformer block. Constructor: ``(dim, heads, depth, index, *, options)``."""

    kind = "block"
    uses_rotary: bool = False
    """Whether the block turns queries and keys by ``layout.rotary``; it must match what the position part gives."""

    @abstractmethod
    def forward(
        self, tokens: Float[Tensor, "B T D"], modulation: BlockModulation, layout: Layout
    ) -> Float[Tensor, "B T D"]:
        """Tokens of the same shape; the first ``layout.m`` are class tokens."""


class Upsampler(ModulePart, ABC):
    """Coarse tokens to fine ones. Constructor: ``(dim, coarse_patch, fine_patch, *, options)``."""

    kind = "upsampler"

    @abstractmethod
    def forward(self, tokens: Float[Tensor, "B T D"], m: int, grid: Grid) -> tuple[Float[Tensor, "B T2 D"], Grid]:
        """Tokens on the finer grid, row-major, behind the same number m of class tokens; and that grid."""


class StageEmbedder(ModulePart, ABC):
    """A stage's own vector, added to the condition. Constructor: ``(dim, stages, *, options)``."""

    kind = "stage_embedder"

    @abstractmethod
    def forward(self, stage: int) -> Float[Tensor, " D"] | None:
        """The vector of stage 0 (noisiest) and on, or None for nothing."""


class Head(ModulePart, ABC):
    """Tokens to latent pixels, for one patch. Constructor: ``(dim, channels, patch, *, options)``."""

    kind = "head"

    @abstractmethod
    def forward(self, tokens: Float[Tensor, "B N D"], modulation: Affine) -> Float[Tensor, "B N P"]:
        """Pixels of every image token, P = ph * pw * C, ordered (row in patch, column in patch, channel)."""
