"""Files of strangers, changed at random: each works, or is refused in printable lines, and none is taken for another.

What changes is drawn by hypothesis, so that `--hypothesis-seed` says it.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from tests.faults.mutations import mutated
from tests.train.small import ALONE, small, train
from zoo.assembly import build, load_recipe
from zoo.data.latent_index import INDEX
from zoo.data.latent_shards import Shard
from zoo.data.latent_writing import encode_ids, write_shard
from zoo.data.latents import Latents
from zoo.data.pictures import read_picture
from zoo.errors import ZooError
from zoo.recipe import to_yaml
from zoo.registry import Registry
from zoo.report.page.grids import read_grids
from zoo.report.page.quality import quality_of
from zoo.report.page.run_summary import starts_of, training_of
from zoo.runs.run_folder import RunFolder
from zoo.runs.weights import open_weights
from zoo.train.run import Run, Silent
from zoo.weights import filled, write_initialised
from zoo.weights.foreign import read_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

REGISTRY = Registry()
Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Format:
    """What is fuzzed.

    Attributes:
        examples: changed files that are tried.
        make: writes whole ones into a folder.
        read: takes them from a folder, or refuses them; and asserts that nothing wrong is taken for right.
        changed: those that are changed; all if empty.
    """

    examples: int
    make: Callable[[Path], object]
    read: Callable[[Path], object]
    changed: tuple[str, ...] = ()


def recipe(folder: Path) -> None:
    (folder / "r.yaml").write_text(to_yaml(small(registry=REGISTRY).resolved()), encoding="utf-8")


def recipe_as_json(folder: Path) -> None:
    (folder / "r.yaml").write_text(json.dumps(small(registry=REGISTRY).resolved()), encoding="utf-8")


def build_recipe(folder: Path) -> None:
    build(load_recipe(folder / "r.yaml", registry=REGISTRY), registry=REGISTRY, device="meta")


def weights(folder: Path) -> None:
    write_initialised(small(registry=REGISTRY), folder / "w.safetensors", 0)


def fill_weights(folder: Path) -> None:
    """Whatever was changed, weights that are taken are those that were written."""
    state = filled(open_weights(folder / "w.safetensors", REGISTRY), torch.device("cpu")).state_dict()
    torch.manual_seed(0)
    for name, tensor in build(small(registry=REGISTRY), registry=REGISTRY).state_dict().items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=0)


def foreign(folder: Path, **options: Any) -> None:
    tensors = {"a.weight": torch.arange(12.0).view(3, 4), "b": torch.arange(5.0)}
    torch.save({"ema": tensors, "model": tensors, "step": 1}, folder / "a.pt", **options)


def foreign_safetensors(folder: Path) -> None:
    save_file({"a.weight": torch.arange(12.0).view(3, 4), "b": torch.arange(5.0)}, folder / "a.pt")


def read_foreign(folder: Path) -> None:
    for tensor in read_checkpoint(folder / "a.pt").tensors.values():
        tensor.sum()


def picture(ending: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"a{ending}")

    return make


def decode(folder: Path) -> None:
    (path,) = folder.iterdir()
    assert read_picture(path, 3, 16, 16).shape == (16, 16, 3)


def latents(folder: Path) -> None:
    shards = []
    for number, count in enumerate((3, 2)):
        name = f"shard_{number:05}.safetensors"
        moments = torch.randn(count, 8, 4, 4, generator=torch.Generator().manual_seed(number))
        shard = Shard(moments, None, torch.arange(count), encode_ids([f"{number}/{row}" for row in range(count)]))
        write_shard(folder / name, shard, {})
        shards.append({"file": name, "count": count, "sha256": "0" * 64})
    index = {
        **{"format": "zoo latents", "version": 1, "channels": 4, "height": 4, "width": 4, "image_size": [8, 8]},
        **{"dtype": "float32", "flip": "none", "classes": ["a", "b", "c"], "shards": shards},
        "vae": {"source": "vae", "sha256": "0" * 64, "scaling_factor": 1.0, "shift_factor": None},
        "statistics": {"of": "means", "mean": [0.0] * 4, "std": [1.0] * 4},
    }
    (folder / INDEX).write_text(json.dumps(index))


def read_latents(folder: Path) -> None:
    source = Latents(4, (4, 4), 3, folder=str(folder)).open()
    indices = np.arange(min(len(source), 5))
    samples = source.read(indices, [np.random.default_rng(index) for index in indices])
    assert samples.labels.min() >= 0
    assert samples.labels.max() < 3
    assert [source.id(int(index)) for index in indices]


def run(folder: Path) -> None:
    train(folder, "train.callbacks=[{type: pictures, every: 2}]")
    for path in (folder / "checkpoints").iterdir():
        if path.name != "step_00000003":
            shutil.rmtree(path)
    found = {
        "figures": {"generated": {"fid": 1.0, "fid_relative": 2.0}, "held_out": {"fid": 1.0}},
        "counts": {"generated": 10, "held_out": 10, "real": 20},
        "checkpoint": "step_00000003",
        "weights": "ema",
        "weights_sha256": "0" * 64,
        "sample": {"solver": {"type": "euler"}, "steps": 2, "guidance": {"type": "classifier_free"}},
        "evaluate": {"features": {"type": "digits"}, "metrics": [{"type": "fid"}], "count": 10, "reference": "train"},
        "data": {"dataset": {"type": "digits"}},
        "drawing": {"images_per_second": 1.0},
        "libraries": {"torch": "2"},
        **{"seed": 0, "zoo": "1", "doubts": [], "left_out": {}},
    }
    RunFolder(folder).write_evaluation(found)


def go_on(folder: Path) -> None:
    """Whatever was changed, a run that goes on has the weights that it had."""
    trainer = Run(small(registry=REGISTRY), RunFolder(folder), REGISTRY, ALONE, Silent()).train(resume=True)
    assert trainer.step == 3


def plot_metrics(folder: Path) -> None:
    training = training_of(RunFolder(folder), small(registry=REGISTRY))
    assert 0 <= training.seconds < np.inf


def report(folder: Path) -> None:
    found = RunFolder(folder)
    starts_of(found)
    quality = quality_of(found)
    assert quality is None or np.isfinite(quality.headline[1])
    read_grids(found.samples)


STATE = tuple(f"checkpoints/step_00000003/{name}.json" for name in ("manifest", "state"))
TENSORS = tuple(f"checkpoints/step_00000003/{name}.safetensors" for name in ("model", "ema", "optimizer"))
FORMATS = {
    "recipe": Format(250, recipe, build_recipe),
    "recipe as JSON": Format(250, recipe_as_json, build_recipe),
    "weight file": Format(500, weights, fill_weights),
    "pickle": Format(300, foreign, read_foreign),
    "pickle of before 1.6": Format(400, lambda to: foreign(to, _use_new_zipfile_serialization=False), read_foreign),
    "safetensors": Format(300, foreign_safetensors, read_foreign),
    **{f"picture {end}": Format(150, picture(end), decode) for end in (".png", ".jpg", ".bmp", ".gif", ".tif", ".ppm")},
    "latents": Format(500, latents, read_latents),
    "checkpoint": Format(50, run, go_on, (*STATE, *TENSORS, "recipe.yaml", "run.json", "metrics.jsonl")),
    "metrics": Format(30, run, plot_metrics, ("metrics.jsonl",)),
    "record": Format(150, run, report, ("run.json", "evaluations/*.json", "samples/*.png")),
}


def report_counts(counts: Counter[str]) -> None:
    """As tools/faults.py reads them."""
    print("files tried:", ", ".join(f"{name} {count}" for name, count in counts.items()))


@pytest.fixture(scope="module", autouse=True)
def counted() -> Iterator[Counter[str]]:
    """How many files were tried."""
    counts: Counter[str] = Counter()
    yield counts
    report_counts(counts)


@pytest.mark.parametrize("name", FORMATS)
def test_a_changed_file_works_or_is_refused(name: str, tmp_path: Path, counted: Counter[str]) -> None:
    fuzzed = FORMATS[name]
    whole, folder = tmp_path / "whole", tmp_path / "changed"
    whole.mkdir()
    fuzzed.make(whole)
    paths = [path.relative_to(whole) for each in fuzzed.changed or ("*",) for path in sorted(whole.glob(each))]
    assert paths

    @settings(max_examples=fuzzed.examples, phases=[Phase.generate])
    @given(st.integers(0, 2**64 - 1))
    def check(seed: int) -> None:
        random = Random(seed)
        shutil.copytree(whole, folder)
        try:
            path = folder / random.choice(paths)
            path.write_bytes(mutated(path.read_bytes(), random))
            counted[name] += 1
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fuzzed.read(folder)
        except ZooError as refusal:
            lines = str(refusal).split("\n")
        else:
            lines = []
        finally:
            shutil.rmtree(folder)
        assert all(line.isprintable() for line in lines)

    fuzzed.read(whole)
    check()
