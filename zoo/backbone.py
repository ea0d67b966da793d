"""The way of the data through a diffusion backbone, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, overload

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from zoo.conditioning import conditions_of, modulations_of
from zoo.inputs import by_stage, check_inputs, check_pieces
from zoo.kinds import HELD_KINDS, KINDS
from zoo.labels import Labels, join
from zoo.lockstep import Piece, Walk
from zoo.part_holder import PartHolder, held
from zoo.parts.facts import facts_of
from zoo.parts.initialise import init_weights
from zoo.parts.values import Modulations, Tap, split_tensors
from zoo.paths import AffinePath, LinearPath, Prediction
from zoo.recipe import Recipe
from zoo.shape import Shape
from zoo.sites import Key, assembly, levels, prefix_of, ups
from zoo.summary import summary
from zoo.taps import checked_taps, in_batch_order


class Backbone(PartHolder):
    """Predicts what a noisy latent is made of, from parts that plug-ins can replace.

    All stages share the same blocks, which are called once a pass, with the samples of all stages. A patch embedder and
    a head belong to a patch and a width, positions to a grid too, an upsampler, downsampler or skip to a pair of
    neighbouring levels, and time embedder, class conditioner and stage embedder to a width.

    Under autocast the residual stream is float32, whatever part returned the tokens, unless ``forward_stages`` is asked
    for another; otherwise it has the weights' own dtype.

    Args:
        shape: the numbers that the parts were built with.
        parts: by kind, and by the key that each stands under, as ``zoo.sites`` tells them.
        ties: the stage that a noise level exactly on a threshold belongs to.
        prediction: what the weights predict.
        path: from data to noise, which says what a noise level means, and what the time embedder is fed.
        recipe: that it was built from; None where it was put together by hand.
    """

    def __init__(
        self,
        shape: Shape,
        parts: Mapping[str, Mapping[Key, nn.Module]],
        *,
        ties: Literal["cleaner", "noisier"] = "cleaner",
        prediction: Prediction = "velocity",
        path: AffinePath | None = None,
        recipe: Recipe | None = None,
    ) -> None:
        super().__init__()
        self.shape, self.ties, self.prediction, self.recipe = shape, ties, prediction, recipe
        self.path = path or LinearPath()
        self.prefixes = {width: prefix_of(shape, parts, width) for width in dict.fromkeys(n.dim for n in shape.nodes)}
        self.places = dict(levels(shape, parts))
        for kind in HELD_KINDS:
            where = KINDS[kind].where
            assert where is not None
            setattr(self, where, held(KINDS[kind].per, parts.get(kind, {}), shape))
        ((_, whole),) = assembly(shape, parts)
        self.slots, self.head_slots = whole.blocks, whole.heads_by_width
        blocks: Any = self.blocks
        self.taken = {each: index for index, block in enumerate(blocks) for each in block.takes}
        self.gives = {width: facts_of(part).gives for width, part in parts["class_conditioner"].items()}
        self.fed = {
            (kind, pair)
            for pair, site in ups(shape, parts)
            for kind in ("upsampler", "skip")
            if isinstance(site.kept_dim, int) and "kept" in facts_of(parts[kind][pair]).takes
        }

    def __repr__(self) -> str:
        """The backbone in a few lines; ``torch.nn.Module.__repr__(backbone)`` lists every module."""
        if self.recipe is not None:
            title = f"Backbone {self.recipe.name}: {self.recipe.backbone.words}"
        else:
            title = f"Backbone: latent {' x '.join(map(str, self.latent))}, {len(self.blocks)} blocks"
        return summary(title, self.stages, self)

    @property
    def dim(self) -> int:
        """Width of the tokens where a level says no other."""
        return self.shape.dim

    def init_weights(self) -> None:
        """Draw all weights anew and make all tables, such as after building on the meta device and ``to_empty``."""
        init_weights(self)

    def forward(
        self,
        latents: Float[Tensor, "B C *size"],
        t: Float[Tensor, " B"],
        labels: Labels | None = None,
        scores: Float[Tensor, "B N"] | None = None,
        taps: Collection[int] = (),
    ) -> Float[Tensor, "B C *size"] | tuple[Float[Tensor, "B C *size"], dict[int, Tap]]:
        """The prediction for latents at noise levels t in [0, 1]; samples of different stages may share a batch.

        Under DDP, a batch without samples of a stage leaves that stage's own parameters without gradients: give every
        rank samples of every stage, or set ``find_unused_parameters``.

        Args:
            latents: noisy latents [B, C, *size].
            t: noise levels [B], 0 = data, 1 = pure noise.
            labels: what the class conditioner takes: class indices [B] for the built-in ones, ``num_classes`` for no
                condition; may be left out where it is unconditional.
            scores: for a router, in training: as many a sample as ``scores`` says, uniform in [0, 1); None keeps all
                tokens, as in sampling.
            taps: indices of blocks, from 0, whose outputs are wanted too.

        Returns:
            The prediction. With taps, a pair: the prediction, and what each of these blocks returned, by index, its
            rows in the order of the batch.

        Raises:
            ValueError: a shape, noise level, label, score or tap that the backbone cannot take; a stage has latents of
                another size; or samples of the batch are in stages whose tokens differ at a block that is tapped.
            PluginError: a part returned something else than its kind promises.
        """
        self.check_inputs(latents, t, labels, scores)
        taps = checked_taps(taps, len(self.blocks))
        if len(self.stages) == 1:
            return self.forward_stage(0, latents, t, labels, scores=scores, taps=taps)
        if t.is_meta:
            raise ValueError("t: has no values on the meta device, so its stages are not known; call forward_stage")
        pieces, order = by_stage(self.stage_of(t), len(self.stages), latents, t, labels, scores)
        places = torch.argsort(order)
        if not taps:
            return torch.cat(self.forward_stages(pieces))[places]
        predictions, tapped = zip(*self.forward_stages(pieces, taps=taps), strict=True)
        return torch.cat(predictions)[places], in_batch_order(tapped, [piece.stage for piece in pieces], places)

    @overload
    def forward_stage(
        self,
        stage: int,
        latents: Tensor,
        t: Tensor,
        labels: Labels | None = None,
        modulation: Modulations | None = None,
        scores: Tensor | None = None,
    ) -> Tensor: ...

    @overload
    def forward_stage(
        self,
        stage: int,
        latents: Tensor,
        t: Tensor,
        labels: Labels | None = None,
        modulation: Modulations | None = None,
        scores: Tensor | None = None,
        *,
        taps: Collection[int],
    ) -> Any: ...

    def forward_stage(
        self,
        stage: int,
        latents: Float[Tensor, "B C *size"],
        t: Float[Tensor, " B"],
        labels: Labels | None = None,
        modulation: Modulations | None = None,
        scores: Float[Tensor, "B N"] | None = None,
        *,
        taps: Collection[int] = (),
    ) -> Any:
        """The prediction for latents that all belong to one stage. Inputs are taken as valid.

        Args:
            stage: index of the stage, 0 = noisiest.
            latents: noisy latents [B, C, *size], of the stage's own size.
            t: noise levels [B].
            labels: what the class conditioner takes.
            modulation: what ``modulate`` returned for these samples; computed here if left out.
            scores: for a router; None keeps all tokens.
            taps: indices of blocks whose outputs are wanted too.

        Returns:
            What ``forward_stages`` returns for one piece.
        """
        return self.forward_stages([Piece(stage, latents, t, labels, scores)], modulation, taps=taps)[0]

    @overload
    def forward_stages(
        self, pieces: Sequence[Piece], modulation: Modulations | None = None, *, residual: torch.dtype = torch.float32
    ) -> list[Tensor]: ...

    @overload
    def forward_stages(
        self,
        pieces: Sequence[Piece],
        modulation: Modulations | None = None,
        *,
        taps: Collection[int],
        residual: torch.dtype = torch.float32,
    ) -> list[Any]: ...

    def forward_stages(
        self,
        pieces: Sequence[Piece],
        modulation: Modulations | None = None,
        *,
        taps: Collection[int] = (),
        residual: torch.dtype = torch.float32,
    ) -> list[Any]:
        """Predictions for the samples of several stages, in lockstep: each block is called once. Inputs are taken as
        valid, and nothing waits for the device.

        Args:
            pieces: samples of different stages, noisiest first.
            modulation: what ``modulate`` returned for all of these samples, joined; computed here if left out.
            taps: indices of blocks, from 0, whose outputs are wanted too.
            residual: dtype of the residual stream under autocast; float32 is also as wide as a part returned it.

        Returns:
            Predictions [b, C, *size] for every piece. With taps, pairs ``(prediction, {block: Tap})``.

        Raises:
            ValueError: some pieces have labels and others none, scores are fewer than a stage's router wants, or there
                is no block of a tap.
        """
        check_pieces(self, pieces)
        taps = checked_taps(taps, len(self.blocks))
        counts = [len(piece.latents) for piece in pieces]
        labels = [piece.labels for piece in pieces if piece.labels is not None]
        conditions = conditions_of(self, join(labels) if labels else None, sum(counts))
        if modulation is None:
            modulation = modulations_of(self, pieces, conditions)
        own = {width: split_tensors(condition, counts) for width, condition in conditions.items()}
        walks = [
            Walk(self, piece, vectors, {width: several[number] for width, several in own.items()}, taps, residual)
            for number, (piece, vectors) in enumerate(zip(pieces, modulation.split(counts), strict=True))
        ]
        for index in range(len(self.blocks)):
            self._step(index, walks)
        return [(walk.end(), walk.taps) if taps else walk.end() for walk in walks]

    def _step(self, index: int, walks: Sequence[Walk]) -> None:
        """Take all through a block. Nothing here outlives it, so that outputs go as soon as none needs them."""
        groups = [walk.enter(index) for walk in walks]
        returned = self.blocks[index](groups)
        if not isinstance(returned, list | tuple) or len(returned) != len(groups):
            raise self.broken_promise(returned, f"a list of {len(groups)} tensors", "block", index)
        for walk, tokens in zip(walks, returned, strict=True):
            walk.leave(index, tokens)

    def modulate(self, stage: int, t: Float[Tensor, " B"], labels: Labels | None = None) -> Modulations:
        """Modulations of all blocks and of heads, for samples of one stage at noise levels t [B].

        A sampler can compute those of all its steps in one pass and hand them to ``forward_stage``.
        """
        return modulations_of(self, [Piece(stage, t, t, labels)], conditions_of(self, labels, len(t)))

    def stage_of(self, t: Float[Tensor, " B"]) -> Shaped[Tensor, " B"]:
        """The stage index [B] of each noise level; one on a threshold goes where ``ties`` says."""
        # In t's own precision: a threshold of 0.3 is hit by float32(0.3), although that is above the real 0.3.
        thresholds = torch.tensor([stage.noise_above for stage in self.stages[:-1]], dtype=t.dtype, device=t.device)
        not_above = t.unsqueeze(1) <= thresholds if self.ties == "cleaner" else t.unsqueeze(1) < thresholds
        return not_above.sum(dim=1)

    def check_inputs(self, latents: object, t: object, labels: object, scores: object = None) -> None:
        """Refuse what ``forward`` cannot take, as ``zoo.inputs`` says.

        Waits for the device; ``forward_stage`` does without, and is what to compile.
        """
        check_inputs(self, latents, t, labels, scores)
