"""Runs of several losses, one of which a stranger wrote, with weights, a tap and features of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.distributed.ranks import alone, run_ranks
from tests.strangers.aligning import PARTS
from tests.train.small import ALONE, SIZE, STAGES
from zoo.assembly import build, load_recipe
from zoo.data import Samples
from zoo.data.stream import Batch
from zoo.distributed.distributed import Distributed
from zoo.errors import NumericError, PluginError, Preempted, RecipeError
from zoo.flow import Loss, LossInputs, Objective, objective_of
from zoo.registry import Registry, part
from zoo.runs import checkpoint as checkpoints
from zoo.runs.metrics_file import read_metrics
from zoo.runs.run_folder import RunFolder
from zoo.runs.weights import load
from zoo.testing import check_part
from zoo.train.job import open_job
from zoo.train.run import Run, Silent
from zoo.train.trainer import Trainer


@part("loss", "detached")
class Detached(Loss):
    def __init__(self) -> None:
        super().__init__()

    def forward(self, inputs: LossInputs) -> torch.Tensor:
        return inputs.prediction.detach().flatten(1).mean(dim=1)


REGISTRY = Registry().with_parts([*PARTS, Detached])
STEPS, STOP = 4, 3
LOSSES = [
    {"type": "squared_error", "of": "velocity"},
    {"type": "cosine", "weight": 0.5},
    {"type": "aligns", "weight": 2.0, "tap": 1},
]


def recipe(losses: list[Any] | None = None, **train: Any) -> dict[str, Any]:
    return {
        "name": "several",
        "backbone": {
            **SIZE,
            "latent": {"channels": 2, "height": 8, "width": 8},
            "patch_schedule": {"type": "by_depth_and_timestep", "stages": STAGES},
        },
        "objective": {"weighting": "min_snr", "losses": LOSSES if losses is None else losses},
        "data": {"dataset": "featured"},
        "train": {"steps": STEPS, "batch": 8, "learning_rate": 0.01, "log_every": 1, "checkpoint_every": 2, **train},
    }


def run(world: Distributed, path: Path, values: dict[str, Any], stop: int = STEPS) -> None:
    folder = RunFolder(path)
    session = Run(load_recipe(values, registry=REGISTRY), folder, REGISTRY, world, Silent())
    try:
        session.train(stop_at=stop, resume=folder.is_used)
    except Preempted:
        assert stop < STEPS


def end_of(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    newest, problems = checkpoints.latest(path / "checkpoints")
    assert newest is not None
    assert (newest.step, problems) == (STEPS, [])
    lines = read_metrics(RunFolder(path).metrics)
    for line in lines:
        del line["images_per_second"]
    return json.loads((newest.path / "manifest.json").read_text())["files"] | {"state.json": None}, lines


def made(values: dict[str, Any], world: Distributed, dtype: torch.dtype = torch.float32) -> Trainer:
    checked = load_recipe(values, registry=REGISTRY)
    torch.manual_seed(0)
    objective = objective_of(checked, build(checked, dtype=dtype))
    torch.manual_seed(1)  # whatever the losses have drawn
    with torch.no_grad():  # gates and heads start at zero, behind which nothing could be seen
        for parameter in objective.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return Trainer(open_job(checked, objective, REGISTRY, world.rank, world.size), objective, world)


def test_losses_that_no_gradient_comes_out_of_are_named() -> None:
    trainer = made(recipe([{"type": "detached"}]), ALONE)
    with pytest.raises(PluginError, match=r"^no gradient comes out of the losses \(detached\); let them compute with"):
        next(trainer.run(1))


WAYS: dict[str, tuple[int, dict[str, Any]]] = {
    "one": (1, {}),
    "share": (1, {"parallel": "fsdp"}),
    "ddp": (2, {"accumulate": 2}),
    "fsdp": (2, {"parallel": "fsdp", "checkpoint_activations": True, "optimizer": "muon"}),
}
PREDICTIONS = {
    "velocity": ("linear", LOSSES),
    "data": ("linear", [{"type": "squared_error", "of": "velocity"}]),
    "noise": ("vp", [{"type": "squared_error", "of": "prediction"}, LOSSES[2]]),
}


def ways() -> list[Any]:
    """Every way, and every prediction in the way that has most to go wrong; the dear ones are slow."""
    quick = {("velocity", "one"), ("noise", "fsdp")}
    return [
        pytest.param(*each, marks=() if each in quick else pytest.mark.slow)
        for each in [*(("velocity", way) for way in WAYS), ("data", "fsdp"), ("noise", "ddp"), ("noise", "fsdp")]
    ]


@pytest.mark.parametrize(("prediction", "way"), ways())
def test_a_run_that_stopped_goes_on_bit_by_bit(prediction: str, way: str, tmp_path: Path) -> None:
    ranks, train = WAYS[way]
    path, losses = PREDICTIONS[prediction]
    values, group = recipe(losses, **train), train.get("parallel") == "fsdp"
    values["backbone"]["prediction"], values["objective"]["path"] = prediction, path
    assert run_ranks(run, ranks, tmp_path / "whole", values, group=group) == [None] * ranks
    for stop in (STOP, STEPS):
        assert run_ranks(run, ranks, tmp_path / "parts", values, stop, group=group) == [None] * ranks
    (files, lines), (again, lines_again) = end_of(tmp_path / "whole"), end_of(tmp_path / "parts")
    assert (again, lines_again) == (files, lines)
    assert ("losses.safetensors" in files) == any(each in losses for each in LOSSES[2:])


def losses_and_weights(world: Distributed, values: dict[str, Any]) -> Any:
    trainer = made(values, world, torch.float64)  # AdamW's first updates go by the sign of the gradient
    found = [step.loss for step in trainer.run(2)]
    weights = trainer.state.tensors(Distributed(0, world.size, world.device, world.control, world.watch))
    return found, {f"{file}/{name}": each for file, own in weights.items() for name, each in own.items()}


@pytest.mark.parametrize("parallel", ["ddp", pytest.param("fsdp", marks=pytest.mark.slow)])
def test_two_processes_train_as_one(parallel: str) -> None:
    found, weights = alone(losses_and_weights, recipe())
    assert {each.dtype for name, each in weights.items() if name.startswith("losses/")} == {torch.float64}
    for other, others in run_ranks(losses_and_weights, 2, recipe(parallel=parallel), group=parallel == "fsdp"):
        assert other == pytest.approx(found, rel=1e-5)
        assert others.keys() == weights.keys()
        for name in weights:
            assert torch.allclose(others[name], weights[name], atol=1e-9), name


def test_a_losss_own_weights_train_and_are_neither_averaged_nor_exported(tmp_path: Path) -> None:
    alone(run, tmp_path, recipe())
    newest, _ = checkpoints.latest(tmp_path / "checkpoints")
    assert newest is not None
    files = {name: newest.tensors(name) for name in ("model", "ema", "losses", "optimizer")}
    assert set(files["losses"]) == {f"2.mlp.{layer}.{name}" for layer in (0, 2) for name in ("weight", "bias")}
    assert files["model"].keys() == files["ema"].keys() == load(tmp_path, registry=REGISTRY).state_dict().keys()
    assert "losses.2.mlp.0.weight/exp_avg" in files["optimizer"]
    checked = load_recipe(recipe(), registry=REGISTRY)
    torch.manual_seed(checked.train.seed)
    fresh = objective_of(checked, build(checked)).losses.state_dict()
    assert all(not torch.equal(fresh[name], files["losses"][name]) for name in fresh)


def test_a_line_of_the_metrics_has_each_term_by_its_name(tmp_path: Path) -> None:
    alone(run, tmp_path, recipe())
    for line in read_metrics(RunFolder(tmp_path).metrics):
        assert line["terms"].keys() == {"squared_error", "cosine", "aligns"}
        assert len(line["stage_errors"]) == 2


def test_without_a_weighting_the_loss_is_the_weighted_sum_of_the_means() -> None:
    values = recipe()
    values["objective"]["weighting"] = "uniform"
    (step,) = made(values, Distributed(0, 1, torch.device("cpu"))).run(1)
    terms = step.terms
    assert step.loss == pytest.approx(terms["squared_error"] + 0.5 * terms["cosine"] + 2 * terms["aligns"])


def test_the_weighting_goes_to_terms_that_want_it() -> None:
    world = Distributed(0, 1, torch.device("cpu"))
    (single,), (both,) = (made(recipe(losses), world).run(1) for losses in (LOSSES[:1], [LOSSES[0], LOSSES[2]]))
    assert both.loss == pytest.approx(single.loss + 2 * both.terms["aligns"])
    assert single.loss != pytest.approx(single.terms["squared_error"])


def test_a_term_that_is_not_finite_is_named_with_its_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = made(recipe(), Distributed(0, 1, torch.device("cpu")))
    plain = type(trainer.job.reader).read

    def read(self: Any, step: int, piece: int) -> Batch:
        batch = plain(self, step, piece)
        batch.extra["features"][5] = torch.nan
        return batch

    monkeypatch.setattr(type(trainer.job.reader), "read", read)
    with pytest.raises(NumericError) as caught:
        list(trainer.run(1))
    index = int(plain(trainer.job.reader, 0, 0).indices[5])
    assert str(caught.value) == f"step 1: the loss (aligns) is not finite; samples: train {index}"


def test_a_step_passes_once_through_the_backbone_and_asks_for_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, calls = made(recipe(), Distributed(0, 1, torch.device("cpu"))), []
    plain, block = Objective.forward, trainer.backbone.blocks[0]
    block.register_forward_hook(lambda *given: calls.append("block"))

    def forward(self: Objective, *given: Any) -> Any:
        def refuse(*given: Any) -> Any:
            raise AssertionError("the step waits for a value")

        with monkeypatch.context() as patch:
            for name in ("item", "tolist", "__bool__", "__float__", "__int__", "cpu", "nonzero"):
                patch.setattr(torch.Tensor, name, refuse)
            return plain(self, *given)

    monkeypatch.setattr(Objective, "forward", forward)
    assert len(list(trainer.run(2))) == 2
    assert calls == ["block"] * 2


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        (
            "[squared_eror]",
            r"\.yaml:\d+: objective.losses.0.type: there is no loss 'squared_eror'.*squared_error",
        ),
        ("[{type: cosine, weight: 0}]", r"\.yaml:\d+: objective.losses.0.weight: should be above 0"),
        ("[{type: cosine, wieght: 2}]", r"\.yaml:\d+: objective.losses.0.wieght: unknown option.*weight"),
        ("cosine", r"\.yaml:\d+: objective.losses: should be a list of parts"),
        ("[{type: aligns, tap: 2}]", r"\.yaml:\d+: objective.losses.0: aligns: tap 2 is none of 2 blocks"),
        (
            "[{type: aligns, tap: -1}]",
            r"\.yaml:\d+: objective.losses.0: taps block -1, and there are blocks 0 to 1",
        ),
    ],
)
def test_a_recipe_whose_losses_are_wrong_is_refused_where_it_says_them(
    losses: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "several.yaml"
    others = {name: section for name, section in recipe().items() if name != "objective"}
    path.write_text(json.dumps(others)[:-1] + f',\n"objective":\n  {{losses: {losses}}}\n}}')
    with pytest.raises(RecipeError, match=message):
        load_recipe(path, registry=REGISTRY)


def test_a_loss_that_asks_for_what_the_dataset_does_not_give_is_refused() -> None:
    values = recipe()
    values["data"]["dataset"] = "digits"
    with pytest.raises(
        Exception, match=r"objective.losses.2: asks for features of each sample, and dataset digits gives"
    ):
        load_recipe(values, registry=REGISTRY)


def test_losses_may_be_set() -> None:
    found = load_recipe(recipe(), ["objective.losses=[cosine, {type: squared_error, weight: 3}]"], REGISTRY)
    assert [(term.part.type, term.weight) for term in found.objective.losses] == [
        ("cosine", 1.0),
        ("squared_error", 3.0),
    ]
    found = load_recipe(recipe(), ["objective.losses.1.weight=4"], REGISTRY)
    assert [term.weight for term in found.objective.losses] == [1.0, 4.0, 2.0]
    assert [each["weight"] for each in found.resolved()["objective"]["losses"]] == [1.0, 4.0, 2.0]


def test_one_sample_is_mirrored_with_its_maps() -> None:
    latents, maps, vector = torch.randn(2, 1, 3, 4), torch.randn(2, 5, 3, 2), torch.randn(2, 6)
    samples = Samples(latents, torch.zeros(2), {"maps": maps, "vector": vector})
    found = samples.mirrored([False, True], maps=("maps",))
    assert torch.equal(found.latents[0], latents[0])
    assert torch.equal(found.latents[1], latents[1].flip(-1))
    assert torch.equal(found.extra["maps"][1], maps[1].flip(-1))
    assert torch.equal(found.extra["maps"][0], maps[0])
    assert torch.equal(found.extra["vector"], vector)
    assert found.flipped is not None
    assert found.flipped.tolist() == [False, True]
    back = found.mirrored(found.flipped, maps=("maps",))
    assert torch.equal(back.latents, latents)
    assert back.flipped is not None
    assert not back.flipped.any()


def test_the_tap_loss_keeps_the_laws() -> None:
    check_part(PARTS[0], options={"tap": 0}, examples=6)
    check_part(PARTS[1], supplied={"size": (4, 6)}, examples=2)
