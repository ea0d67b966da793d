"""Everything that training changes, to and from checkpoints: weights, averages, the optimizer's and random states."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from zoo.distributed.distributed import Distributed
from zoo.errors import RunError, ZooError, first_line
from zoo.flow import Objective
from zoo.optim.state import begun_state, flat, groups_of, nested, packed, state_of, take, unpacked
from zoo.optim.updates import Updates
from zoo.recipe.averages import Average, Profile, average_named
from zoo.runs.checkpoint import Checkpoint
from zoo.runs.optimizer import EMA
from zoo.runs.staging import Staging
from zoo.shards import local, whole
from zoo.weights import Which

MODEL, AVERAGE, LOSSES, OPTIMIZER = "model", "ema", "losses", "optimizer"
"""The files of a checkpoint: the backbone, its averaged weights, what losses have of their own, if any, and what the
optimizer keeps of all weights."""


def average_files(averages: Sequence[Average]) -> dict[str, Average]:
    """The averages by the names of their files: the first has the plain name, and others say their decay or std."""
    names = (AVERAGE if index == 0 else f"{AVERAGE}-{each}".replace("=", "-") for index, each in enumerate(averages))
    return dict(zip(names, averages, strict=True))


class TrainState:
    """The tensors that training changes.

    Args:
        objective: not wrapped; its parameters may be sharded.
        updates: of its trainable parameters.
        averages: of the backbone's weights, as ``train.ema`` has them.

    Attributes:
        profiles: the files of those averages that go by a profile.
    """

    def __init__(self, objective: Objective, updates: Updates, averages: Sequence[Average] = (0.9999,)) -> None:
        self.backbone, self.losses, self.updates = objective.backbone, objective.losses, updates
        self.parameters: dict[str, Tensor] = {each.name: each.parameter for each in updates.weights}
        self._trained = {name: each for name, each in self.backbone.named_parameters() if each.requires_grad}
        self._files = average_files(averages)
        self.profiles = [file for file, each in self._files.items() if isinstance(each, Profile)]
        self.emas = {file: EMA(self._trained) for file in self._files}
        trained = {MODEL: self._trained, LOSSES: dict(self.losses.named_parameters())}
        moved = dict(self._named(trained))  # by name, since what a state dict holds is detached
        tables = {name: each for name, each in self._named(self._models()) if name not in moved}
        self._infinite_tables = {name for name, bad in _not_finite(tables).items() if bad}  # such as masks of -inf

    def average_in(self, decays: Iterable[float]) -> None:
        """Let the averages follow the backbone's weights, each by its decay; of 1, it stays as it is."""
        for ema, decay in zip(self.emas.values(), decays, strict=True):
            if decay < 1.0:
                ema.update(self._trained, decay)

    def not_finite(self, world: Distributed) -> list[str]:
        """What holds NaN or infinity on any process, by file and name; every process must take part.

        Tensors that training does not update may hold what they held from the start, and what an optimizer keeps for a
        weight as a whole whatever it likes.
        """
        moments = {name: each for name, each in self._optimizer().items() if each.shape == self._weight(name).shape}
        averages = {file: ema.averages for file, ema in self.emas.items()}
        files = {**self._models(), **averages, OPTIMIZER: moments}
        bad = _not_finite({name: each for name, each in self._named(files) if name not in self._infinite_tables})
        anywhere = world.sum(torch.tensor(list(bad.values()), dtype=torch.int64)).tolist()
        return [name for name, count in zip(bad, anywhere, strict=True) if count]

    def tensors(self, world: Distributed) -> dict[str, dict[str, Tensor]]:
        """Whole tensors on the CPU, by file and name, on the main process; every process must take part."""
        return {file: _collected(values, world) for file, values in self._all().items()}

    def copies(
        self, world: Distributed, staging: Staging, files: Collection[str] | None = None
    ) -> tuple[dict[str, dict[str, Tensor]], bool]:
        """The same in memory of their own, which holds them once a GPU has copied them, until it is asked again.

        Args:
            world: this process among those of the job.
            staging: has the memory.
            files: which of them; all if left out.

        Returns:
            These, and whether there was memory for copies; else they may be those that training changes.
        """
        all_files = self._all()
        own = {file: all_files[file] for file in (all_files if files is None else files)}
        places = staging.places(own) if world.is_main else None
        found = {
            file: _collected(values, world, places=None if places is None else places[file])
            for file, values in own.items()
        }
        staging.mark()
        return found, places is not None

    def _all(self) -> dict[str, dict[str, Tensor]]:
        return {**self._models(), **self._averages(), OPTIMIZER: self._optimizer()}

    def weights(self, which: Which, world: Distributed, *, everywhere: bool = False) -> dict[str, Tensor]:
        """The backbone's state, whole tensors on the CPU of the main process; every process must take part.

        Args:
            which: with averaged weights, of several the first or as ``ema:0.9999`` any, or with the last ones.
            world: this process among those of the job.
            everywhere: give them to all processes.

        Raises:
            ZooError: there are no such.
        """
        tensors = self.backbone.state_dict() if which == "raw" else self._averages()[self._file_of(which)]
        return _collected(tensors, world, everywhere=everywhere)

    def weights_of_losses(self, world: Distributed) -> dict[str, Tensor]:
        """What losses have of their own, whole tensors on the CPU of every process; all must take part."""
        return _collected(self.losses.state_dict(), world, everywhere=True)

    def plain(self) -> dict[str, Any]:
        """What of the optimizer is no tensor, as plain values."""
        state = state_of(self.updates)
        return {"begun": bool(state), "others": flat(state)[1], "groups": packed(groups_of(self.updates), "", {})}

    def load(self, checkpoint: Checkpoint) -> None:
        """Take everything from a checkpoint.

        Raises:
            RunError: it holds other tensors than there are here.
        """
        own = {**self._models(), **self._averages()}
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

    def _models(self) -> dict[str, dict[str, Tensor]]:
        """What the backbone holds, and the losses if they hold anything, by file."""
        losses = self.losses.state_dict()
        return {MODEL: self.backbone.state_dict(), **({LOSSES: losses} if losses else {})}

    def _averages(self) -> dict[str, dict[str, Tensor]]:
        """The backbone's state with averaged weights, by file."""
        state = self.backbone.state_dict()
        return {
            file: {name: ema.averages.get(name, tensor) for name, tensor in state.items()}
            for file, ema in self.emas.items()
        }

    def _file_of(self, which: Which) -> str:
        average = average_named(which)
        for file, each in self._files.items():
            if average in (None, each):
                return file
        there = ", ".join(f"ema:{each}" for each in self._files.values())
        raise ZooError(f"there are no weights {which}; there are: raw, {there}")

    def _optimizer(self) -> dict[str, Tensor]:
        return flat(state_of(self.updates))[0]

    def _named(self, files: Mapping[str, Mapping[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        return ((f"{file}/{name}", each) for file, values in files.items() for name, each in values.items())

    def _weight(self, name: str) -> Any:
        """The weight that a tensor of the optimizer is kept for; None if it is for none."""
        return self.parameters.get(name.partition("/")[0])


def random_state(device: torch.device) -> dict[str, Tensor]:
    """PyTorch's random states of this process, by the device that draws."""
    own = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        own["cuda"] = torch.cuda.get_rng_state(device)
    return own


def random_states(own: Mapping[str, Tensor], world: Distributed) -> list[dict[str, str]]:
    """The random states of every process, by rank, as text; every process gives its own."""
    states: list[dict[str, str]] = [{} for _ in range(world.size)]
    for name, state in own.items():
        for rank, each in enumerate(world.gather(state)):
            states[rank][name] = base64.b64encode(each.numpy().tobytes()).decode("ascii")
    return states


def set_random_state(states: list[dict[str, str]], world: Distributed) -> None:
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


def _collected(
    values: Mapping[str, Tensor],
    world: Distributed,
    *,
    everywhere: bool = False,
    places: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    collected = {}
    for name, tensor in values.items():
        full = whole(tensor.detach())  # every process takes part
        if places is not None:
            collected[name] = places[name].copy_(full, non_blocking=full.is_cuda)
        elif world.is_main or everywhere:
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


@torch.no_grad()
def _not_finite(tensors: Mapping[str, Tensor]) -> Mapping[str, bool]:
    """Which of the tensors hold NaN or infinity, of shards those of this process; a GPU is waited for once.

    The least and the largest number tell it: they take no memory, and where there is a NaN, they are one. A CPU finds
    them several times as fast as the largest absolute value.
    """
    held = [local(each) for each in tensors.values()]
    sound = [
        torch.stack(torch.view_as_real(each).aminmax() if each.is_complex() else each.aminmax()).isfinite().all()
        if _can_be_infinite(each)
        else each.new_ones((), dtype=torch.bool)
        for each in held
    ]
    return dict(zip(tensors, (~torch.stack(sound)).tolist() if sound else [], strict=True))


def _can_be_infinite(tensor: Tensor) -> bool:
    return bool(tensor.numel()) and (tensor.is_floating_point() or tensor.is_complex())
