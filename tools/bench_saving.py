"""Time how long training stands still while its state is saved, beside `torch.save` of the same, as Markdown.

    python tools/bench_saving.py [--recipe dit_b] [--rounds 7] [--folder /tmp]

The state is what a checkpoint holds: weights, their average and AdamW's moments. Every round does each once, in turn,
on the same file system, and elapsed seconds are told; the first round, which makes room for copies, is told apart.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import torch

from zoo import build, load_recipe
from zoo.distributed.distributed import Distributed
from zoo.flow import objective_of
from zoo.optim.adamw import AdamW
from zoo.optim.updates import Updates
from zoo.runs import checkpoint as checkpoints
from zoo.runs.staging import Staging
from zoo.runs.state import TrainState
from zoo.runs.writing import Writing

WORLD = Distributed(0, 1, torch.device("cpu"))
WAYS = {
    "stands": "training stands still, while a thread writes afterwards",
    "waits": "training waits until it is written, as at its end",
    "torch": "`torch.save` of the same",
    "thread": "the thread writes and hashes, in the background",
}
"""What is timed, in words."""


def trained(recipe: str, overrides: Sequence[str] = ()) -> TrainState:
    """The state of a backbone after an update."""
    found = load_recipe(recipe, overrides)
    objective = objective_of(found, build(found, device="cpu"))
    updates = Updates(AdamW(), objective, objective.backbone.blocks, 1e-4)
    for weight in updates.weights:
        weight.parameter.grad = torch.full_like(weight.parameter, 1e-3)
    updates.step(1e-4)
    updates.zero_grad()
    return TrainState(objective, updates)


def rounds_of(state: TrainState, rounds: int, folder: Path) -> Iterator[dict[str, float]]:
    """Seconds of each way, round by round."""
    staging, plain = Staging(WORLD.device), {"run": "bench"}
    for number in range(rounds):
        found = {}
        since = time.perf_counter()
        assert not state.not_finite(WORLD)
        tensors, copied = state.copies(WORLD, staging)
        assert copied, "there is no memory for a copy"
        path, held = folder / f"beside-{number}", tensors
        writing = Writing(lambda say, path=path, held=held: checkpoints.save(path, 1, held, plain))  # type: ignore[misc]
        found["stands"] = time.perf_counter() - since
        writing.wait()
        assert writing.error is None, writing.error
        found["thread"] = time.perf_counter() - since - found["stands"]
        since = time.perf_counter()
        assert not state.not_finite(WORLD)
        checkpoints.save(folder / f"waits-{number}", 1, state.tensors(WORLD), plain)
        found["waits"] = time.perf_counter() - since
        since = time.perf_counter()
        torch.save(state.tensors(WORLD), folder / "torch.pt")  # noqa: TID251
        found["torch"] = time.perf_counter() - since
        (folder / "torch.pt").unlink()
        for each in folder.glob("*-*"):
            checkpoints.remove(each)
        yield found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="dit_b", help="whose state (default: dit_b)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="overrides of it")
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds (default: 7)")
    parser.add_argument("--folder", type=Path, help="on the file system to write to; the system's if left out")
    chosen = parser.parse_args(arguments)
    state = trained(chosen.recipe, chosen.set)
    size = sum(each.nbytes for own in state.tensors(WORLD).values() for each in own.values())
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        first, *others = rounds_of(state, chosen.rounds + 1, Path(folder))
    print(
        f"{chosen.recipe}, {size / 1e9:.3g} GB, {torch.get_num_threads()} threads, medians of {chosen.rounds} rounds",
        "",
    )
    print("| | seconds | of `torch.save` | the first time |", "| --- | ---: | ---: | ---: |", sep="\n")
    for way, words in WAYS.items():
        share = median(each[way] / each["torch"] for each in others)
        print(f"| {words} | {median(each[way] for each in others):.3g} | {share:.3f} x | {first[way]:.3g} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
