"""The way of the data through a diffusion backbone, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any, Literal

import torch
from einops import rearrange
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from zoo.errors import PluginError
from zoo.labels import Labels, checked, rows
from zoo.parts.base import (
    Block,
    ClassCondition,
    ClassConditioner,
    Head,
    Layout,
    Modulation,
    Modulations,
    PatchEmbedder,
    Position,
    PositionEmbedding,
    StageEmbedder,
    TimeEmbedder,
    Upsampler,
)
from zoo.parts.initialise import init_weights
from zoo.parts.returned import described, sizes, vectors_of
from zoo.recipe import Recipe
from zoo.schedule import Grid, Level, Stage, grid_of, patch_name
from zoo.summary import summary

Transition = tuple[Grid, Grid]


class Backbone(nn.Module):
    """Predicts the velocity ``noise - data`` of ``z_t = (1 - t) data + t noise`` from parts that plug-ins can replace.

    All stages share the same blocks. A patch embedder, a position table and a head belong to a patch; an upsampler and
    its skip to a (coarse, fine) pair of patches.

    Under autocast the residual stream is float32, whatever part returned the tokens; otherwise it has the weights' own
    dtype.

    Args:
        latent: channels, height and width (C, H, W).
        dim: width D of all tokens.
        stages: noise stages from noisy to clean, each with levels from coarse to fine.
        ties: the stage that a noise level exactly on a threshold belongs to.
        blocks: all blocks, in order.
        patch_embedders: one for every patch that a level starts with or a skip feeds.
        positions: one for every patch.
        heads: one for every patch that a stage ends with.
        upsamplers: one for every pair of neighbouring patches.
        skips: what the fine patch embedding goes through before it joins the upsampled tokens; empty for no skip.
        prediction: what the weights predict; zoo trains velocities.
        recipe: that it was built from; None where it was put together by hand.
    """

    def __init__(
        self,
        *,
        latent: tuple[int, int, int],
        dim: int,
        stages: Sequence[Stage],
        ties: Literal["cleaner", "noisier"] = "cleaner",
        patch_embedders: Mapping[Grid, PatchEmbedder],
        positions: Mapping[Grid, PositionEmbedding],
        time_embedder: TimeEmbedder,
        class_conditioner: ClassConditioner,
        stage_embedder: StageEmbedder,
        modulation: Modulation,
        blocks: Iterable[Block],
        upsamplers: Mapping[Transition, Upsampler],
        skips: Mapping[Transition, nn.Module],
        heads: Mapping[Grid, Head],
        prediction: Literal["velocity", "epsilon"] = "velocity",
        recipe: Recipe | None = None,
    ) -> None:
        super().__init__()
        self.recipe, self.dim = recipe, dim
        self.latent, self.stages, self.ties, self.prediction = tuple(latent), tuple(stages), ties, prediction
        self.patch_embedders = nn.ModuleDict({patch_name(patch): module for patch, module in patch_embedders.items()})
        self.positions = nn.ModuleDict({patch_name(patch): module for patch, module in positions.items()})
        self.time_embedder = time_embedder
        self.class_conditioner = class_conditioner
        self.stage_embedder = stage_embedder
        self.modulation = modulation
        self.blocks = nn.ModuleList(blocks)
        self.upsamplers = nn.ModuleDict({_pair_name(pair): module for pair, module in upsamplers.items()})
        self.skips = nn.ModuleDict({_pair_name(pair): module for pair, module in skips.items()})
        self.heads = nn.ModuleDict({patch_name(patch): module for patch, module in heads.items()})

    def __repr__(self) -> str:
        """The backbone in a few lines; ``torch.nn.Module.__repr__(backbone)`` lists every module."""
        if self.recipe is not None:
            title = f"Backbone {self.recipe.name}: {self.recipe.backbone.words}"
        else:
            title = f"Backbone: latent {' x '.join(map(str, self.latent))}, {len(self.blocks)} blocks"
        return summary(title, self.stages, self)

    def init_weights(self) -> None:
        """Draw all weights anew and make all tables, such as after building on the meta device and ``to_empty``."""
        init_weights(self)

    def forward(
        self,
        latents: Float[Tensor, "B C H W"],
        t: Float[Tensor, " B"],
        labels: Labels | None = None,
    ) -> Float[Tensor, "B C H W"]:
        """Velocity of latents at noise levels t in [0, 1]; samples of different stages may share a batch.

        Under DDP, a batch without samples of a stage leaves that stage's own parameters without gradients: give every
        rank samples of every stage, or set ``find_unused_parameters``.

        Args:
            latents: noisy latents [B, C, H, W].
            t: noise levels [B], 0 = data, 1 = pure noise.
            labels: what the class conditioner takes: class indices [B] for the built-in ones, ``num_classes`` for no
                condition; may be left out where it is unconditional.

        Raises:
            ValueError: a shape, noise level or label that the backbone cannot take.
            PluginError: a part returned something else than its kind promises.
        """
        self.check_inputs(latents, t, labels)
        if len(self.stages) == 1:
            return self.forward_stage(0, latents, t, labels)
        if t.is_meta:
            raise ValueError("t: has no values on the meta device, so its stages are not known; call forward_stage")
        stage_of_sample = self.stage_of(t)
        order = torch.argsort(stage_of_sample, stable=True)
        counts = torch.bincount(stage_of_sample, minlength=len(self.stages)).tolist()
        velocities = [
            self.forward_stage(stage, latents[own], t[own], None if labels is None else rows(labels, own))
            for stage, own in enumerate(torch.split(order, counts))
            if len(own)
        ]
        return torch.cat(velocities)[torch.argsort(order)]

    def forward_stage(
        self,
        stage: int,
        latents: Float[Tensor, "B C H W"],
        t: Float[Tensor, " B"],
        labels: Labels | None = None,
        modulation: Modulations | None = None,
    ) -> Float[Tensor, "B C H W"]:
        """Velocity of latents that all belong to one stage. Inputs are taken as valid.

        Args:
            stage: index of the stage, 0 = noisiest.
            latents: noisy latents [B, C, H, W].
            t: noise levels [B].
            labels: what the class conditioner takes.
            modulation: what ``modulate`` returned for these samples; computed here if left out.
        """
        condition = self._condition(labels, len(latents))
        if modulation is None:
            modulation = self._modulate(stage, t, condition)
        prefix = condition.tokens
        m = self.class_conditioner.class_tokens
        levels = self.stages[stage].levels
        tokens = self._embed(levels[0].patch, latents)
        if prefix is not None:
            tokens = torch.cat([prefix, tokens], dim=1)
        tokens = _to_residual_stream(tokens)
        first = 0
        for index, level in enumerate(levels):
            if index:
                tokens = self._refine((levels[index - 1].patch, level.patch), tokens, m, latents)
            tokens = self._run_level(index, level, first, tokens, m, modulation)
            first += level.blocks
        patch = levels[-1].patch
        name = patch_name(patch)
        pixels = self.heads[name](tokens[:, m:], modulation.head)
        shape = (len(latents), self._tokens(patch), patch[0] * patch[1] * self.latent[0])
        return self._unpatchify(patch, self._promised(pixels, shape, "head", name))

    def modulate(self, stage: int, t: Float[Tensor, " B"], labels: Labels | None = None) -> Modulations:
        """Modulations of all blocks and of the head, for samples of one stage at noise levels t [B].

        A sampler can compute those of all its steps in one pass and hand them to ``forward_stage``.
        """
        return self._modulate(stage, t, self._condition(labels, len(t)))

    def stage_of(self, t: Float[Tensor, " B"]) -> Shaped[Tensor, " B"]:
        """The stage index [B] of each noise level; one on a threshold goes where ``ties`` says."""
        # In t's own precision: a threshold of 0.3 is hit by float32(0.3), although that is above the real 0.3.
        thresholds = torch.tensor([stage.noise_above for stage in self.stages[:-1]], dtype=t.dtype, device=t.device)
        not_above = t.unsqueeze(1) <= thresholds if self.ties == "cleaner" else t.unsqueeze(1) < thresholds
        return not_above.sum(dim=1)

    def check_inputs(self, latents: object, t: object, labels: object) -> None:
        """Refuse what ``forward`` cannot take, saying what was expected.

        Looking at noise levels and labels waits for the device; ``forward_stage`` does without, and is what to compile.

        Raises:
            ValueError: wrong shapes or types, an empty batch, noise levels outside [0, 1], labels out of range.
        """
        latents, t = _tensor("latents", latents), _tensor("t", t)
        labels = None if labels is None else checked(labels)
        expected = ", ".join(map(str, self.latent))
        if latents.ndim != 4 or tuple(latents.shape[1:]) != self.latent or not len(latents):
            raise ValueError(f"latents: must have shape [B, {expected}] with B >= 1, got {list(latents.shape)}")
        if not latents.is_floating_point():
            raise ValueError(f"latents: must be floating point, got {latents.dtype}")
        if tuple(t.shape) != (len(latents),):
            raise ValueError(f"t: must have shape [{len(latents)}] as the latents, got {list(t.shape)}")
        if not t.is_floating_point():
            raise ValueError(f"t: must be floating point noise levels in [0, 1], got {t.dtype}")
        if torch.compiler.is_compiling() or t.is_meta:  # no values to look at
            return
        outside = ~((t >= 0) & (t <= 1))
        if outside.any():
            first = int(outside.nonzero()[0])
            raise ValueError(
                f"t: noise levels lie in [0, 1] (0 = data, 1 = pure noise), but t[{first}] is {float(t[first])}"
            )
        self.class_conditioner.check_labels(labels, len(latents))

    def _condition(self, labels: Labels | None, batch: int) -> ClassCondition:
        condition, m = self.class_conditioner(labels), self.class_conditioner.class_tokens
        if not isinstance(condition, ClassCondition):
            raise self._broken_promise(condition, "a ClassCondition", "class_conditioner")
        if condition.vector is not None:
            self._promised(condition.vector, (batch, self.dim), "class_conditioner")
        if condition.tokens is not None or m:
            self._promised(condition.tokens, (batch, m, self.dim), "class_conditioner")
        return condition

    def _modulate(self, stage: int, t: Tensor, condition: ClassCondition) -> Modulations:
        shape = (len(t), self.dim)
        vector = self._promised(self.time_embedder(t), shape, "time_embedder")
        if condition.vector is not None:
            vector = vector + condition.vector
        own = self.stage_embedder(stage)
        if own is not None:
            vector = vector + self._promised(own, (self.dim,), "stage_embedder")
        modulation = self.modulation(vector)
        if not isinstance(modulation, Modulations) or len(modulation.blocks) != len(self.blocks):
            raise self._broken_promise(modulation, f"Modulations of {len(self.blocks)} blocks", "modulation")
        for each in (*modulation.blocks, modulation.head):
            for value in vectors_of(each):
                self._promised(value, shape, "modulation")
        return modulation

    def _embed(self, patch: Grid, latents: Tensor) -> Tensor:
        name = patch_name(patch)
        shape = (len(latents), self._tokens(patch), self.dim)
        return self._promised(self.patch_embedders[name](latents), shape, "patch_embedder", name)

    def _refine(self, pair: Transition, tokens: Tensor, m: int, latents: Tensor) -> Tensor:
        """Expand coarse tokens, and add the fine patches of the latents."""
        (coarse, fine), name = pair, _pair_name(pair)
        returned = self.upsamplers[name](tokens, m, self._grid(coarse))
        if not isinstance(returned, tuple) or len(returned) != 2 or returned[1] != self._grid(fine):
            raise self._broken_promise(
                returned, f"a tuple of tokens and the grid {self._grid(fine)}", "upsampler", name
            )
        shape = (len(tokens), m + self._tokens(fine), self.dim)
        tokens = _to_residual_stream(self._promised(returned[0], shape, "upsampler", name))
        if name not in self.skips:
            return tokens
        return _add_to_image(tokens, m, self.skips[name](self._embed(fine, latents)))

    def _run_level(
        self, index: int, level: Level, first: int, tokens: Tensor, m: int, modulation: Modulations
    ) -> Tensor:
        name = patch_name(level.patch)
        position = self.positions[name]()
        if not isinstance(position, Position):
            raise self._broken_promise(position, "a Position", "position", name)
        if position.add is not None:
            self._promised(position.add, (self._tokens(level.patch), self.dim), "position", name)
            tokens = _add_to_image(tokens, m, position.add)
        layout = Layout(
            m=m,
            grid=self._grid(level.patch),
            patch=level.patch,
            rotary=position.rotary,
            level_index=index,
            level_blocks=level.blocks,
        )
        for block in range(first, first + level.blocks):
            returned = self.blocks[block](tokens, modulation.blocks[block], layout)
            tokens = _to_residual_stream(self._promised(returned, tokens.shape, "block", block))
        return tokens

    def _unpatchify(self, patch: Grid, pixels: Tensor) -> Tensor:
        rows, columns = self._grid(patch)
        return rearrange(
            pixels, "b (h w) (p q c) -> b c (h p) (w q)", h=rows, w=columns, p=patch[0], q=patch[1], c=self.latent[0]
        )

    def _grid(self, patch: Grid) -> Grid:
        return grid_of(self.latent[1], self.latent[2], patch)

    def _tokens(self, patch: Grid) -> int:
        return prod(self._grid(patch))

    def _promised(self, returned: Any, shape: tuple[int, ...], kind: str, key: str | int = "") -> Tensor:
        """What a part returned, if it is what its kind promises. Only looks at the shape, so that it compiles.

        Not in a trace, where each look at a size would be an operator; what does not trace, an audit runs once more
        without one.
        """
        tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        if tracing or (isinstance(returned, Tensor) and returned.shape == shape):
            return returned
        raise self._broken_promise(returned, f"a tensor {sizes(shape)}", kind, key)

    def _broken_promise(self, returned: Any, promised: str, kind: str, key: str | int = "") -> PluginError:
        part = f"{kind} {key}".strip()
        if self.recipe is not None:
            specs: Any = self.recipe.backbone.of(kind)
            spec = specs[key] if kind == "block" else specs[0]
            part += f" ({spec.entry.plugin.name}'s {spec.type})"
        return PluginError(f"{part} returned {described(returned)} in place of {promised}")


def _to_residual_stream(tokens: Tensor) -> Tensor:
    """``tokens`` in float32 or wider under autocast, whose Linears return bfloat16."""
    device = tokens.device.type
    if not (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)):
        return tokens
    return tokens.to(torch.promote_types(tokens.dtype, torch.float32))


def _tensor(name: str, given: object) -> Tensor:
    if not isinstance(given, Tensor):
        raise ValueError(f"{name}: must be a tensor with a row for each sample, got {type(given).__name__}")
    return given


def _add_to_image(tokens: Tensor, m: int, addend: Tensor) -> Tensor:
    """``tokens`` with ``addend`` on those behind the first m."""
    return torch.cat([tokens[:, :m], tokens[:, m:] + addend], dim=1) if m else tokens + addend


def _pair_name(pair: Transition) -> str:
    return f"{patch_name(pair[0])}_to_{patch_name(pair[1])}"
