"""Count what a training step of this checkout launches and moves, beside one of another, as Markdown.

    git worktree add ../before REVISION
    python tools/bench_launches.py ../before [--recipe hybrid_b] [--batch 32]

A whole step is counted, from update to update: passes, update, averages and logging. Each operator that PyTorch
dispatches is a launch; its bytes are what it reads and writes: those of a compiled step where runs of elementwise
operators are one kernel each. What is asked for after the host has waited for the losses finds an idle device. Data are
digits, at the size of the recipe's latents, which a worker reads. Counts hang on no machine.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[1]
RECIPES = ("dit_b", "ppflow_b_2", "digits_mpdit", "digits_hybrid")
WAITS = ("_local_scalar_dense", "is_nonzero", "equal")
WARM = 2


def count(recipe: str, batch: int) -> None:
    """Train a few steps by the zoo that is on the path, and print what they launched as JSON.

    What is imported of zoo is the same in every checkout since runs have folders.
    """
    import torch

    from zoo import Registry, load_recipe
    from zoo.distributed.distributed import join_processes
    from zoo.runs.run_folder import RunFolder
    from zoo.train import trainer
    from zoo.train.run import Run, Silent

    place = importlib.util.spec_from_file_location("operations", HERE / "zoo" / "plan" / "operations.py")
    assert place is not None
    assert place.loader is not None
    operations = sys.modules["operations"] = importlib.util.module_from_spec(place)
    place.loader.exec_module(operations)

    class Recorder(operations.Recorder):  # type: ignore[name-defined, misc]
        waits: list[int] = []  # noqa: RUF012

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func._overloadpacket.__name__ in WAITS:
                self.waits.append(len(self.operations))
            return super().__torch_dispatch__(func, types, args, kwargs)

    class Counting(Silent):
        done, recorder = 0, Recorder()

        def step(self, *_: Any, **__: Any) -> None:
            self.done += 1
            if self.done == WARM:
                self.recorder.__enter__()
            if self.done > WARM:
                self.recorder.__exit__(None, None, None)
                found = self.recorder.operations
                passed = max(place for place, each in enumerate(found) if each.kind in ("product", "attention"))
                waited = min((each for each in self.recorder.waits if each > passed), default=len(found))
                counts = {
                    "launches": len(found),
                    "bytes": sum(each.bytes for each in found),
                    "joined": operations.joined_bytes(found),
                    "late": sum(each.bytes for each in found[waited:]),
                }
                print(json.dumps(counts), flush=True)
                os._exit(0)

    trainer._goes_ahead = lambda _: True  # type: ignore[attr-defined]  # as on a GPU
    torch.manual_seed(0)
    registry = Registry()
    given = [f"train.{each}" for each in (f"batch={batch}", "steps=100", "checkpoint_every=100", "compile=false")]
    given += [f"data.{each}" for each in ("dataset=digits", "normalize=none", "workers=1")]
    with join_processes("cpu") as world:
        own = load_recipe(recipe, given, registry)
        Run(own, RunFolder(Path(tempfile.mkdtemp()) / "run"), registry, world, Counting()).train()


def counted(checkout: Path, recipe: str, batch: int) -> dict[str, int]:
    """What ``count`` finds by the code and the environment of a checkout."""
    own = checkout / ".venv" / "bin" / "python"
    python = str(own) if own.exists() else sys.executable
    options = ["--recipe", recipe, "--batch", str(batch)]
    with tempfile.TemporaryDirectory() as folder:
        variables = {"PYTHONPATH": str(checkout), "PYTHONWARNINGS": "ignore", "TMPDIR": folder, "ZOO_PLUGINS": "none"}
        run = subprocess.run(
            [python, __file__, str(checkout), *options, "--count"],
            cwd=checkout,
            env={**os.environ, **variables},
            text=True,
            stdout=subprocess.PIPE,
            check=False,
        )
    if run.returncode:
        raise SystemExit(f"training ended: {checkout}, {recipe}")
    found: dict[str, int] = json.loads(run.stdout)
    return found


def row(recipe: str, there: dict[str, int], here: dict[str, int]) -> str:
    """A line of the table."""
    launches = [f"{found['launches']:,}" for found in (there, here)]
    sizes = [f"{found[key] / 1e9:.2f}" for key in ("bytes", "joined", "late") for found in (there, here)]
    return " | ".join(["", recipe, *launches, *sizes, ""]).strip()


def main() -> int:
    """Count and print."""
    parser = argparse.ArgumentParser(description="What a training step launches, beside one of another checkout.")
    parser.add_argument("other", type=Path, help="the other checkout")
    parser.add_argument("--recipe", action="append", help=f"may be repeated (default: {', '.join(RECIPES)})")
    parser.add_argument("--batch", type=int, default=4, help="images of a step (default: 4)")
    parser.add_argument("--count", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    recipes = arguments.recipe or RECIPES
    if arguments.count:
        count(recipes[0], arguments.batch)
    print("| recipe | launches there | here | GB there | here | compiled there | here | after a wait there | here |")
    print("| --- " + "| ---: " * 8 + "|")
    for recipe in recipes:
        there, here = (counted(each, recipe, arguments.batch) for each in (arguments.other.resolve(), HERE))
        print(row(recipe, there, here), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
