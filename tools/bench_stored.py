"""What stored latents and averaged weights take, beside how most training scripts have them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from bench_passes import REGISTRY, recipe_of
from bench_rounds import Result, Target, interleaved
from torch import Tensor

from zoo import build
from zoo.data.latent_index import INDEX, LatentIndex, Layout, ShardRecord, StatisticsRecord, VAERecord
from zoo.data.latent_shards import Shard
from zoo.data.latent_writing import encode_ids, write_shard
from zoo.data.latents import Latents
from zoo.errors import DataError
from zoo.files import write_whole
from zoo.runs.optimizer import EMA

LAYOUT = Layout(4, 32, 32, "float16", "none")


def write_latents(folder: Path, samples: int, layout: Layout, shard: int) -> tuple[Path, list[Path]]:
    """The same random moments twice: as shards with an index, and as one .npy file a sample."""
    shape = (samples, 2 * layout.channels, layout.height, layout.width)
    moments = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(getattr(torch, layout.dtype))
    sharded, files = folder / "shards", [folder / "files" / f"{index:06}.npy" for index in range(samples)]
    for each in (sharded, folder / "files"):
        each.mkdir()
    records = []
    for first in range(0, samples, shard):
        own = moments[first : first + shard].clone()
        path, labels = sharded / f"shard_{len(records):05}.safetensors", torch.zeros(len(own), dtype=torch.int64)
        ids = encode_ids([file.stem for file in files[first : first + shard]])
        write_shard(path, Shard(own, None, labels, ids), {})
        records.append(ShardRecord(file=path.name, count=len(own), sha256="0" * 64))
    ones = (1.0,) * layout.channels
    index = LatentIndex(
        **layout._asdict(),
        image_size=(8 * layout.height, 8 * layout.width),
        vae=VAERecord(source="random", sha256="0" * 64),
        statistics=StatisticsRecord(of="means", mean=ones, std=ones),
        classes=("0",),
        shards=tuple(records),
    )
    write_whole(sharded / INDEX, index.model_dump_json(), DataError)
    for path, values in zip(files, moments.numpy(), strict=True):
        np.save(path, values)
    return sharded, files


def read_files(files: Sequence[Path], indices: np.ndarray, channels: int) -> Tensor:
    """A batch of means [B, C, H, W] in float32, one file a sample."""
    return torch.from_numpy(np.stack([np.load(files[index])[:channels] for index in indices])).float()  # noqa: TID251 - own


@contextmanager
def stored_twice(samples: int, layout: Layout, shard: int) -> Iterator[tuple[Latents, list[Path]]]:
    """A dataset of shards, and the same samples as files, in a folder that goes away."""
    with tempfile.TemporaryDirectory() as folder:
        sharded, files = write_latents(Path(folder), samples, layout, shard)
        size = (layout.height, layout.width)
        yield Latents(layout.channels, size, 1, folder=str(sharded), sample_posterior=False, flip=False), files


def bench_latents(
    name: str,
    rounds: int,
    *,
    samples: int = 4096,
    batch: int = 256,
    layout: Layout = LAYOUT,
    shard: int = 1024,
) -> list[Result]:
    """One shuffled pass over stored latents, in shards beside one .npy file a sample.

    Both end in batches of float32 means. The files have just been written and are in the page cache: a slow disk, which
    prefers few large files, is left out.
    """
    order = np.random.default_rng(0).permutation(samples)
    batches = [order[first : first + batch] for first in range(0, samples, batch)]
    with stored_twice(samples, layout, shard) as (dataset, files):
        source = dataset.open()
        runs = {
            "shards": lambda: [source.read(indices, ()).latents for indices in batches],
            "files": lambda: [read_files(files, indices, layout.channels) for indices in batches],
        }
        assert all(map(torch.equal, *(run() for run in runs.values()))), "both sides read the same"
        seconds = interleaved(name, runs, rounds)
    each = {side: tuple(1e6 * cost / samples for cost in costs) for side, costs in seconds.items()}
    subject = f"latents in shards, batches of {batch}, shuffled"
    target = Target(name, subject, "a .npy file a sample", at_least=10.0)
    return [Result(target, each["shards"], each["files"], "µs a sample")]


def loop_update(averages: Mapping[str, Tensor], parameters: Mapping[str, Tensor], decay: float) -> None:
    """The moving average as most training scripts have it."""
    for name, average in averages.items():
        average.mul_(decay).add_(parameters[name], alpha=1 - decay)


def bench_ema(name: str, rounds: int, *, recipe: str = "dit_b", overrides: Sequence[str] = ()) -> list[Result]:
    """Update of averaged weights, in a few kernels beside a loop over parameters."""
    shapes = build(recipe_of(recipe, overrides), registry=REGISTRY, device="meta").named_parameters()
    parameters = {key: torch.randn(each.shape) for key, each in shapes}
    ema, copies = EMA(parameters), {key: each.clone() for key, each in parameters.items()}
    runs = {
        "ours": lambda: ema.update(parameters, 0.9999),
        "loop": lambda: loop_update(copies, parameters, 0.9999),
    }
    milliseconds = {
        each: tuple(1e3 * cost for cost in costs) for each, costs in interleaved(name, runs, rounds).items()
    }
    target = Target(name, f"EMA of {recipe}'s parameters", "a loop of mul_ and add_", at_least=1.3)
    return [Result(target, milliseconds["ours"], milliseconds["loop"], "ms")]
