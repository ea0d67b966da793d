"""What training minimises: the terms of every sample, in one pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.train.small import small as small_recipe
from zoo.assembly import build
from zoo.backbone import Backbone
from zoo.errors import PluginError
from zoo.flow import (
    CosineLoss,
    LinearPath,
    Loss,
    LossInputs,
    Objective,
    SquaredErrorLoss,
    StageBatch,
    Term,
    VariancePreservingPath,
    objective_of,
    total,
)
from zoo.parts import Tap
from zoo.paths import AffinePath, Prediction

LINE = LinearPath()


def pair(dtype: torch.dtype = torch.float32) -> Any:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 1, 4, 8, generator=generator, dtype=torch.float64).to(dtype)


class Predicts(Backbone):
    """Without parts: predicts what a function makes of each piece."""

    def __init__(self, function: Callable[[Any], Tensor], path: AffinePath = LINE, prediction: Prediction = "velocity"):
        nn.Module.__init__(self)
        self.function, self.path, self.prediction = function, path, prediction

    def forward_stages(self, pieces: list[Any], modulation: Any = None, *, taps: Any = (), **_: Any) -> Any:
        assert not taps
        return [self.function(piece) for piece in pieces]


def objective(backbone: Any, *losses: Loss) -> Objective:
    return Objective(backbone, [(type(loss).__name__, 1.0, loss) for loss in losses or (SquaredErrorLoss(),)])


def errors_of(function: Callable[[Any], Tensor], data: Tensor, noise: Tensor, t: Tensor, **options: Any) -> Tensor:
    (values,) = objective(Predicts(function, **options))([StageBatch(0, data, noise, t)]).values()
    return values


@pytest.mark.parametrize("path", [LINE, VariancePreservingPath()], ids=lambda path: type(path).__name__)
@pytest.mark.parametrize("prediction", ["velocity", "noise", "data"])
def test_what_should_be_predicted_has_no_error(path: AffinePath, prediction: Prediction) -> None:
    data, noise = pair()
    t = torch.tensor([0.0, 0.3, 1.0])
    wanted = path.along(t, data).target(prediction, data, noise)
    assert not errors_of(lambda piece: wanted, data, noise, t, path=path, prediction=prediction).any()
    own = {"noise": noise, "data": data}
    assert torch.equal(wanted, own[prediction]) if prediction in own else not torch.equal(wanted, noise)


@pytest.mark.parametrize("prediction", ["velocity", "noise", "data"])
@pytest.mark.parametrize("loss", [SquaredErrorLoss(of="velocity"), CosineLoss(2)], ids=lambda loss: type(loss).__name__)
def test_velocities_are_told_whatever_is_predicted(loss: Loss, prediction: Prediction) -> None:
    data, noise = pair(torch.float64)
    t, path = torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64), VariancePreservingPath()
    mixture = path.along(t, data)
    z, other = mixture.state(data, noise), noise.flip(0)  # a wrong noise, and what follows from it
    guess = (z - mixture.sigma * other) / mixture.alpha
    predicted = {"noise": other, "data": guess, "velocity": mixture.velocity(guess, other)}[prediction]
    backbone = Predicts(lambda piece: predicted, path, prediction)
    (value,) = objective(backbone, loss)([StageBatch(0, data, noise, t)]).values()
    one, two = mixture.velocity(guess, other), mixture.velocity(data, noise)
    if isinstance(loss, CosineLoss):
        expected = (1 - (one * two).sum(1) / one.norm(dim=1) / two.norm(dim=1)).flatten(1).mean(1)
    else:
        expected = (one - two).square().flatten(1).mean(1)
    assert torch.allclose(value, expected)


def test_the_cosine_is_of_the_channels_of_each_place() -> None:
    noise = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1).expand(1, 2, 2, 1)
    wanted = torch.tensor([[6.0, -4.0], [8.0, 3.0]]).view(1, 2, 2, 1)  # the same direction, and across it
    backbone = Predicts(lambda piece: wanted)
    (value,) = objective(backbone, CosineLoss(2))(
        [StageBatch(0, torch.zeros_like(noise), noise, torch.rand(1))]
    ).values()
    assert value.tolist() == pytest.approx([0.5])


def test_errors_are_means_over_each_sample() -> None:
    data, noise = pair()
    offset = torch.tensor([0.0, 1.0, -2.0]).view(3, 1, 1, 1)
    errors = errors_of(lambda piece: noise - data + offset, data, noise, torch.rand(3))
    assert errors.tolist() == pytest.approx([0.0, 1.0, 4.0])


@pytest.mark.parametrize("size", [(32,), (2, 4, 4)])
def test_the_number_of_axes_changes_no_error(size: tuple[int, ...]) -> None:
    data, noise = pair(torch.float64)
    t = torch.rand(3, dtype=torch.float64)
    plane, other = (
        errors_of(lambda piece: piece.latents, *(each.view(3, 1, *own) for each in (data, noise)), t)
        for own in ((4, 8), size)
    )
    assert torch.equal(plane, other)


def test_the_backbone_is_called_once_and_given_what_is_on_the_path() -> None:
    data, noise = pair()
    t, labels = torch.rand(3), torch.tensor([0, 1, 2])
    calls: list[list[Any]] = []

    class Spied(Predicts):
        def forward_stages(self, pieces: list[Any], modulation: Any = None, *, taps: Any = (), **_: Any) -> Any:
            calls.append(pieces)
            return super().forward_stages(pieces, taps=taps)

    objective(Spied(lambda piece: piece.latents), SquaredErrorLoss(), CosineLoss(2))(
        [StageBatch(1, data, noise, t, labels), StageBatch(4, noise, data, t, labels)]
    )
    ((first, second),) = calls
    assert (first.stage, second.stage) == (1, 4)
    assert torch.equal(first.latents, LINE.along(t, data).state(data, noise))
    assert torch.equal(second.latents, LINE.along(t, data).state(noise, data))
    assert torch.equal(first.t, t)
    assert torch.equal(first.labels, labels)


def test_losses_are_given_the_samples_of_one_stage() -> None:
    seen: list[LossInputs] = []

    class Sees(Loss):
        def forward(self, inputs: LossInputs) -> Tensor:
            seen.append(inputs)
            return inputs.t

    data, noise = pair()
    t = torch.tensor([0.1, 0.2, 0.3])
    batches = [StageBatch(0, data[:1], noise[:1], t[:1]), StageBatch(2, data[1:], noise[1:], t[1:])]
    (values,) = objective(Predicts(lambda piece: piece.latents), Sees())(batches).values()
    assert torch.equal(values, t), "in the order of the samples"
    assert [inputs.stage for inputs in seen] == [0, 2]
    assert torch.equal(seen[1].data, data[1:])
    assert torch.equal(seen[1].noise, noise[1:])
    assert seen[0].target is seen[0].target_velocity
    assert seen[0].velocity is seen[0].prediction


def test_a_loss_is_given_no_more_than_it_asks_for() -> None:
    seen: dict[str, LossInputs] = {}

    class Sees(Loss):
        def __init__(self, name: str, taps: tuple[int, ...], extra: tuple[str, ...]) -> None:
            super().__init__()
            self.name, self.taps, self.extra = name, taps, extra

        def forward(self, inputs: LossInputs) -> Tensor:
            seen[self.name] = inputs
            return inputs.prediction.flatten(1).mean(1)

    class Tapped(Predicts):
        def forward_stages(self, pieces: list[Any], modulation: Any = None, *, taps: Any = (), **_: Any) -> Any:
            return [
                (piece.latents, {tap: Tap(torch.zeros(3, 8, 2), 0, (2, 4), None) for tap in taps}) for piece in pieces
            ]

    losses = [Sees("one", (0,), ("a",)), Sees("other", (1,), ()), Sees("all", (0, 1), ("a", "b"))]
    whole = Objective(Tapped(lambda piece: None), [(loss.name, 1.0, loss) for loss in losses])
    data, noise = pair()
    t, extra = torch.rand(3), {"a": torch.ones(3), "b": torch.zeros(3)}
    whole([StageBatch(0, data, noise, t, extra=extra)])
    assert {name: (list(inputs.taps), list(inputs.extra)) for name, inputs in seen.items()} == {
        "one": ([0], ["a"]),
        "other": ([1], []),
        "all": ([0, 1], ["a", "b"]),
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_errors_are_wide_whatever_is_predicted(dtype: torch.dtype) -> None:
    data, noise = pair(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        errors = errors_of(lambda piece: piece.latents.bfloat16(), data, noise, torch.rand(3))
    assert errors.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda inputs: inputs.t.mean(), r"loss Own returned a tensor \[\] in place of a tensor \[3\]"),
        (lambda inputs: inputs.t.bfloat16(), r"loss Own returned torch.bfloat16, and should return torch.float32 or"),
        (lambda inputs: inputs.t.to(torch.complex64), r"loss Own returned torch.complex64, and should return torch"),
        (lambda inputs: 1.0, r"loss Own returned a float in place of a tensor \[3\]"),
    ],
)
def test_what_a_loss_must_not_return_is_told(function: Callable[[LossInputs], Any], message: str) -> None:
    class Own(Loss):
        def forward(self, inputs: LossInputs) -> Any:
            return function(inputs)

    data, noise = pair()
    with pytest.raises(PluginError, match=message):
        objective(Predicts(lambda piece: piece.latents), Own())([StageBatch(0, data, noise, torch.rand(3))])


def test_the_loss_is_the_weighted_sum_of_its_terms() -> None:
    terms = (Term("a", 2.0, True), Term("b", 0.5, False))
    share, weight = torch.tensor([1.0, 3.0]), torch.tensor([10.0, 60.0])
    values = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([4.0, 8.0])}
    assert total(terms, values, share, weight).tolist() == [2 * 10 * 1 + 0.5 * 1 * 4, 2 * 60 * 2 + 0.5 * 3 * 8]


def test_terms_of_one_type_have_names_of_their_own() -> None:
    recipe = small_recipe(
        "backbone.latent.channels=2",
        "objective.losses=[squared_error, {type: squared_error, of: velocity, weight: 3}, cosine]",
    )
    found = objective_of(recipe, build(recipe))
    assert found.terms == (
        Term("squared_error", 1.0, True),
        Term("squared_error_2", 3.0, True),
        Term("cosine", 1.0, True),
    )


def test_autocast_leaves_errors_near_those_without(small: Any, inputs: Any) -> None:
    backbone = small()
    noise, labels = inputs()
    t = torch.tensor([0.9, 0.7, 0.6, 0.55])
    batch = StageBatch(0, noise.flip(0), noise, t, labels)
    own = objective(backbone)
    (plain,) = own([batch]).values()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (inside,) = own([batch]).values()
    assert torch.allclose(inside, plain, rtol=0.05)
