"""What a recipe is, once it has been validated: frozen, with every option of every part filled in."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from zoo.errors import KeyPath
from zoo.kinds import key_of, kinds_of
from zoo.recipe.latent import LatentRecipe
from zoo.recipe.parts import AnyPart, PartSpec, Run
from zoo.recipe.versions import Versions
from zoo.signature import Options, PathText


class BackboneOptions(Options):
    """What a backbone is made of, parts aside."""

    latent: LatentRecipe
    num_classes: Annotated[
        int, Field(ge=0, le=10_000_000, description="classes, the null class aside; 0 if unconditional")
    ] = 0
    dim: Annotated[int, Field(ge=1, le=65536, description="width D of the tokens")]
    depth: Annotated[int, Field(ge=1, le=1024, description="blocks in all")]
    heads: Annotated[int, Field(ge=1, le=4096, description="attention heads of a block")]
    condition: Annotated[
        Literal["per_width", "shared"],
        Field(description="of levels that differ in width: one for each, or one of the backbone's width for all"),
    ] = "per_width"
    prediction: Annotated[Literal["velocity", "epsilon"], Field(description="what the weights predict")] = "velocity"


class ObjectiveOptions(Options):
    """What training minimises, parts aside."""

    label_dropout: Annotated[
        float, Field(ge=0.0, le=1.0, description="share of samples whose label is dropped, for guidance")
    ] = 0.1


class DataOptions(Options):
    """What training reads, parts aside."""

    workers: Annotated[int, Field(ge=0, le=1024, description="processes of each rank that read ahead")] = 0
    leave_out: Annotated[
        PathText | tuple[Annotated[str, Field(min_length=1)], ...] | None,
        Field(description="ids of samples to leave out, or the path of a text file with one a line"),
    ] = None


class TrainOptions(Options):
    """How training runs. A step is one update; batch sizes are of the whole job, whatever the number of ranks."""

    steps: Annotated[int, Field(ge=1, description="updates")] = 400_000
    batch: Annotated[int, Field(ge=1, description="samples of one update, over all ranks")] = 256
    accumulate: Annotated[int, Field(ge=1, description="passes that a rank splits its part of the batch into")] = 1
    stage_group: Annotated[
        int | None,
        Field(ge=1, description="samples after which the pattern of stages repeats; chosen for the schedule if null"),
    ] = None
    seed: Annotated[int, Field(ge=0, lt=2**63, description="of weights, order and noise")] = 0
    init: Annotated[
        PathText | None,
        Field(
            description="weight file, or run (its averaged weights), to start from; null: fresh ones",
        ),
    ] = None
    learning_rate: Annotated[float, Field(gt=0.0, description="AdamW's, after the warm-up")] = 1e-4
    schedule: Annotated[
        Literal["constant", "cosine"], Field(description="the learning rate after the warm-up; cosine goes to zero")
    ] = "constant"
    warmup: Annotated[int, Field(ge=0, description="updates over which the learning rate rises from zero")] = 0
    betas: Annotated[
        tuple[Annotated[float, Field(ge=0.0, lt=1.0)], Annotated[float, Field(ge=0.0, lt=1.0)]],
        Field(description="AdamW's"),
    ] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0.0, description="AdamW's, on every parameter")] = 0.0
    clip: Annotated[float | None, Field(gt=0.0, description="largest norm of the gradient; null for any")] = None
    ema: Annotated[
        float, Field(ge=0.0, lt=1.0, description="decay of the averaged weights, which start as a copy of the weights")
    ] = 0.9999
    ema_ramp: Annotated[
        bool, Field(description="let the decay rise from low values: min(ema, (1 + step) / (10 + step)); false: ema")
    ] = True
    precision: Annotated[
        Literal["float32", "bfloat16"], Field(description="of the blocks' matrix products; weights stay float32")
    ] = "float32"
    checkpoint_activations: Annotated[
        bool, Field(description="compute blocks anew in the backward pass, to save memory")
    ] = False
    compile: Annotated[bool, Field(description="torch.compile every block")] = False
    compile_backend: Annotated[str, Field(min_length=1, description="of torch.compile")] = "inductor"
    parallel: Annotated[
        Literal["ddp", "fsdp"], Field(description="whole weights on every rank, or each a share of them (FSDP2)")
    ] = "ddp"
    on_non_finite: Annotated[
        Literal["stop", "skip"],
        Field(description="what an update whose loss or gradient is not finite does: stop the run, or leave it out"),
    ] = "stop"
    max_skipped: Annotated[int, Field(ge=1, description="updates that may be left out in a row")] = 10
    timeout: Annotated[
        float, Field(gt=0.0, le=1e6, description="seconds to wait for a process or data worker that does not answer")
    ] = 600.0
    log_every: Annotated[int, Field(ge=1, description="steps between lines of metrics.jsonl")] = 10
    checkpoint_every: Annotated[int, Field(ge=1, description="steps between checkpoints")] = 5_000
    keep_last: Annotated[int, Field(ge=1, description="checkpoints to keep")] = 2
    sample_every: Annotated[
        int | None, Field(ge=1, description="steps between sample grids; null for one at the end")
    ] = None
    tensorboard: Annotated[bool, Field(description="write TensorBoard's event files too")] = False


class SampleOptions(Options):
    """How samples are drawn, parts aside."""

    steps: Annotated[int, Field(ge=1, le=1_000_000, description="updates of the solver")] = 50
    guidance: Annotated[
        Annotated[float, Field(ge=0.0)]
        | Annotated[tuple[Annotated[float, Field(ge=0.0)], ...], Field(min_length=1, max_length=64)],
        Field(description="classifier-free guidance; 1 is none. One scale, or one for every stage, noisiest first"),
    ] = 1.0
    guided_channels: Annotated[
        int | None, Field(ge=1, description="guide the first so many latent channels; null for all")
    ] = None
    guidance_interval: Annotated[
        tuple[Annotated[float, Field(ge=0.0, le=1.0)], Annotated[float, Field(ge=0.0, le=1.0)]],
        Field(description="noise levels that are guided, from lowest to highest"),
    ] = (0.0, 1.0)
    labels: Annotated[
        Literal["balanced", "random"],
        Field(description="classes of images: all in turn, or drawn from the seed; other labels are the data's"),
    ] = "balanced"
    precision: Annotated[
        Literal["float32", "bfloat16"], Field(description="of the matrix products; float32 is the weights' own")
    ] = "float32"
    batch: Annotated[int, Field(ge=1, description="images of one pass; always whole, whatever the count")] = 64


class EvaluateOptions(Options):
    """How samples are judged, parts aside."""

    count: Annotated[int, Field(ge=2, description="images to draw, and to compare with the real ones")] = 500
    real: Annotated[
        int, Field(ge=2, description="real images to compare with at most, chosen at random of those of the dataset")
    ] = 50_000
    labels: Annotated[
        Literal["data", "balanced", "random"],
        Field(description="classes of images: as the real ones have them, all in turn, or drawn from the seed"),
    ] = "data"


class RecipeOptions(Options):
    """A recipe, its sections aside."""

    name: Annotated[str, Field(min_length=1, max_length=200, description="defaults to the file's name")]


class Section(BaseModel):
    """What the sections of a recipe have in common: options, and a part of every kind that stands in them."""

    model_config = ConfigDict(frozen=True)

    section: ClassVar[str]

    def of(self, kind: str) -> tuple[AnyPart, ...]:
        """The part of a kind, or all of them where there are several: of blocks one for each."""
        found = getattr(self, key_of(kind))
        return found if isinstance(found, tuple) else (found,)

    def parts(self) -> Iterator[tuple[str, AnyPart]]:
        """Every kind of the section with its part; one of which there are several comes several times."""
        for kind in kinds_of(self.section):
            for spec in self.of(kind):
                yield kind, spec

    def resolved(self) -> dict[str, Any]:
        """The section as a recipe would write it in full."""
        parts = {key_of(kind): getattr(self, key_of(kind)) for kind in kinds_of(self.section)}
        own = self.model_dump(mode="json", exclude=set(parts))
        return {**own, **{key: _plain(found) for key, found in parts.items()}}


def _plain(found: AnyPart | tuple[AnyPart | Run, ...]) -> Any:
    """What stands under a kind's key, as plain values: a single run of blocks is all of them."""
    if not isinstance(found, tuple):
        return found.resolved()
    if len(found) == 1 and isinstance(found[0], Run):
        return found[0].part.resolved()
    return [each.resolved() for each in found]


class BackboneRecipe(BackboneOptions, Section):
    """A backbone, with a part of every kind."""

    section = "backbone"

    @property
    def block_specs(self) -> tuple[AnyPart, ...]:
        """The part that each of the ``depth`` blocks is, in order."""
        return tuple(run.part for run in self.block for _ in range(run.blocks))

    def of(self, kind: str) -> tuple[AnyPart, ...]:
        """The part of a kind; of blocks one for each."""
        return self.block_specs if kind == "block" else super().of(kind)

    def spec(self, kind: str, key: Any = None) -> PartSpec:
        """The part of a kind that stands under a key of the backbone."""
        specs: Any = self.of(kind)
        return specs[key if len(specs) > 1 else 0]

    def path(self, kind: str, key: Any = None) -> KeyPath:
        """Where it is written."""
        found = getattr(self, kind)
        if not isinstance(found, tuple) or len(found) == 1:
            return self.section, kind
        return self.section, kind, bisect_right(list(accumulate(run.blocks for run in found)), key)

    @property
    def words(self) -> str:
        """``latent 4 x 32 x 32, 1000 classes, width 768, 12 blocks, 12 heads``."""
        latent = f"latent {' x '.join(map(str, (self.latent.channels, *self.latent.size)))}"
        classes = f"{self.num_classes} classes" if self.num_classes else "unconditional"
        size = f"width {self.dim}, {self.depth} blocks, {self.heads} heads"
        predicts = "" if self.prediction == "velocity" else f"; predicts {self.prediction}"
        return f"{latent}, {classes}, {size}{predicts}"

    patch_schedule: AnyPart
    patch_embedder: AnyPart
    position: AnyPart
    time_embedder: AnyPart
    class_conditioner: AnyPart
    modulation: AnyPart
    block: Annotated[tuple[Run, ...], Field(min_length=1)]
    upsampler: AnyPart
    downsampler: AnyPart
    skip: AnyPart
    stage_embedder: AnyPart
    head: AnyPart
    router: AnyPart


class ObjectiveRecipe(ObjectiveOptions, Section):
    """What training minimises."""

    section = "objective"

    noise_sampler: AnyPart
    weighting: AnyPart


class DataRecipe(DataOptions, Section):
    """What training reads."""

    section = "data"

    dataset: AnyPart
    normalize: AnyPart


class TrainRecipe(TrainOptions, Section):
    """How training runs."""

    section = "train"


class SampleRecipe(SampleOptions, Section):
    """How samples are drawn."""

    section = "sample"

    solver: AnyPart


class EvaluateRecipe(EvaluateOptions, Section):
    """How samples are judged."""

    section = "evaluate"

    features: AnyPart
    metrics: tuple[AnyPart, ...]


class Recipe(RecipeOptions):
    """A validated recipe. Frozen: building never changes it."""

    backbone: BackboneRecipe
    objective: ObjectiveRecipe
    data: DataRecipe
    train: TrainRecipe
    sample: SampleRecipe
    evaluate: EvaluateRecipe

    def sections(self) -> Iterator[Section]:
        """Every section, in the order of a recipe."""
        for name in SECTIONS:
            yield getattr(self, name)

    def parts(self) -> Iterator[tuple[str, AnyPart]]:
        """Every kind with its part."""
        for section in self.sections():
            yield from section.parts()

    def plugins(self) -> dict[str, str]:
        """The version of every plug-in that it has a part of, by the plug-in's name."""
        return _plugins_of([spec for _, spec in self.parts()])

    def versions(self, sections: Collection[str] | None = None) -> Versions:
        """What it is trained, drawn or judged with here; parts that are kept as written are as they were recorded.

        Args:
            sections: whose parts are meant; all of them if left out.
        """
        wanted = SECTIONS if sections is None else sections
        used = [spec for section in self.sections() if section.section in wanted for _, spec in section.parts()]
        return Versions.here(_plugins_of(used), tuple(each for spec in used for each in spec.versions))

    def resolved(self) -> dict[str, Any]:
        """The recipe in full, without ``extends`` and with every default written out, as plain values."""
        return {"name": self.name, **{section.section: section.resolved() for section in self.sections()}}


def _plugins_of(parts: Sequence[AnyPart]) -> dict[str, str]:
    """The version of every plug-in of parts: that of here, where one of them is here."""
    kept_first = sorted(parts, key=lambda spec: isinstance(spec, PartSpec))
    return {name: version for spec in kept_first for name, version in spec.plugins.items()}


SECTIONS: dict[str, tuple[type[Options], type[Section]]] = {
    "backbone": (BackboneOptions, BackboneRecipe),
    "objective": (ObjectiveOptions, ObjectiveRecipe),
    "data": (DataOptions, DataRecipe),
    "train": (TrainOptions, TrainRecipe),
    "sample": (SampleOptions, SampleRecipe),
    "evaluate": (EvaluateOptions, EvaluateRecipe),
}
"""Every section: its options without parts, and with them."""
