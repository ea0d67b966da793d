"""The options of every section of a recipe, parts aside."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from zoo.recipe.averages import Average, Averages
from zoo.recipe.latent import LatentRecipe
from zoo.recipe.source import show
from zoo.signature import Options, PathText, Place


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
    prediction: Annotated[Literal["velocity", "noise", "data"], Field(description="what the weights predict")] = (
        "velocity"
    )


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


class Start(Options):
    """Weights to start from."""

    weights: Annotated[PathText, Field(description="weight file, or run (its averaged weights)")]
    fit: Annotated[
        Literal["exact", "adapt"],
        Field(description="exact: of the same backbone; adapt: of another, of which what fits is taken"),
    ] = "exact"
    classes: Annotated[
        tuple[Annotated[int, Field(ge=0)] | None, ...],
        Field(
            description="with adapt, the class of the donor's that each one starts as, in order, such as [207, 360,"
            " null], null for one that starts anew; left out: that of the same name, or number where none is called"
            " alike"
        ),
    ] = ()

    @model_validator(mode="after")
    def _only_where_it_adapts(self) -> Start:
        if self.classes and self.fit == "exact":
            raise ValueError("classes are of weights that are adapted; set fit: adapt, or leave them out")
        return self


def _in_one_way(given: str | Start) -> str | Start:
    """Exact ones as their path, so that the same training is written in one way."""
    return given.weights if isinstance(given, Start) and given.fit == "exact" else given


Init = Annotated[
    Annotated[PathText, Tag("path")] | Annotated[Start, Tag("mapping")],
    Discriminator(lambda given: "mapping" if isinstance(given, Mapping | Start) else "path"),
    AfterValidator(_in_one_way),
]
"""What weights training starts from."""


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
        Init | None,
        Field(
            description="weight file, or run (its averaged weights), to start from, or {weights: PATH, fit: adapt} for"
            " those of a backbone of another shape; null: fresh ones",
        ),
        Place(),
    ] = None
    freeze: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...],
        Field(description="patterns of names of the backbone's weights that stay as they are, such as blocks.*"),
    ] = ()
    learning_rate: Annotated[float, Field(gt=0.0, description="the optimizer's, after the warm-up")] = 1e-4
    learning_rate_of: Annotated[
        Mapping[Annotated[str, Field(min_length=1)], Annotated[float, Field(gt=0.0)]],
        Field(description="factors of it by such patterns, as in {heads.*: 10}; no weight has two"),
    ] = {}
    warmup: Annotated[int, Field(ge=0, description="updates over which the learning rate rises from zero")] = 0
    clip: Annotated[float | None, Field(gt=0.0, description="largest norm of the gradient; null for any")] = None
    ema: Annotated[
        Averages,
        Field(
            description="decay of the averaged weights, which start as a copy of the weights; or a list of decays, and"
            " of {std: S} for averages by EDM2's profiles"
        ),
    ] = 0.9999
    ema_ramp: Annotated[
        bool, Field(description="let the decay rise from low values: min(ema, (1 + step) / (10 + step)); false: ema")
    ] = True
    precision: Annotated[
        Literal["float32", "bfloat16"], Field(description="of the blocks' matrix products; weights stay float32")
    ] = "float32"
    residual: Annotated[
        Literal["float32", "bfloat16"],
        Field(description="of the tokens between blocks where precision is bfloat16: half the bytes, coarser sums"),
    ] = "float32"
    matmul: Annotated[
        Literal["ieee", "tf32"],
        Field(description="products and convolutions that are in float32 on a GPU: as they are, or in TF32, faster"),
    ] = "ieee"
    checkpoint_activations: Annotated[
        bool | Annotated[float, Field(gt=0.0, lt=1.0)],
        Field(
            description="compute blocks anew in the backward pass, to save memory; with train.compile also the share of"
            " activations to keep, such as 0.5: what is cheapest is computed anew"
        ),
    ] = False
    compile: Annotated[bool, Field(description="torch.compile every block")] = False
    compile_backend: Annotated[str, Field(min_length=1, description="of torch.compile")] = "inductor"
    parallel: Annotated[
        Literal["ddp", "fsdp"], Field(description="whole weights on every rank, or each a share of them (FSDP2)")
    ] = "ddp"
    shard_within: Annotated[
        int | None,
        Field(ge=2, description="FSDP: ranks that share the weights out, in as many groups as there are; null: all"),
    ] = None
    reduce: Annotated[
        Literal["float32", "bfloat16"],
        Field(description="of gradients on their way between ranks: bfloat16 is half the traffic, coarser sums"),
    ] = "float32"
    on_non_finite: Annotated[
        Literal["stop", "skip"],
        Field(description="what an update whose loss or gradient is not finite does: stop the run, or leave it out"),
    ] = "stop"
    max_skipped: Annotated[int, Field(ge=1, description="updates that may be left out in a row")] = 10
    timeout: Annotated[
        float, Field(gt=0.0, le=1e6, description="seconds to wait for a process or data worker that does not answer")
    ] = 600.0
    log_every: Annotated[
        int, Field(ge=1, description="steps between lines of metrics.jsonl; the console has one every 10 s")
    ] = 10
    checkpoint_every: Annotated[int, Field(ge=1, description="steps between checkpoints")] = 5_000
    keep_last: Annotated[int, Field(ge=1, description="checkpoints to keep")] = 2
    keep_every: Annotated[
        int | None, Field(ge=1, description="steps between checkpoints that stay for ever besides; null for none")
    ] = None
    snapshot_every: Annotated[
        int | None,
        Field(ge=1, description="steps between what is kept of averages by std; null for every checkpoint_every"),
    ] = None

    @property
    def start(self) -> Start | None:
        """Of ``init``, however it is written."""
        return Start(weights=self.init) if isinstance(self.init, str) else self.init

    @property
    def averages(self) -> tuple[Average, ...]:
        """Of ``ema``, however it is written."""
        return self.ema if isinstance(self.ema, tuple) else (self.ema,)

    @field_validator("residual")
    @classmethod
    def _of_autocast(cls, residual: str, info: ValidationInfo) -> str:
        if residual == "bfloat16" and info.data.get("precision", residual) != residual:
            raise ValueError("bfloat16 needs train.precision: bfloat16; set both")
        return residual

    @field_validator("reduce")
    @classmethod
    def _of_one_pass(cls, reduce: str, info: ValidationInfo) -> str:
        sharded, passes = info.data.get("parallel") == "fsdp", info.data.get("accumulate", 1)
        if reduce == "bfloat16" and sharded and passes > 1:
            raise ValueError(
                f"bfloat16 would add up the {passes} passes of train.accumulate too under FSDP; take float32"
            )
        return reduce

    @field_validator("keep_every")
    @classmethod
    def _of_checkpoints(cls, every: int | None, info: ValidationInfo) -> int | None:
        between = info.data.get("checkpoint_every")  # not there where it has a problem of its own
        if every and between and every % between:
            raise ValueError(f"should be a multiple of train.checkpoint_every, {between}, got {every}")
        return every

    def shares(self, ranks: int) -> int:
        """Of so many ranks, those that share weights, averages and what the optimizer keeps out; 1: each has all."""
        return 1 if self.parallel == "ddp" else self.shard_within or ranks


class SampleOptions(Options):
    """How samples are drawn, parts aside."""

    steps: Annotated[int, Field(ge=1, le=1_000_000, description="updates of the solver")] = 50
    labels: Annotated[
        Literal["balanced", "random"],
        Field(description="classes of images: all in turn, or drawn from the seed; other labels are the data's"),
    ] = "balanced"
    precision: Annotated[
        Literal["float32", "bfloat16"], Field(description="of the matrix products; float32 is the weights' own")
    ] = "float32"
    batch: Annotated[int, Field(ge=1, description="images of one pass; always whole, whatever the count")] = 64
    compile: Annotated[bool, Field(description="torch.compile every block, by train.compile_backend")] = False


REFERENCES = ("train", "held_out")
"""Splits of a dataset that samples are compared with; what is none of these is a path."""


class EvaluateOptions(Options):
    """How samples are judged, parts aside."""

    count: Annotated[int, Field(ge=2, description="images to draw, and to compare with the real ones")] = 500
    real: Annotated[
        int, Field(ge=2, description="real images to compare with at most, chosen at random of those of the dataset")
    ] = 50_000
    reference: Annotated[
        str,
        Field(
            min_length=1,
            description="real images to compare with: train or held_out, of the dataset; or a folder of pictures, or an"
            " .npz file with arr_0, or mu and sigma",
        ),
        Place(names=REFERENCES),
    ] = "train"
    labels: Annotated[
        Literal["data", "balanced", "random"],
        Field(description="classes of images: as the real ones have them, all in turn, or drawn from the seed"),
    ] = "data"


PACKAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
"""The name of a distribution: messages say to give it to pip, in a shell."""


def _name_alone(package: str) -> str:
    if PACKAGE.fullmatch(package) is None:
        raise ValueError(f"should be the name of a package and nothing else, such as zoo-extra, got {show(package)}")
    return package


class RecipeOptions(Options):
    """A recipe, its sections aside."""

    name: Annotated[str, Field(min_length=1, max_length=200, description="defaults to the file's name")]
    packages: Annotated[
        tuple[
            Annotated[str, AfterValidator(_name_alone), Field(json_schema_extra={"pattern": f"^({PACKAGE.pattern})$"})],
            ...,
        ],
        Field(description="that its parts are of; where a part is not there, those not installed are told"),
    ] = ()
