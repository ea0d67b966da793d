"""Everything that training changes, to and from checkpoints: weights, averages, the optimizer's and random states."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from zoo.errors import RunError, first_line
from zoo.optim.state import begun_state, flat, groups_of, nested, packed, state_of, take, unpacked
from zoo.optim.updates import Updates
from zoo.shards import whole
from zoo.train.checkpoint import Checkpoint
from zoo.train.distributed import World
from zoo.train.optimizer import EMA
from zoo.train.soundness import not_finite

MODEL, AVERAGE, OPTIMIZER = "model", "ema", "optimizer"


class TrainState:
    """The tensors that training changes.

    Args:
        backbone: not wrapped; its parameters may be sharded.
        updates: of its trainable parameters.
    """

    def __init__(self, backbone: nn.Module, updates: Updates) -> None:
        self.backbone, self.updates = backbone, updates
        self.parameters: dict[str, Tensor] = {each.name: each.parameter for each in updates.weights}
        self.ema = EMA(self.parameters)
        tables = {name: each for name, each in self._model() if name not in self.parameters}
        self._infinite_tables = {name for name, bad in not_finite(tables).items() if bad}  # such as masks of -inf

    def not_finite(self, world: World) -> list[str]:
        """What holds NaN or infinity on any process, by file and name; every process must take part.

        Tensors that training does not update may hold what they held from the start, and what an optimizer keeps for a
        weight as a whole whatever it likes.
        """
        moments = {name: each for name, each in self._optimizer() if each.shape == self._weight(name).shape}
        model = {name: each for name, each in self._model() if name not in self._infinite_tables}
        files = {MODEL: model, AVERAGE: self.ema.averages, OPTIMIZER: moments}
        bad = not_finite({f"{file}/{name}": each for file, values in files.items() for name, each in values.items()})
        anywhere = world.sum(torch.tensor(list(bad.values()), dtype=torch.int64)).tolist()
        return [name for name, count in zip(bad, anywhere, strict=True) if count]

    def tensors(self, world: World) -> dict[str, dict[str, Tensor]]:
        """Whole tensors on the CPU, by file and name, on the main process; every process must take part."""
        files = {MODEL: self._model(), AVERAGE: self._average(), OPTIMIZER: self._optimizer()}
        return {file: _collected(values, world) for file, values in files.items()}

    def average(self, world: World) -> dict[str, Tensor]:
        """The backbone's state with averaged weights: whole tensors on the main process."""
        return _collected(self._average(), world)

    def plain(self) -> dict[str, Any]:
        """What of the optimizer is no tensor, as plain values."""
        state = state_of(self.updates)
        return {"begun": bool(state), "others": flat(state)[1], "groups": packed(groups_of(self.updates), "", {})}

    def load(self, checkpoint: Checkpoint) -> None:
        """Take everything from a checkpoint.

        Raises:
            RunError: it holds other tensors than this backbone has.
        """
        own = {MODEL: dict(self._model()), AVERAGE: dict(self._average())}
        given = {file: checkpoint.tensors(file) for file in (*own, OPTIMIZER)}
        for file in own:
            _check(checkpoint, file, own[file], given[file])
        self._load_optimizer(checkpoint, given[OPTIMIZER], checkpoint.state()["optimizer"])
        with torch.no_grad():
            for file, tensors in own.items():
                for name, tensor in tensors.items():
                    tensor.copy_(_like(tensor, given[file][name]))

    def _load_optimizer(self, checkpoint: Checkpoint, given: Mapping[str, Tensor], plain: Mapping[str, Any]) -> None:
        """Before the weights are loaded, which it may move."""
        begun = flat(begun_state(self.updates))[0] if plain["begun"] else {}
        # What is kept for a weight as a whole may come later, or grow.
        own = {
            name: each for name, each in begun.items() if name not in given or each.shape == self._weight(name).shape
        }
        known = {name: each for name, each in given.items() if name in own or self._weight(name) is None}
        _check(checkpoint, OPTIMIZER, own, known)
        placed = {name: self._placed(name, each, begun.get(name)) for name, each in given.items()}
        take(self.updates, nested(placed, plain["others"]), unpacked(plain["groups"], {}))

    def _placed(self, name: str, full: Tensor, begun: Tensor | None) -> Tensor:
        """Where the same tensor is that the optimizer has begun with; or else where its weight is."""
        weight = self._weight(name)
        if begun is not None:
            return _like(begun, full)
        return _like(weight if weight.shape == full.shape else torch.empty(0, device=weight.device), full)

    def _model(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.backbone.state_dict().items()

    def _average(self) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in self.backbone.state_dict().items():
            yield name, self.ema.averages.get(name, tensor)

    def _optimizer(self) -> Iterator[tuple[str, Tensor]]:
        yield from flat(state_of(self.updates))[0].items()

    def _weight(self, name: str) -> Any:
        """The weight that a tensor of the optimizer is kept for; None if it is for none."""
        return self.parameters.get(name.partition("/")[0])


def random_state(device: torch.device) -> dict[str, Tensor]:
    """PyTorch's random states of this process, by the device that draws."""
    own = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        own["cuda"] = torch.cuda.get_rng_state(device)
    return own


def random_states(own: Mapping[str, Tensor], world: World) -> list[dict[str, str]]:
    """The random states of every process, by rank, as text; every process gives its own."""
    states: list[dict[str, str]] = [{} for _ in range(world.size)]
    for name, state in own.items():
        for rank, each in enumerate(world.gather(state)):
            states[rank][name] = base64.b64encode(each.numpy().tobytes()).decode("ascii")
    return states


def set_random_state(states: list[dict[str, str]], world: World) -> None:
    """Take this process's random states; a rank that had none keeps its own.

    Raises:
        ValueError: they are none of PyTorch's.
    """
    if world.rank >= len(states):
        return
    for name, text in states[world.rank].items():
        state = torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)
        try:
            if name == "cpu":
                torch.set_rng_state(state)
            elif world.device.type == "cuda":
                torch.cuda.set_rng_state(state, world.device)
        except RuntimeError as error:
            raise ValueError(f"random state {name!r}: {first_line(error)}") from error


def _collected(values: Iterator[tuple[str, Tensor]], world: World) -> dict[str, Tensor]:
    collected = {}
    for name, tensor in values:
        full = whole(tensor.detach())  # every process takes part
        if world.is_main:
            collected[name] = full.cpu()
    return collected


def _like(tensor: Tensor, full: Tensor) -> Tensor:
    """``full`` on the device of ``tensor``, and sharded as it is."""
    full = full.to(tensor.device, copy=True)
    if isinstance(tensor, DTensor):
        return distribute_tensor(full, tensor.device_mesh, tensor.placements, src_data_rank=None)  # each has it whole
    return full


def _check(checkpoint: Checkpoint, file: str, own: Mapping[str, Tensor], given: Mapping[str, Any]) -> None:
    problems = [f"{name} is missing" for name in own if name not in given]
    problems += [f"{name} is unknown" for name in given if name not in own]
    problems += [
        f"{name} has shape {list(given[name].shape)} in place of {list(tensor.shape)}"
        for name, tensor in own.items()
        if name in given and given[name].shape != tensor.shape
    ]
    if problems:
        raise RunError(f"{checkpoint.path}: {file}.safetensors does not fit this recipe: {'; '.join(problems[:5])}")
