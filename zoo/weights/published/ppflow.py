"""PPFlow: SiT with a patch embedder, a position table and a head for every stage (PPFlow, section 3)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from zoo.backbone import Backbone
from zoo.recipe import Recipe
from zoo.schedule import Grid, StageShape, patch_name
from zoo.weights.published.base import SIZES, as_given, grid_of_table, table_entry
from zoo.weights.published.dit import SiT
from zoo.weights.published.format import Tensors
from zoo.weights.published.layout import Entry, Turn, linear, sizes

FOLDS: dict[int, tuple[Grid, ...]] = {2: ((2, 2),), 3: ((2, 2), (1, 2))}
"""By number of stages, noisiest first: rows and columns of pixels that are folded into channels before a coarse stage's
convolution. The last stage folds nothing."""

THRESHOLDS: dict[int, tuple[float, ...]] = {2: (0.5, 0.0), 3: (0.5, 0.25, 0.0)}
"""By number of stages: the noise level above which each applies."""


class PPFlow(SiT):
    """Stages by noise level, whose coarse patches are made of folded pixels, convolved as the finest ones are."""

    name = "ppflow"
    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {**SiT.parts, "stage_embedder": ("learned",)}

    def recognises(self, keys: Collection[str]) -> bool:
        """A second patch embedder, on folded pixels."""
        return {"x_embedder.proj1.weight", "final_layer.linear1.weight"} <= set(keys)

    def family(self, backbone: Mapping[str, Any]) -> str:
        """The recipe of the same width and number of stages."""
        stages = len(backbone["patch_schedule"]["stages"])
        return f"ppflow_{SIZES.get(backbone['dim'], 'b')}_{stages}"

    def schedule_problem(self, stages: Sequence[StageShape]) -> str | None:
        """Other stages than the published code has."""
        patches = [stage.levels[0].patch for stage in stages]
        if len(stages) not in FOLDS or any(len(stage.levels) > 1 for stage in stages):
            return "ppflow has two or three stages by noise level, with one patch each"
        if patches != _patches(len(stages), patches[-1]):
            wanted = ", ".join(map(patch_name, _patches(len(stages), patches[-1])))
            return f"ppflow's patches would be {wanted}, the recipe's are {', '.join(map(patch_name, patches))}"
        thresholds = tuple(stage.noise_above for stage in stages)
        if thresholds != THRESHOLDS[len(stages)]:
            return f"ppflow's stages begin above {list(THRESHOLDS[len(stages)])}, the recipe's above {list(thresholds)}"
        return None

    def settled(self, recipe: Recipe) -> dict[str, Any]:
        """A noise level on a threshold belongs to the noisier stage."""
        schedule = recipe.backbone.patch_schedule.resolved()
        ties = {} if schedule.get("ties", "noisier") == "noisier" else {"patch_schedule.ties": "noisier"}
        return super().settled(recipe) | ties

    def entries(self, recipe: Recipe, backbone: Backbone) -> Iterator[Entry]:
        """SiT's for the finest patch, and those of the coarse ones."""
        channels, stages = recipe.backbone.latent.channels, backbone.stages
        halves = 2 if recipe.backbone.head.resolved()["learn_sigma"] else 1
        fine = stages[-1].levels[0].patch
        for index, stage in enumerate(stages):
            yield table_entry(f"pos_embed.{index}", stage.levels[0].patch)
        yield Entry("level_embedder.embedding_table.weight", "stage_embedder.embedding.weight")
        yield from self.shared_entries(recipe, fine)
        for index, (r, s) in enumerate(FOLDS[len(stages)]):
            own = patch_name(stages[index].levels[0].patch)
            embedder = Turn(
                "d (c r s) a b", "d (c a r b s)", sizes(c=channels, r=r, s=s, a=fine[0], b=fine[1])
            )  # in each row of folded pixels lie `r` rows of the latent
            yield from linear(f"x_embedder.proj{index + 1}", f"patch_embedders.{own}.proj", weight=embedder)
            axes = sizes(a=fine[0], b=fine[1], h=halves, c=channels, r=r, s=s)
            yield from linear(
                f"final_layer.linear{index + 1}",
                f"heads.{own}.proj",
                weight=Turn("(a b h c r s) d", "(a r b s h c) d", axes, self.head_sign),
                bias=Turn("(a b h c r s)", "(a r b s h c)", axes, self.head_sign),
            )

    def infer(self, tensors: Tensors) -> dict[str, Any]:
        """SiT's, with the stages of the published code."""
        count = tensors.count("pos_embed")
        if count not in FOLDS:
            raise tensors.problem(f"there are {count} position tables in place of two or three")
        _, _, ph, pw = tensors.of("x_embedder.proj.weight", 4)
        rows, columns = grid_of_table(tensors, f"pos_embed.{count - 1}")
        stages = [
            {"noise_above": above, "patch": as_given(patch)}
            for above, patch in zip(THRESHOLDS[count], _patches(count, (ph, pw)), strict=True)
        ]
        schedule = {"type": "by_timestep", "stages": stages, "ties": "noisier"}
        values = self.shared_values(tensors, (rows * ph, columns * pw), schedule)
        return values | {"position": {"type": "sincos", "coordinates": "finest"}, "stage_embedder": "learned"}


def _patches(stages: int, fine: Grid) -> list[Grid]:
    return [(fine[0] * r, fine[1] * s) for r, s in (*FOLDS[stages], (1, 1))]
