"""What training holds, beside the tensors of a trainer that has made an update."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import zoo
from tests.strangers.aligning import FEATURES, PARTS
from tests.train.small import ALONE, small
from zoo.assembly import build, load_recipe
from zoo.audit import activation_memory, held_memory
from zoo.errors import AuditError
from zoo.flow import objective_of
from zoo.optim import Optimizer
from zoo.registry import Registry
from zoo.testing.generators import seeded
from zoo.train.job import open_job
from zoo.train.trainer import Trainer


@pytest.mark.parametrize(("optimizer", "ema"), [("adamw", "0.9999"), ("muon", "[0.999, 0.9999, 0.5]")])
def test_it_is_what_a_trainer_holds_after_an_update(optimizer: str, ema: str) -> None:
    recipe = small("train.steps=1", f"train.optimizer={optimizer}", f"train.ema={ema}")
    backbone = build(recipe)
    objective = objective_of(recipe, backbone)
    trainer = Trainer(open_job(recipe, objective, Registry(), 0, 1), objective, ALONE)
    for _ in trainer.run(1):
        pass
    held = held_memory(build(recipe, device="meta"), recipe)
    values = [*backbone.parameters(), *backbone.buffers()]
    assert held.weights == sum(each.nbytes for each in values)
    assert held.gradients == sum(each.grad.nbytes for each in backbone.parameters() if each.grad is not None)
    averages = [each for ema in trainer.state.emas.values() for each in ema.averages.values()]
    assert held.averages == sum(each.nbytes for each in averages)
    kept = [value for each in trainer.updates.optimizers for own in each.state.values() for value in own.values()]
    assert held.optimizer == sum(each.nbytes for each in kept)
    assert held.total == held.weights + held.gradients + held.averages + held.optimizer


def test_muon_keeps_less_than_adamw() -> None:
    backbone = build(small(), device="meta")
    muon, adamw = (held_memory(backbone, small(f"train.optimizer={name}")) for name in ("muon", "adamw"))
    assert muon.optimizer < adamw.optimizer


def test_what_training_takes_is_told_without_making_a_weight_or_drawing_a_number() -> None:
    losses = "objective.losses=[{type: aligns, hidden: 5000}]"
    recipe = load_recipe(small().resolved(), [losses, "data.dataset=featured"], parts=PARTS)
    backbone = build(recipe, device="meta")
    with seeded(0) as drawn:
        own = held_memory(backbone, recipe).weights - held_memory(backbone, small()).weights
        activation_memory(backbone, recipe)
        assert drawn() == []
    assert own == 4 * 5000 * (recipe.backbone.dim + 1 + FEATURES) + 4 * FEATURES


def test_an_optimizer_that_looks_at_values_is_told() -> None:
    @zoo.part("optimizer", "looks")
    class Looks(Optimizer):
        """Looks at a gradient."""

        def build(self, weights: Any, learning_rate: float) -> torch.optim.Optimizer:
            class Looking(torch.optim.SGD):
                def step(self, closure: Any = None) -> Any:
                    assert float(self.param_groups[0]["params"][0].grad.sum()) < 0

            return Looking([each.parameter for each in weights], lr=learning_rate)

    recipe = load_recipe(small().resolved() | {"train": {"optimizer": "looks"}}, parts=[Looks])
    with pytest.raises(AuditError, match=r"train\.optimizer looks: what it keeps cannot be told, since it "):
        held_memory(build(recipe, device="meta"), recipe)
