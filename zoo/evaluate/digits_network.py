"""A small network that reads digits, and the one way in which it is trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.data.base import Split
from zoo.data.digits import CLASSES, Digits

SIZE = (16, 16)


@dataclass(frozen=True)
class Training:
    """All that the network depends on, but for PyTorch itself.

    Attributes:
        version: to be raised with any change of this module that changes the network.
        seed: of the initialisation, the order and the shifts.
        steps: updates of AdamW, under a one-cycle schedule.
        batch: digits of an update.
        learning_rate: its highest.
        weight_decay: of AdamW.
        shift: pixels by which digits are moved at most, up or down and left or right.
    """

    version: int = 1
    seed: int = 0
    steps: int = 400
    batch: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    shift: int = 1


TRAINING = Training()


class DigitsNetwork(nn.Module):
    """57,000 parameters: four convolutions, 64 features, ten classes."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            *_convolution(1, 16), *_convolution(16, 32, 2), *_convolution(32, 32), *_convolution(32, 32, 2)
        )
        self.pooled = nn.Sequential(nn.Flatten(), nn.Linear(512, 64), nn.GELU())
        self.head = nn.Linear(64, CLASSES)

    def forward(
        self, pictures: Float[Tensor, "n 1 16 16"]
    ) -> tuple[Float[Tensor, "n 64"], Float[Tensor, "n 32 4 4"], Float[Tensor, "n 10"]]:
        """The features before the last layer, the last feature map, and logits, of pictures in [-1, 1]."""
        maps = self.maps(pictures)
        pooled = self.pooled(maps)
        return pooled, maps, self.head(pooled)


def _convolution(channels: int, wider: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(channels, wider, 3, stride, 1, bias=False), nn.BatchNorm2d(wider), nn.GELU()]


def train_network(training: Training) -> DigitsNetwork:
    """Train a network on the digits that are not held out: on the CPU, on one thread, whatever else there is.

    Equal arguments give equal weights, with the same PyTorch on the same kind of CPU; the caller's random state stays.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums depend on how many there are
    try:
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.manual_seed(training.seed)
            return _trained(training)
    finally:
        torch.set_num_threads(threads)


def _trained(training: Training) -> DigitsNetwork:
    pictures, labels = digits_of("train")
    network = DigitsNetwork()
    optimizer = torch.optim.AdamW(network.parameters(), training.learning_rate, weight_decay=training.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, training.learning_rate, training.steps)
    epochs = -(-training.steps * training.batch // len(labels))
    order = torch.cat([torch.randperm(len(labels)) for _ in range(epochs)])
    console = Console(stderr=True)
    steps = range(training.steps)
    for step in track(
        steps, "training the digits network", console=console, disable=not console.is_terminal, transient=True
    ):
        index = order[step * training.batch : (step + 1) * training.batch]
        _, _, logits = network(_shifted(pictures[index], training.shift))
        loss = F.cross_entropy(logits, labels[index])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return network.eval().requires_grad_(False)


def _shifted(pictures: Float[Tensor, "n 1 H W"], most: int) -> Float[Tensor, "n 1 H W"]:
    """Each picture moved by its own random number of pixels, both ways; what comes in is black."""
    n, _, height, width = pictures.shape
    rows = torch.arange(height) + torch.randint(2 * most + 1, (n, 1))
    columns = torch.arange(width) + torch.randint(2 * most + 1, (n, 1))
    padded = F.pad(pictures, (most,) * 4, value=-1.0)
    return padded[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None]].movedim(-1, 1)


def held_out_accuracy(network: DigitsNetwork) -> float:
    """The share of the held-out digits that a network reads rightly."""
    pictures, labels = digits_of("held_out")
    with torch.no_grad():
        _, _, logits = network(pictures)
    return (logits.argmax(dim=1) == labels).double().mean().item()


def digits_of(split: Split) -> tuple[Float[Tensor, "n 1 H W"], Int[Tensor, " n"]]:
    """All digits of a split, 16 x 16, and which they are."""
    source = Digits(1, SIZE, CLASSES).open(split)
    every = np.arange(len(source))
    return source.read(every, ()).latents, source.labels(every)
