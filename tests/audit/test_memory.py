"""The estimated activation memory against what PyTorch's tensors take in real training passes.

Storages of tensors are counted, not what the allocator hands out: kernels take memory for themselves too, such as
oneDNN's reordered weights in bfloat16, and how much depends on the processor.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import bench_passes
import pytest
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from zoo.assembly import build, load_recipe
from zoo.audit import activation_memory, memory
from zoo.backbone import Backbone
from zoo.distributed.distributed import Distributed
from zoo.errors import AuditError
from zoo.flow import Objective, StageBatch, objective_of, total
from zoo.parts.base import Block
from zoo.parts.grids import to_map, to_tokens
from zoo.parts.values import Layout, Vectors
from zoo.recipe import Recipe
from zoo.registry import Registry
from zoo.train.trainer import _wrapped

REGISTRY = Registry()
TOLERANCE = 0.01
STAGES = {"digits_dit": 1, "digits_mpdit": 1, "digits_ppflow": 2, "digits_hybrid": 2}
EVERY_STAGE = [(name, stage) for name, stages in STAGES.items() for stage in range(stages)]
SMALL = ("backbone.dim=16", "backbone.heads=2")
FEW, MANY = 32, 64
"""Batches whose activations outweigh the gradients of all weights, so that both have their peak at the same place."""

VARIANTS = {
    "plain": (),
    "checkpointed": ("train.checkpoint_activations=true",),
    "bfloat16": ("train.precision=bfloat16",),
    "both": ("train.checkpoint_activations=true", "train.precision=bfloat16"),
}


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    """Checkpointed passes leave cycles behind, whose memory would be given back in the middle of another pass."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def small(name: str, *overrides: str) -> Recipe:
    few = ("backbone.depth=4",) if name == "digits_dit" else ()
    return load_recipe(name, (*SMALL, *few, *overrides), REGISTRY)


def meta(recipe: Recipe) -> Backbone:
    return build(recipe, registry=REGISTRY, device="meta")


def estimate(recipe: Recipe) -> tuple[int, ...]:
    return activation_memory(meta(recipe), recipe).stage_bytes


def real(backbone: Backbone, recipe: Recipe) -> Objective:
    """On the CPU, without a zero, and computing as the trainer wants it to."""
    objective = objective_of(recipe, backbone).to_empty(device="cpu").train()
    for parameter in objective.parameters():
        nn.init.normal_(parameter, std=0.02)
    for buffer in objective.buffers():
        buffer.normal_()
    _wrapped(objective, recipe.train, Distributed(0, 1, torch.device("cpu")))
    return objective


def pass_of(objective: Objective, recipe: Recipe, counts: Sequence[int]) -> Callable[[], None]:
    """A forward and backward pass of so many samples of each stage."""
    backbone = objective.backbone
    batches = [
        StageBatch(
            stage,
            *torch.randn(2, count, *backbone.latent),
            torch.rand(count),
            backbone.conditioner.example_labels(count),
        )
        for stage, count in enumerate(counts)
        if count
    ]

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.train.precision == "bfloat16"):
            values = objective(batches)
        one = torch.ones(sum(counts))
        total(objective.terms, values, one, one).mean().backward()

    return run


def peak_of_storages(run: Callable[[], object]) -> int:
    """The most bytes of tensors that were alive at a time, which operators have made during a run."""
    with memory.LiveBytes() as live:
        run()
    return live.peak


def bytes_per_sample(
    objective: Objective,
    recipe: Recipe,
    shares: Sequence[int],
    peak: Callable[[Callable[[], object]], int] = peak_of_storages,
) -> float:
    """How much one more sample raises the peak, where so many of each stage come together."""
    batches = [[batch * share // sum(shares) for share in shares] for batch in (FEW, MANY)]
    pass_of(objective, recipe, batches[0])()  # fills caches
    peaks = []
    for counts in batches:
        objective.zero_grad(set_to_none=True)
        peaks.append(peak(pass_of(objective, recipe, counts)))
    return (peaks[1] - peaks[0]) / (MANY - FEW)


def measured(
    backbone: Backbone, recipe: Recipe, stage: int, peak: Callable[[Callable[[], object]], int] = peak_of_storages
) -> float:
    return bytes_per_sample(real(backbone, recipe), recipe, [*[0] * stage, 1], peak)


def close(estimated: float, taken: float) -> bool:
    return abs(estimated / taken - 1) < TOLERANCE


@pytest.mark.parametrize(
    ("name", "stage", "variant"),
    [
        *((name, stage, "plain") for name, stage in EVERY_STAGE),
        *(("digits_hybrid", stage, "both") for stage in (0, 1)),
        ("digits_mpdit", 0, "checkpointed"),
        ("digits_mpdit", 0, "bfloat16"),
    ],
)
def test_the_estimate_is_what_training_takes(name: str, stage: int, variant: str) -> None:
    recipe = small(name, *VARIANTS[variant])
    estimates = estimate(recipe)
    assert len(estimates) == STAGES[name]
    assert close(estimates[stage], measured(meta(recipe), recipe, stage))


def shared_storages_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_made", lambda outputs, inputs: memory._storages(outputs))


def nothing_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.LiveBytes, "_free", lambda self, size: None)


def attention_is_not_fused(monkeypatch: pytest.MonkeyPatch) -> None:
    """All weights N x N are kept, as on the meta device."""
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda q, k, v: (q @ k.mT).softmax(dim=-1) @ v)


def gradients_of_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "BATCH", 1)


@pytest.mark.parametrize(
    "broken", [shared_storages_twice, nothing_is_freed, attention_is_not_fused, gradients_of_weights]
)
def test_an_estimate_that_is_broken_is_caught(
    broken: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small("digits_dit", *VARIANTS["checkpointed"])
    taken = measured(meta(recipe), recipe, 0)
    assert close(estimate(recipe)[0], taken)
    broken(monkeypatch)
    assert not close(estimate(recipe)[0], taken)


def test_an_estimate_of_another_training_is_caught() -> None:
    estimates = sorted(estimate(small("digits_dit", *overrides))[0] for overrides in VARIANTS.values())
    assert not any(close(*pair) for pair in pairwise(estimates))


@pytest.mark.parametrize("variant", ["plain", "both"])
def test_a_batch_of_several_stages_needs_little_more_than_the_mean(variant: str) -> None:
    recipe = small("digits_hybrid", *VARIANTS[variant])
    taken = bytes_per_sample(real(meta(recipe), recipe), recipe, [1, 1])
    found = activation_memory(meta(recipe), recipe)
    assert found.mean_bytes == sum(found.stage_bytes) // 2
    assert found.mean_bytes < taken < found.mean_bytes * 1.05  # for the joined rows of a Linear


@pytest.mark.parametrize("variant", ["plain", "checkpointed"])
def test_training_keeps_anyway_what_is_tapped_and_sampling_does_not(variant: str) -> None:
    """The next block's input, which its gradient needs."""
    recipe = small("digits_dit", *VARIANTS[variant])
    objective = real(meta(recipe), recipe)
    backbone = objective.backbone
    blocks = tuple(range(len(backbone.blocks)))
    without = bytes_per_sample(objective, recipe, [1])
    objective.taps = blocks
    assert close(bytes_per_sample(objective, recipe, [1]), without)

    def tapped(*inputs: Tensor) -> Tensor:
        return backbone(*inputs, taps=blocks)[0]

    inputs = torch.randn(MANY, *backbone.latent), torch.rand(MANY), backbone.conditioner.example_labels(MANY)
    with torch.no_grad():
        plain, kept = (peak_of_storages(lambda forward=forward: forward(*inputs)) for forward in (backbone, tapped))
    _, taps = backbone(*inputs, taps=blocks)
    assert kept - plain > taps[0].tokens.nbytes * (len(blocks) - 3)


class Convolves(Block):
    """A part of a plug-in's, with a convolution of the image tokens."""

    def __init__(self, dim: int, mix: str) -> None:
        super().__init__()
        self.mix = MIXES[mix](dim).to("meta")

    def forward_stage(
        self, tokens: Float[Tensor, "b T D"], vectors: Vectors, layout: Layout, *taken: Float[Tensor, "b T D"]
    ) -> Float[Tensor, "b T D"]:
        prefix, image = tokens.tensor_split((layout.m,), dim=1)
        mixed = to_tokens(self.mix(to_map(image, layout.grid)))
        return torch.cat([prefix, image + mixed.sigmoid()], dim=1)


MIXES: dict[str, Callable[[int], nn.Module]] = {
    "one axis": lambda dim: nn.Sequential(nn.Flatten(2), nn.Conv1d(dim, dim, 3, padding="same")),
    "depthwise": lambda dim: nn.Conv2d(dim, dim, 3, padding=1, padding_mode="circular", groups=dim),
    "down and up": lambda dim: nn.Sequential(nn.Conv2d(dim, dim, 2, 2), nn.ConvTranspose2d(dim, dim, 2, 2)),
    "resampled": lambda dim: nn.Sequential(nn.Conv2d(dim, dim, 2, 2), nn.Upsample(scale_factor=2, mode="bilinear")),
}


@pytest.mark.parametrize("mix", MIXES)
def test_a_plugins_convolution(mix: str) -> None:
    recipe = small("digits_dit")
    backbone = meta(recipe)
    backbone.blocks = nn.ModuleList(Convolves(recipe.backbone.dim, mix) for _ in backbone.blocks)
    (estimated,) = activation_memory(backbone, recipe).stage_bytes
    assert close(estimated, measured(backbone, recipe, 0))


class Looks(Block):
    """Does what its values tell."""

    def forward_stage(
        self, tokens: Float[Tensor, "b T D"], vectors: Vectors, layout: Layout, *taken: Float[Tensor, "b T D"]
    ) -> Float[Tensor, "b T D"]:
        return tokens * 2 if tokens.sum() > 0 else tokens


def test_a_part_that_looks_at_values() -> None:
    recipe = small("digits_ppflow")
    backbone = meta(recipe)
    backbone.blocks[1] = Looks()
    with pytest.raises(AuditError, match=r"^stage 0: memory .* fake tensors: DataDependent.* must not look at values"):
        activation_memory(backbone, recipe)


def test_nothing_is_allocated_and_nothing_is_changed() -> None:
    recipe = small("digits_dit", *VARIANTS["both"])
    backbone = meta(recipe).eval()
    before = [dict(vars(module)) for module in backbone.modules()]
    found: list[int] = []
    taken = bench_passes.peak_bytes(lambda: found.extend(activation_memory(backbone, recipe).stage_bytes))
    assert taken < found[0]  # the memory of one sample of a million
    assert [dict(vars(module)) for module in backbone.modules()] == before
    assert all(parameter.is_meta and parameter.grad is None for parameter in backbone.parameters())


SCRATCH = 100
"""How many times its input a kernel takes for itself."""


@torch.library.custom_op("zoo_tests::with_scratch", mutates_args=())
def with_scratch(x: Tensor) -> Tensor:
    """A kernel that reorders its input first, as oneDNN does, in memory that it gives back when it is done."""
    reordered = torch.empty(SCRATCH, *x.shape)
    return reordered[0].copy_(x) * 2


@with_scratch.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


with_scratch.register_autograd(lambda _, gradient: gradient * 2)


class Reorders(Block):
    """A part whose kernel takes much memory for itself."""

    def forward_stage(
        self, tokens: Float[Tensor, "b T D"], vectors: Vectors, layout: Layout, *taken: Float[Tensor, "b T D"]
    ) -> Float[Tensor, "b T D"]:
        return with_scratch(tokens)


def test_what_a_kernel_takes_for_itself_is_in_the_allocators_peak_and_not_in_the_measure() -> None:
    recipe = small("digits_dit")
    backbone = meta(recipe)
    backbone.blocks[1] = Reorders()
    (estimated,) = activation_memory(backbone, recipe).stage_bytes
    assert close(estimated, measured(backbone, recipe, 0))
    assert measured(backbone, recipe, 0, bench_passes.peak_bytes) > 1.1 * estimated


@pytest.mark.parametrize("name", ["digits_dit", "digits_hybrid"])
def test_where_kernels_take_nothing_storages_are_what_the_allocator_hands_out(name: str) -> None:
    """In float32 and without oneDNN, attention's own buffers do not grow with the batch."""
    recipe = small(name)
    with torch.backends.mkldnn.flags(enabled=False):
        measures = [measured(meta(recipe), recipe, 0, peak) for peak in (peak_of_storages, bench_passes.peak_bytes)]
    assert close(*measures)


def chain(x: Tensor) -> tuple[Tensor, ...]:
    first = x * 2
    first.add_(1)
    left, right = first.view(2, -1).unbind()
    total = left + right
    del first, left, right
    return total, torch.empty(5000), x.view(-1)


def test_live_bytes_are_the_allocators() -> None:
    x = torch.zeros(2000)
    with memory.LiveBytes() as live:
        held = chain(x)
    assert live.peak == bench_passes.peak_bytes(lambda: chain(x)) == (1000 + 5000) * 4
    assert live.now == (1000 + 5000) * 4
    del held
    assert live.now == 0
